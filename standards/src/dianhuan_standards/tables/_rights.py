"""What an enterprise may do, has told, and has been told: permits, acceptance, filed reports, orders."""

from dianhuan_sdk import Field, TableContract, in_order
from dianhuan_standards.tables._rules import no_share_in, permit_number
from dianhuan_standards.tables._types import DAY, FLAG, ID, INSTANT, NUMBER, TEXT, entity_id, text

PERMIT = TableContract(
    name="permit",
    version="1.0",
    zh="排污许可",
    doc="A pollutant discharge permit (重点/简化管理) or a registration (登记管理).",
    key=("permit_no",),
    fields=(
        text(
            "permit_no",
            "许可证编号",
            "national form: USCC + 3 digits + a letter; local numbers are taken as they are",
            required=True,
            pattern=ID,
            aliases=("排污许可证编号", "登记编号"),
        ),
        entity_id(),
        Field("permit_class", TEXT, "管理类别", required=True, codes=("key", "simplified", "registered")),
        Field("valid_from", DAY, "有效期起", required=True),
        Field("valid_to", DAY, "有效期止", "last day on which it holds, as the paper says; null = open"),
        Field(
            "night_permitted",
            FLAG,
            "许可夜间生产",
            "true where the permit names night work; null = not stated",
        ),
        text("hours", "许可生产时段", "as written, e.g. 08:00-18:00"),
    ),
    rules=(permit_number("permit_no"), in_order("valid_from", "valid_to")),
)

ACCEPTANCE = TableContract(
    name="acceptance",
    version="1.0",
    zh="环保验收",
    doc="Environmental acceptance of a project (竣工环境保护验收); production load before it is 未验先投.",
    key=("acceptance_id",),
    fields=(
        text("acceptance_id", "验收编号", required=True, pattern=ID),
        entity_id(),
        text("project", "项目名称"),
        Field("approved_on", DAY, "环评批复日期"),
        Field("accepted_on", DAY, "验收日期", "null = approved but not accepted yet"),
        Field("trial_until", DAY, "调试期止", "last day of a declared commissioning period (调试)"),
    ),
    rules=(in_order("approved_on", "accepted_on"), in_order("approved_on", "trial_until")),
)

FILED_REPORT = TableContract(
    name="filed_report",
    version="1.0",
    zh="报备",
    doc="What an enterprise filed: maintenance, stoppage, commissioning, fault, night work.",
    key=("report_id",),
    fields=(
        text("report_id", "报备编号", required=True, pattern=ID),
        entity_id(),
        Field(
            "kind",
            TEXT,
            "类型",
            required=True,
            codes=("maintenance", "stoppage", "commissioning", "fault", "night_work", "other"),
        ),
        Field("starts_at", INSTANT, "开始时间", required=True),
        Field("ends_at", INSTANT, "结束时间"),
        Field("filed_at", INSTANT, "报备时间", required=True),
        text("facility", "设施"),
        text("note", "说明", personal=True),
    ),
    rules=(in_order("starts_at", "ends_at"),),
)

ORDER = TableContract(
    name="order",
    version="1.0",
    zh="管控指令",
    doc="An order to an enterprise: closure, stop, limit, off-peak production, seal, night ban.",
    key=("order_id",),
    fields=(
        text("order_id", "指令编号", required=True, pattern=ID),
        entity_id(),
        Field(
            "kind",
            TEXT,
            "类型",
            "closure 关闭取缔, stop 停产, limit 限产, peak_shift 错峰, seal 查封, night_ban 夜间禁止",
            required=True,
            codes=("closure", "stop", "limit", "peak_shift", "seal", "night_ban"),
        ),
        Field("level", TEXT, "级别", "yellow 黄, orange 橙, red 红", codes=("yellow", "orange", "red")),
        Field(
            "limit_percent",
            NUMBER,
            "限产比例",
            "allowed share of normal production",
            unit="%",
            low=0,
            high=100,
        ),
        Field("starts_at", INSTANT, "开始时间", required=True),
        Field("ends_at", INSTANT, "结束时间", "null = until lifted"),
        text("facility", "设施"),
        text("basis", "依据"),
    ),
    rules=(
        in_order("starts_at", "ends_at"),
        no_share_in("limit_percent", "kind", ("closure", "stop", "seal")),
    ),
)
