"""What happens around an enterprise: outages, weather, calendar."""

from dianhuan_sdk import Field, TableContract, in_order
from dianhuan_standards.tables._rules import at_least_one
from dianhuan_standards.tables._types import DAY, DIVISION, FLAG, ID, INSTANT, NUMBER, TEXT, text

OUTAGE = TableContract(
    name="outage",
    version="1.0",
    zh="停电",
    doc="A planned or fault outage of a feeder, a transformer area or one account.",
    key=("outage_id",),
    fields=(
        text("outage_id", "停电编号", required=True, pattern=ID),
        text("feeder_id", "线路编号", aliases=("停电线路",)),
        text("transformer_id", "台区编号", aliases=("停电台区",)),
        text("account_no", "户号", personal=True, aliases=("cons_no", "cust_no")),
        Field("kind", TEXT, "类型", codes=("planned", "fault")),
        Field("starts_at", INSTANT, "停电时间", required=True, aliases=("停电开始时间",)),
        Field("ends_at", INSTANT, "复电时间", "null = not restored yet", aliases=("停电结束时间", "送电时间")),
        text("reason", "原因"),
    ),
    rules=(in_order("starts_at", "ends_at"), at_least_one("feeder_id", "transformer_id", "account_no")),
)

WEATHER = TableContract(
    name="weather",
    version="1.0",
    zh="气象",
    doc="Hourly weather of a district.",
    key=("division", "at"),
    fields=(
        text("division", "行政区划代码", required=True, pattern=DIVISION),
        Field("at", INSTANT, "时间", "start of the hour", required=True),
        Field("temp_c", NUMBER, "气温", unit="°C", low=-60, high=60),
        Field("rain_mm", NUMBER, "降水量", "in the hour", unit="mm", low=0, high=300),
        Field("wind_ms", NUMBER, "风速", unit="m/s", low=0, high=100),
        Field("humidity", NUMBER, "相对湿度", unit="%", low=0, high=100),
        Field("inversion", FLAG, "逆温", "true under a temperature inversion (bad dispersion)"),
    ),
)

CALENDAR = TableContract(
    name="calendar",
    version="1.0",
    zh="工作日历",
    doc="Days that a city declares beside the national calendar; a row here always wins.",
    key=("day",),
    fields=(
        Field("day", DAY, "日期", required=True),
        Field("kind", TEXT, "类型", required=True, codes=("workday", "weekend", "holiday", "makeup")),
        text("name", "名称"),
        text("source", "依据"),
    ),
)
