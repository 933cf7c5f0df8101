"""Arrow types and field shapes that several tables share."""

import pyarrow as pa

from dianhuan_sdk import Field
from dianhuan_standards.identifiers import DIVISION_PATTERN, INDUSTRY_PATTERN

TEXT = pa.string()
DAY = pa.date32()
INSTANT = pa.timestamp("us", tz="UTC")
NUMBER = pa.float64()
FLAG = pa.bool_()
COUNT = pa.int32()

DIVISION = DIVISION_PATTERN
INDUSTRY = INDUSTRY_PATTERN
ID = r"\S{1,64}"


def text(name: str, zh: str, doc: str = "", **more: object) -> Field:
    """A text column."""
    return Field(name, TEXT, zh, doc, **more)  # type: ignore[arg-type]


def entity_id(required: bool = True) -> Field:
    """The enterprise a row is about."""
    return Field(
        "entity_id",
        TEXT,
        "企业标识",
        "key of `entity`: 统一社会信用代码 (GB 32100-2015), or a local id where there is none",
        required=required,
        pattern=ID,
        aliases=("企业编号", "企业ID", "统一社会信用代码", "信用代码", "TrustCode"),
    )
