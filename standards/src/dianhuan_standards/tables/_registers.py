"""Who there is: enterprises, metering points, and which account feeds whom."""

from dianhuan_sdk import Field, TableContract, in_order
from dianhuan_standards.identifiers import USCC_PATTERN
from dianhuan_standards.tables._rules import above_zero, credit_code, one_of_numbers, together
from dianhuan_standards.tables._types import (
    COUNT,
    DAY,
    DIVISION,
    FLAG,
    ID,
    INDUSTRY,
    NUMBER,
    TEXT,
    entity_id,
    text,
)

ENTITY = TableContract(
    name="entity",
    version="1.0",
    zh="市场主体",
    doc="One enterprise at one site.",
    key=("entity_id",),
    fields=(
        entity_id(),
        text(
            "uscc",
            "统一社会信用代码",
            "GB 32100-2015, with its check digit",
            pattern=USCC_PATTERN,
            aliases=("信用代码", "TrustCode"),
        ),
        text("name", "企业名称", required=True, personal=True, aliases=("户名", "单位名称", "cons_name")),
        text(
            "division",
            "行政区划代码",
            "GB/T 2260 code of the plant's district",
            pattern=DIVISION,
            aliases=("区划", "行政区划", "区划代码"),
        ),
        text(
            "industry",
            "行业代码",
            "GB/T 4754-2017, letter and 2–4 digits",
            pattern=INDUSTRY,
            aliases=("行业分类", "行业类别代码", "TradeId"),
        ),
        Field("size", TEXT, "规模", codes=("large", "medium", "small", "micro")),
        Field("opened_on", DAY, "成立日期", aliases=("登记日期",)),
        Field("closed_on", DAY, "注销日期"),
        Field("lon", NUMBER, "经度", "degrees east in `datum`", unit="°", low=73, high=136),
        Field("lat", NUMBER, "纬度", "degrees north in `datum`", unit="°", low=3, high=54),
        Field("datum", TEXT, "坐标系", codes=("cgcs2000", "wgs84", "gcj02", "bd09")),
        text("address", "地址", personal=True, aliases=("用电地址", "生产经营地址", "elec_addr")),
        text("contact", "联系人", personal=True, aliases=("法人代表", "LawPerson")),
        text("phone", "联系电话", personal=True, aliases=("法人电话", "LawPhone")),
    ),
    rules=(credit_code("uscc"), in_order("opened_on", "closed_on"), together("lon", "lat")),
)

METERING_POINT = TableContract(
    name="metering_point",
    version="1.0",
    zh="计量点",
    doc="One metering point of a grid company (计量点); several may belong to one account (户号).",
    key=("metering_point_id",),
    fields=(
        text("metering_point_id", "计量点编号", required=True, pattern=ID, personal=True, aliases=("计量点", "mp_no")),
        text(
            "account_no",
            "户号",
            required=True,
            pattern=ID,
            personal=True,
            aliases=("用户编号", "客户编号", "cons_no", "cust_no"),
        ),
        text("meter_asset_no", "电表资产号", personal=True, aliases=("资产编号", "表号", "made_no")),
        Field("multiplier", NUMBER, "综合倍率", "CT × PT ratio, above 0", low=0, aliases=("倍率", "t_factor")),
        Field("voltage_kv", NUMBER, "电压等级", unit="kV", low=0, high=1000),
        Field("contract_kva", NUMBER, "合同容量", unit="kVA", low=0, aliases=("contract_cap",)),
        Field("running_kva", NUMBER, "运行容量", "in service now", unit="kVA", low=0, aliases=("run_cap",)),
        Field(
            "tariff_class",
            TEXT,
            "用电类别",
            codes=("industrial", "commercial", "agricultural", "residential", "ev", "other"),
        ),
        Field(
            "net_metering",
            FLAG,
            "净计量",
            "true where net or reverse energy (PV) is declared: negative kW allowed",
        ),
        Field("points_per_day", COUNT, "日采集点数", "96, 48, 24, or 1 for daily energy only", low=1, high=96),
        text("feeder_id", "线路编号", aliases=("所属线路", "line_no")),
        text("transformer_id", "台区编号", aliases=("所属台区", "tg_no")),
        Field("opened_on", DAY, "立户日期"),
        Field("closed_on", DAY, "销户日期"),
    ),
    rules=(
        above_zero("multiplier"),
        one_of_numbers("points_per_day", 96, 48, 24, 1),
        in_order("opened_on", "closed_on"),
    ),
)

ACCOUNT_LINK = TableContract(
    name="account_link",
    version="1.0",
    zh="户号与企业关联",
    doc="An account feeds an enterprise on the days [valid_from, valid_to). Accounts move; an enterprise has many.",
    key=("account_no", "entity_id", "valid_from"),
    fields=(
        text(
            "account_no",
            "户号",
            required=True,
            pattern=ID,
            personal=True,
            aliases=("用户编号", "客户编号", "cons_no", "cust_no"),
        ),
        entity_id(),
        Field("valid_from", DAY, "生效日期", required=True, aliases=("起始日期",)),
        Field("valid_to", DAY, "失效日期", "first day on which it no longer holds; null = open", aliases=("终止日期",)),
        Field(
            "share",
            NUMBER,
            "分摊比例",
            "part of the account's energy that is this enterprise's (转供电); null = all of it",
            low=0,
            high=1,
        ),
    ),
    rules=(in_order("valid_from", "valid_to"),),
)
