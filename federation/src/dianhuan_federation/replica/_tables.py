"""The tables of the verified replica: what other hubs shared, with where it came from and what is known of it.

Decimals of shared rows stand here as doubles for queries; the exact text is in the signed row, which `prove` gives
out. Neither a name of an enterprise nor anything raw has a column, whatever a peer sends.
"""

from __future__ import annotations

import pyarrow as pa

from dianhuan_sdk import Field, TableContract

OWNER = "federation"

TEXT = pa.string()
DAY = pa.date32()
INSTANT = pa.timestamp("us", tz="UTC")
NUMBER = pa.float64()
COUNT = pa.int64()

LOG_STATES = ("FRESH", "STALE", "MISSING", "QUARANTINE", "PENDING")
"""Of a log: heard of in time, silent too long, never reached, in breach of its promise, not proven yet."""

STATEMENT_STATES = ("ACCEPTED", "PENDING", "SOFT_FAIL", "STORE_ONLY", "REJECTED")
"""Of a statement: only an accepted one is shown."""

RECORD_STATES = ("current", "superseded", "retracted", "redacted", "hidden")
"""Of a record; of one name the highest valid index of the origin's own log is current."""

HEX = "[0-9a-f]{64}"
HUB = "[0-9]{6}"
PROVINCE = "[0-9]{2}"


def _text(name: str, zh: str, doc: str = "", **more: object) -> Field:
    return Field(name, TEXT, zh, doc, **more)  # type: ignore[arg-type]


_ORIGIN = _text("origin", "来源日志", "origin of the log, <authority>/<division code>/r<epoch>", required=True)
_INDEX = Field("index", COUNT, "日志序号", "index of the statement in its log", required=True, low=0)
_OF_HUB = (
    _text("hub", "城市节点", "hub id, GB/T 2260 division code", required=True, pattern=HUB),
    _text("province", "省份", "first two digits of the division code", required=True, pattern=PROVINCE),
)
_WITNESSED_AT = Field("witnessed_at", INSTANT, "见证时间", "median time of the witnesses' cosignatures")
_CODE = _text("code", "原因码", "reason code of the first failed step, e.g. E-QUORUM; empty if none")
_DETAIL = _text("detail", "说明", "what was found, in words")


def _record(name: str, zh: str, doc: str, columns: tuple[Field, ...]) -> TableContract:
    return TableContract(
        name=name,
        version="1.0",
        zh=zh,
        doc=doc,
        owner=OWNER,
        key=("origin", "index", "record_id"),
        fields=(
            _ORIGIN,
            _INDEX,
            _text(
                "record_id",
                "记录编号",
                "unique in its stream",
                required=True,
                pattern=r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}",
            ),
            *_OF_HUB,
            _text("stream", "数据流", "stream of the log that carries the record", required=True),
            *columns,
            _WITNESSED_AT,
            _text("state", "状态", "the record's present state", required=True, codes=RECORD_STATES),
            Field("superseded_by", COUNT, "替代序号", "index of the statement that took its place", low=0),
        ),
    )


FEDERATED_LOG = TableContract(
    name="federated_log",
    version="1.0",
    zh="联邦日志",
    doc="One per log that this hub follows: how far it is verified and how it is.",
    owner=OWNER,
    key=("origin",),
    fields=(
        _ORIGIN,
        *_OF_HUB,
        _text("name", "名称", "the hub's name in the trust root"),
        Field("size", COUNT, "已验证条数", "verified entries", required=True, low=0),
        _text("root", "树根", "root hash of the verified tree", pattern=HEX),
        _WITNESSED_AT,
        _text("witnesses", "见证方", "JSON list of the witnesses whose cosignatures count"),
        Field("last_pull_at", INSTANT, "最近拉取", "last time something was asked for or arrived"),
        Field("last_ok_at", INSTANT, "最近成功", "last time that everything that arrived was verified"),
        _text("via", "途径", "transport by which the last delivery came: http, folder, bundle"),
        _text("state", "状态", "the log's state", required=True, codes=LOG_STATES),
        _CODE,
        _DETAIL,
        _text("evidence", "证据文件", "file below the replica that proves a fork to third parties"),
    ),
)

FEDERATED_STATEMENT = TableContract(
    name="federated_statement",
    version="1.0",
    zh="联邦声明",
    doc="One per entry of a followed log: what it says and what the verifier answered.",
    owner=OWNER,
    key=("origin", "index"),
    fields=(
        _ORIGIN,
        _INDEX,
        *_OF_HUB,
        _text("kind", "类型", "predicate type, e.g. urn:dianhuan:federation:result-batch:v1; empty where unreadable"),
        _text("stream", "数据流"),
        Field("stream_seq", COUNT, "流内序号", low=0),
        _text("leaf_hash", "叶哈希", "RFC 6962 leaf hash", required=True, pattern=HEX),
        _text("statement_digest", "声明摘要", "SHA-256 of the statement bytes", pattern=HEX),
        Field(
            "checkpoint_size", COUNT, "检查点大小", "size of the head under which it was verified", required=True, low=0
        ),
        _text("witnesses", "见证方", "JSON list of the witnesses of that head"),
        _WITNESSED_AT,
        _text("key_ids", "签名密钥", "JSON list of the publisher keys whose signatures count"),
        _text("suites", "签名算法", "JSON list of their suites"),
        Field("issued_at", INSTANT, "签发时间", "the signer's own clock; no proof of time"),
        _text("model_id", "模型"),
        _text("model_version", "模型版本"),
        _text("policy_id", "共享策略"),
        _text("schema_id", "行结构"),
        _text("schema_version", "行结构版本"),
        Field("period_start", INSTANT, "时段起", "the rows are about [period_start, period_end)"),
        Field("period_end", INSTANT, "时段止"),
        Field("rows", COUNT, "行数", "rows that the statement names", low=0),
        _text("payload_sha256", "载荷摘要", "SHA-256 of the uncompressed rows", pattern=HEX),
        _text("blobs", "载荷文件", "JSON list of the SHA-256 of the encodings that are kept"),
        _text("targets", "所指声明", "JSON list of {index, digest, record_ids} of a correction, retraction, redaction"),
        _text("reason", "理由", "of a correction, retraction, redaction or dispute"),
        _text("state", "状态", "the statement's state", required=True, codes=STATEMENT_STATES),
        _CODE,
        _DETAIL,
    ),
)

