"""Texts of a file into numbers, days, instants, flags: column-wise, with the rows that cannot be brought over.

Dates and times repeat from row to row, so each distinct text is parsed once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_sdk.errors import ConfigError
from dianhuan_sdk.tabular._frame import Bools

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
GROUPED = r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$"
DAY_FORMS = ("%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%Y.%m.%d", "%Y年%m月%d日")
CLOCK_FORMS = ("", " %H:%M:%S", " %H:%M", "T%H:%M:%S", "T%H:%M", " %H:%M:%S.%f")
TRUE = ("1", "true", "yes", "y", "是", "有")
FALSE = ("0", "false", "no", "n", "否", "无")
_OFFSET = re.compile(r"^([+-])(\d{2}):?(\d{2})$")
_MIDNIGHT_24 = re.compile(r"(?<!\d)24:00(:00)?(?!\d)")

Converted = tuple[pa.Array, Bools]
"""Values with nulls, and the rows whose text is neither a value nor a missing mark."""


def zone_of(name: str) -> tzinfo:
    """The zone of an IANA name, `UTC`, or an offset such as `+08:00`.

    Raises:
        ConfigError: there is no such zone.
    """
    if name.upper() in ("UTC", "Z"):
        return UTC
    if match := _OFFSET.match(name):
        sign, hours, minutes = match.groups()
        span = timedelta(hours=int(hours), minutes=int(minutes))
        return timezone(span if sign == "+" else -span)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigError(
            f"unknown time zone {name!r}",
            expected="Asia/Shanghai, Europe/Berlin, UTC or +08:00",
            hint="correct the zone",
        ) from None


def blank_to_null(texts: pa.Array, missing: Sequence[str]) -> pa.Array:
    """The texts with missing marks as null."""
    marks = pa.array(list(dict.fromkeys(("", *missing))), pa.string())
    return pc.if_else(pc.is_in(texts, value_set=marks), pa.scalar(None, pa.string()), texts)


def to_bools(answer: pa.Array) -> Bools:
    """An Arrow boolean array as numpy, null = false."""
    return np.asarray(pc.fill_null(answer, False).to_numpy(zero_copy_only=False), dtype=bool)


def numbers(texts: pa.Array, decimal: str = ".", units: Mapping[str, float] | None = None) -> Converted:
    """Decimal texts as float64.

    Args:
        texts: `1,234.5` is read; `1,5` only where the decimal mark is a comma.
        decimal: decimal mark.
        units: unit suffix → factor; a bare number counts as it stands.
    """
    if units:
        return _with_units(texts, units, decimal)
    if decimal == ",":
        texts = pc.replace_substring(pc.replace_substring(texts, ".", ""), ",", ".")
    good = to_bools(pc.match_substring_regex(texts, NUMBER))
    valid = to_bools(pc.is_valid(texts))
    if not good[valid].all():
        grouped = to_bools(pc.match_substring_regex(texts, GROUPED)) & ~good
        texts = pc.if_else(pa.array(grouped), pc.replace_substring(texts, ",", ""), texts)
        good |= grouped
    values = pc.if_else(pa.array(good), texts, pa.scalar(None, pa.string())).cast(pa.float64())
    return values, valid & ~good


def _with_units(texts: pa.Array, units: Mapping[str, float], decimal: str) -> Converted:
    lower = {unit.lower(): factor for unit, factor in units.items()}
    suffix = pc.utf8_lower(pc.utf8_trim_whitespace(pc.replace_substring_regex(texts, r"^[+-]?[\d.,]+", "")))
    plain = pc.utf8_trim_whitespace(pc.replace_substring_regex(texts, r"[^\d.,]*$", ""))
    values, bad = numbers(plain, decimal)
    known = to_bools(pc.is_in(suffix, value_set=pa.array(["", *lower], pa.string())))
    factor = np.ones(len(texts))
    for unit, value in lower.items():
        factor[to_bools(pc.equal(suffix, unit))] = value
    bad |= to_bools(pc.is_valid(texts)) & ~known
    return pc.multiply(values, pa.array(factor)), bad


def _each(texts: pa.Array, parse: Callable[[str], Any], kind: pa.DataType) -> Converted:
    distinct = texts.dictionary_encode()
    values: list[Any] = []
    wrong: list[bool] = []
    for word in distinct.dictionary.to_pylist():
        try:
            values.append(parse(word))
            wrong.append(False)
        except (ValueError, OverflowError):
            values.append(None)
            wrong.append(True)
    bad: Bools = np.zeros(len(texts), dtype=bool)
    if any(wrong):
        bad = to_bools(pa.array(wrong).take(distinct.indices))
    return pa.array(values, kind).take(distinct.indices), bad


def parse_stamp(text: str, forms: Sequence[str]) -> datetime:
    """A civil time or an instant with offset; 24:00 is the next midnight.

    Raises:
        ValueError: none of the forms fits.
    """
    for form in forms:
        if form in ("epoch_s", "epoch_ms"):
            seconds = float(text) / (1000 if form == "epoch_ms" else 1)
            return datetime.fromtimestamp(seconds, UTC)
    late = timedelta(0)
    if _MIDNIGHT_24.search(text):
        text = _MIDNIGHT_24.sub(lambda m: "00:00" + ((m[1] and ":00") or ""), text)
        late = timedelta(days=1)
    if not forms:
        try:
            return datetime.fromisoformat(text) + late
        except ValueError:
            forms = [day + clock for day in DAY_FORMS for clock in CLOCK_FORMS]
    for form in forms:
        try:
            return datetime.strptime(text, form) + late  # noqa: DTZ007 - the zone is the mapping's
        except ValueError:
            continue
    raise ValueError(text)


def days(texts: pa.Array, forms: Sequence[str]) -> Converted:
    """Civil days as date32; a clock time other than midnight is refused, since it would be lost."""

    def parse(text: str) -> date:
        stamp = parse_stamp(text, forms)
        if (stamp.hour, stamp.minute, stamp.second) != (0, 0, 0) and not any("%H" in f for f in forms):
            raise ValueError(text)
        return stamp.date()

    return _each(texts, parse, pa.date32())


def instants(texts: pa.Array, forms: Sequence[str], zone: tzinfo) -> Converted:
    """Instants in UTC; naive ones are civil time of `zone`, an hour that comes twice is its first."""

    def parse(text: str) -> datetime:
        stamp = parse_stamp(text, forms)
        return (stamp if stamp.tzinfo else stamp.replace(tzinfo=zone)).astimezone(UTC)

    return _each(texts, parse, pa.timestamp("us", tz="UTC"))


def stamps(texts: pa.Array, forms: Sequence[str]) -> tuple[pa.Array, Bools, Bools]:
    """Stamps as seconds: of the epoch where the text has an offset, else of the wall clock.

    Returns:
        int64 seconds, which rows are bad, which rows are absolute instants.
    """
    absolute: dict[str, bool] = {}

    def parse(text: str) -> int:
        stamp = parse_stamp(text, forms)
        absolute[text] = stamp.tzinfo is not None
        return int((stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp())

    values, bad = _each(texts, parse, pa.int64())
    if not any(absolute.values()):
        return values, bad, np.zeros(len(texts), dtype=bool)
    fixed = pa.array([word for word, is_fixed in absolute.items() if is_fixed], pa.string())
    return values, bad, to_bools(pc.is_in(texts, value_set=fixed))


def flags(texts: pa.Array) -> Converted:
    """True and false in the usual words, Chinese and English."""
    lower = pc.utf8_lower(texts)
    yes = pc.is_in(lower, value_set=pa.array(TRUE, pa.string()))
    no = pc.is_in(lower, value_set=pa.array(FALSE, pa.string()))
    known = pc.or_(yes, no)
    values = pc.if_else(known, yes, pa.scalar(None, pa.bool_()))
    return values, to_bools(pc.is_valid(texts)) & ~to_bools(known)
