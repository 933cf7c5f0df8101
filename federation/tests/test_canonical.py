"""Canonical JSON against an independent RFC 8785 implementation."""

from __future__ import annotations

import json

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from dianhuan_federation.core import canonical, parse
from dianhuan_sdk import InputError

AWKWARD = st.sampled_from(
    ["", "\0", "\x1f", "\x7f", "\x80", '"', "\\", "/", "\u2028", "\u2029", "\ufeff", "é", "e\u0301", "😀", "\U0010ffff"]
)
TEXTS = st.lists(st.one_of(AWKWARD, st.text(st.characters(exclude_categories=["Cs"]), max_size=8)), max_size=4).map(
    "".join
)
INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), INTEGERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)


@given(VALUES)
def test_canonical_equals_the_independent_implementation(value: object) -> None:
    assert canonical(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


@given(VALUES)
def test_canonical_text_comes_back_as_it_was(value: object) -> None:
    data = canonical(value)
    assert parse(data) == value
    assert canonical(parse(data)) == data


@given(st.dictionaries(st.from_regex(r"\A[a-z][a-z_]{0,5}\Z"), st.one_of(TEXTS, INTEGERS), max_size=5))
def test_structs_in_key_order_encode_to_canonical_json(row: dict[str, object]) -> None:
    """The fast path of rows: a struct declared in key order, encoded by msgspec."""
    struct = msgspec.defstruct("S", [(name, str | int) for name in sorted(row)])
    assert msgspec.json.encode(struct(**row)) == rfc8785.dumps(row)  # type: ignore[arg-type]


def test_keys_sort_by_utf16_units_as_in_rfc_8785_section_3_2_3() -> None:
    text = '{"\u20ac":1,"\\r":2,"\ufb33":3,"1":4,"\U0001f600":5,"\x80":6,"\u00f6":7}'
    assert canonical(json.loads(text)).decode() == (
        '{"\\r":2,"1":4,"\x80":6,"\u00f6":7,"\u20ac":1,"\U0001f600":5,"\ufb33":3}'
    )


@pytest.mark.parametrize("value", [1.0, float("nan"), 2**53, -(2**53), "\ud800", {"\udc00": 1}, {1: 2}, b"x"], ids=repr)
def test_hostile_values_have_no_canonical_form(value: object) -> None:
    with pytest.raises(InputError):
        canonical(value)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":2}',
        b'{"a":1.0}',
        b"1e3",
        b"-0",
        b"NaN",
        b"Infinity",
        b"9007199254740992",
        b"1" * 5000,
        b'"\\ud800"',
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf1",
        b"[" * 100_000,
        b"[" * 18 + b"]" * 18,
        b"{'a':1}",
        b"1 2",
        b"\xff",
        b"",
    ],
    ids=lambda data: repr(data[:20]),
)
def test_hostile_json_is_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        parse(data)
