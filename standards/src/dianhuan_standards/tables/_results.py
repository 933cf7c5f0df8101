"""What the hub itself produces: findings, warnings, cases, outcomes, model cards."""

from dianhuan_sdk import Field, TableContract, in_order
from dianhuan_standards.tables._types import DAY, FLAG, ID, INSTANT, NUMBER, TEXT, entity_id, text

STATES: tuple[str, ...] = ("found", "assessed", "assigned", "inspected", "handled", "answered", "archived")
"""发现 → 研判 → 交办 → 现场核查 → 处置 → 反馈 → 归档."""

OUTCOMES: tuple[str, ...] = ("verified", "benign_explained", "device_fault", "not_found", "could_not_inspect")

FINDING = TableContract(
    name="finding",
    version="1.0",
    zh="线索",
    doc="A model's claim about one enterprise on one day, with what every gate said.",
    key=("finding_id",),
    fields=(
        text("finding_id", "线索编号", required=True, pattern=ID),
        text("run_id", "运行编号", required=True),
        text("model_id", "模型", required=True),
        text("model_version", "模型版本", required=True),
        text("rule", "规则", required=True),
        entity_id(),
        Field("day", DAY, "日期", required=True),
        Field("verdict", TEXT, "结论", required=True, codes=("suspect", "cannot_tell")),
        Field("score", NUMBER, "得分", required=True, low=0, high=1),
        text("reasons", "证据", "JSON list of {zh, en}", required=True),
        text("counter", "反证", "JSON list of {zh, en}", required=True),
        text("evidence", "数值", "JSON object", required=True),
        text("exhibit", "图示", "JSON {days, slots} or null"),
        text("context", "背景缺口", "JSON list of codes", required=True),
        text("gates", "闸门", "JSON list of {gate, passed, zh, en}", required=True),
        Field("passed", FLAG, "通过闸门", required=True),
    ),
)

WARNING = TableContract(
    name="warning",
    version="1.0",
    zh="预警",
    doc="A finding that passed its gates.",
    key=("warning_id",),
    fields=(
        text("warning_id", "预警编号", required=True, pattern=ID),
        text("finding_id", "线索编号", required=True),
        text("case_id", "案件编号", required=True),
        entity_id(),
        Field("day", DAY, "日期", required=True),
        text("model_id", "模型", required=True),
        Field("score", NUMBER, "得分", required=True, low=0, high=1),
        Field("raised_at", INSTANT, "预警时间", required=True),
    ),
)

CASE = TableContract(
    name="case",
    version="1.0",
    zh="案件",
    doc="One per enterprise and day: the warnings about it, fused.",
    key=("case_id",),
    fields=(
        text("case_id", "案件编号", required=True, pattern=ID),
        entity_id(),
        Field("day", DAY, "日期", required=True),
        Field("state", TEXT, "状态", required=True, codes=STATES),
        Field("priority", NUMBER, "优先级", required=True, low=0, high=1),
        Field("opened_at", INSTANT, "立案时间", required=True),
        Field("updated_at", INSTANT, "更新时间", required=True),
    ),
    rules=(in_order("opened_at", "updated_at"),),
)

OUTCOME = TableContract(
    name="outcome",
    version="1.0",
    zh="核查结果",
    doc="What the visit found.",
    key=("case_id", "at"),
    fields=(
        text("case_id", "案件编号", required=True, pattern=ID),
        Field("code", TEXT, "结果", required=True, codes=OUTCOMES),
        Field("at", INSTANT, "时间", required=True),
        text("actor", "核查人", required=True, personal=True),
        text("note", "说明", personal=True),
    ),
)

MODEL_CARD = TableContract(
    name="model_card",
    version="1.0",
    zh="模型卡",
    doc="What is known of a model: purpose, inputs, algorithm, limits, measured figures with tier and base rate.",
    key=("model_id", "version"),
    fields=(
        text("model_id", "模型", required=True, pattern=ID),
        text("version", "版本", required=True),
        text("zh", "中文名", required=True),
        text("en", "英文名", required=True),
        Field("tier", TEXT, "层级", required=True, codes=("daily", "realtime", "advance")),
        Field("alarm_budget", NUMBER, "误报预算", "false alarms per enterprise-month", low=0),
        text("card", "说明", "JSON object", required=True),
    ),
)
