"""A model's passport: the file beside its definition that says what it promises and what its visits found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from dianhuan_federation.core import canonical, parse
from dianhuan_federation.evaluation._counts import Counts
from dianhuan_sdk import InputError

KIND = "urn:dianhuan:federation:model-passport:v1"
MAX_BYTES = 64 << 10

_Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
_Text = Annotated[str, msgspec.Meta(max_length=2000)]
_Day = Annotated[str, msgspec.Meta(pattern=r"\A\d{4}-\d{2}-\d{2}\Z")]


class _Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    province: Annotated[str, msgspec.Meta(pattern=r"\A[1-9]\d\Z")]
    found: _Count
    wasted: _Count
    open: _Count


class Passport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a passport says.

    Args:
        kind: `KIND`.
        model_id, model_version: the model.
        floor_permille: the precision it promises at least, in thousandths; below it is withdrawn.
        period_start, period_end: days [start, end) of the visits counted.
        purpose_zh, purpose_en: what it is for.
        evidence: the publisher's own verified cases.
    """

    kind: str
    model_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    model_version: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    floor_permille: Annotated[int, msgspec.Meta(ge=0, le=1000)]
    period_start: _Day
    period_end: _Day
    purpose_zh: _Text
    purpose_en: _Text
    evidence: Annotated[list[_Evidence], msgspec.Meta(max_length=40)]

    @property
    def counts(self) -> list[Counts]:
        """Its evidence."""
        return [Counts(e.province, e.found, e.wasted, e.open) for e in self.evidence]

    @property
    def floor(self) -> float:
        """The promised precision, 0 … 1."""
        return self.floor_permille / 1000


def passport_bytes(
    model_id: str,
    model_version: str,
    floor: float,
    period: tuple[str, str],
    purpose: tuple[str, str],
    counts: Sequence[Counts],
) -> bytes:
    """A passport in canonical JSON.

    Args:
        model_id, model_version: the model.
        floor: the promised precision, 0 … 1; thousandths are kept.
        period: days [start, end).
        purpose: in Chinese and English.
        counts: the publisher's own cases.

    Raises:
        InputError: something does not fit a passport.
    """
    body = {
        "kind": KIND,
        "model_id": model_id,
        "model_version": model_version,
        "floor_permille": round(floor * 1000),
        "period_start": period[0],
        "period_end": period[1],
        "purpose_zh": purpose[0],
        "purpose_en": purpose[1],
        "evidence": [{"province": c.province, "found": c.found, "wasted": c.wasted, "open": c.open} for c in counts],
    }
    data = canonical(body)
    read_passport(data)
    return data


def read_passport(data: bytes | str) -> Passport:
    """Read a passport strictly.

    Raises:
        InputError: it is none.
    """
    raw = data.encode() if isinstance(data, str) else data
    if len(raw) > MAX_BYTES:
        raise InputError(f"a passport of {len(raw)} bytes", expected=f"at most {MAX_BYTES}")
    try:
        passport = msgspec.convert(parse(raw), Passport, strict=True)
    except msgspec.ValidationError as error:
        raise InputError(f"not a model passport: {error}") from None
    if passport.kind != KIND:
        raise InputError(f"passport kind {passport.kind[:80]!r}", expected=KIND)
    if len({e.province for e in passport.evidence}) != len(passport.evidence):
        raise InputError("a passport with a province twice", expected="each province once")
    return passport