FEDERATED_WARNING = _record(
    "federated_warning",
    "联邦预警",
    "A warning that a hub shared. Names of enterprises are left out, also where a peer sends them.",
    (
        _text("enterprise", "企业", "统一社会信用代码, GB 32100-2015"),
        _text("division", "行政区划", "GB/T 2260"),
        _text("industry", "行业", "GB/T 4754-2017"),
        Field("day", DAY, "日期"),
        _text("model_id", "模型"),
        _text("model_version", "模型版本"),
        Field("score", NUMBER, "得分", low=0, high=1),
        Field("raised_at", INSTANT, "预警时间"),
    ),
)

FEDERATED_OUTCOME = _record(
    "federated_outcome",
    "联邦核查结果",
    "What a visit found, without who made it.",
    (
        _text("warning_id", "预警编号", "record_id of the warning in the same hub's logs"),
        _text("division", "行政区划", "GB/T 2260"),
        _text("result", "结果", "verified, benign_explained, device_fault, not_found, could_not_inspect"),
        Field("closed_at", INSTANT, "办结时间"),
    ),
)

FEDERATED_STATISTIC = _record(
    "federated_statistic",
    "联邦统计",
    "One cell of a table; a suppressed cell has neither value nor contributors.",
    (
        _text("division", "行政区划", "GB/T 2260"),
        _text("industry", "行业", "GB/T 4754-2017; null = all"),
        Field("period_start", DAY, "时段起"),
        Field("period_end", DAY, "时段止"),
        _text("measure", "指标"),
        _text("unit", "单位", "of the value, as the publisher states it, e.g. kWh"),
        Field("value", NUMBER, "数值", "in the row's own unit"),
        Field("contributors", COUNT, "贡献企业数", low=0),
        _text("count_precision", "计数精度", "exact, rounded, suppressed"),
    ),
)

FEDERATED_MODEL = TableContract(
    name="federated_model",
    version="1.0",
    zh="联邦模型",
    doc="A model definition that a hub shared, with its passport.",
    owner=OWNER,
    key=("origin", "index"),
    fields=(
        _ORIGIN,
        _INDEX,
        *_OF_HUB,
        _text("model_id", "模型", required=True),
        _text("model_version", "模型版本", required=True),
        _text("model_digest", "模型摘要", "SHA-256 of its definition", required=True, pattern=HEX),
        _text("license", "许可"),
        _text("passport", "模型护照", "JSON text, where the file is at hand and of the digest that was signed"),
        _WITNESSED_AT,
        _text("state", "状态", "the definition's present state", required=True, codes=RECORD_STATES),
        Field("superseded_by", COUNT, "替代序号", low=0),
    ),
)

FEDERATED_DISPUTE = TableContract(
    name="federated_dispute",
    version="1.0",
    zh="联邦异议",
    doc="A party contests another's statement; it changes nothing in the other's log.",
    owner=OWNER,
    key=("origin", "index"),
    fields=(
        _ORIGIN,
        _INDEX,
        *_OF_HUB,
        _text("disputed", "被异议日志", "origin of the contested statement", required=True),
        Field("target_index", COUNT, "被异议序号", required=True, low=0),
        _text("target_digest", "被异议摘要", "digest of the contested statement", required=True, pattern=HEX),
        _text("record_ids", "记录编号", "JSON list of the records meant; empty = all"),
        _text("reason", "理由"),
        _WITNESSED_AT,
        _text("state", "状态", "the dispute's present state", required=True, codes=RECORD_STATES),
    ),
)

FEDERATED_RECEIPT = TableContract(
    name="federated_receipt",
    version="1.0",
    zh="接收回执",
    doc="What this hub acknowledged to have acquired: one signed receipt per log and verified size.",
    owner=OWNER,
    key=("origin", "size"),
    fields=(
        _ORIGIN,
        Field("size", COUNT, "已验证条数", required=True, low=0),
        *_OF_HUB,
        _text("reader", "接收方", "hub id of this hub", required=True),
        _text("root", "树根", required=True, pattern=HEX),
        Field("statements", COUNT, "声明数", "statements acquired", required=True, low=0),
        Field("rows", COUNT, "行数", "rows acquired", required=True, low=0),
        Field("received_at", INSTANT, "接收时间", required=True),
        _text("via", "途径", "transport: http, folder, bundle"),
        _text("digest", "回执摘要", "SHA-256 of the signed receipt's file", required=True, pattern=HEX),
        _text("state", "状态", "whether the peer has it", required=True, codes=("kept", "sent")),
    ),
)

FEDERATED_TABLES: tuple[TableContract, ...] = (
    FEDERATED_LOG,
    FEDERATED_STATEMENT,
    FEDERATED_WARNING,
    FEDERATED_OUTCOME,
    FEDERATED_STATISTIC,
    FEDERATED_MODEL,
    FEDERATED_DISPUTE,
    FEDERATED_RECEIPT,
)
"""Every table that the plugin owns."""
