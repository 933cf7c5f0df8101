"""Rows: canonical round trips, every deviation refused, proofs of a row and of its absence."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from dianhuan_federation.core import (
    STATISTIC_ROWS,
    WARNING_ROWS,
    Column,
    RowSchema,
    decode_rows,
    encode_rows,
    leaf_hash,
    prove_absence,
    prove_row,
    row_root,
    tree_root,
)
from dianhuan_sdk import ConfigError, InputError

Row = Callable[..., dict[str, Any]]


def test_rows_are_sorted_lines_of_rfc_8785_with_an_rfc_6962_root(warning_row: Row) -> None:
    rows = [warning_row(2), warning_row(1), warning_row(3, enterprise_name=None)]
    batch = encode_rows(WARNING_ROWS, rows)
    ordered = sorted(rows, key=lambda row: row["record_id"])
    lines = [rfc8785.dumps(row) for row in ordered]
    assert batch.payload == b"".join(line + b"\n" for line in lines)
    a, b, c = (sha256(b"\0" + line).digest() for line in lines)
    assert batch.root == sha256(b"\1" + sha256(b"\1" + a + b).digest() + c).digest()
    decoded = decode_rows(WARNING_ROWS, batch.payload, count=3, root=batch.root)
    assert [row.record_id for row in decoded] == ["w-000001", "w-000002", "w-000003"]  # type: ignore[attr-defined]


def test_an_empty_batch_has_the_root_of_the_empty_tree() -> None:
    batch = encode_rows(WARNING_ROWS, [])
    assert (batch.payload, batch.count, batch.root) == (b"", 0, sha256().digest())
    assert list(decode_rows(WARNING_ROWS, b"", count=0, root=batch.root)) == []


SAFE = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Mn", "Lo"], exclude_characters="\ufeff"),
    max_size=20,
)
ROWS = st.dictionaries(
    st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._:-]{0,9}\Z"),
    st.tuples(SAFE, st.integers(-(2**53) + 1, 2**53 - 1), st.none() | st.booleans(), st.integers(-(10**9), 10**9)),
    max_size=12,
)
ANY = RowSchema(
    "any",
    "1.0",
    (
        Column("text", "text"),
        Column("number", "integer"),
        Column("flag", "flag", nullable=True),
        Column("amount", "decimal", scale=2),
    ),
)


@given(ROWS)
def test_any_rows_come_back(content: dict[str, tuple[str, int, bool | None, int]]) -> None:
    import unicodedata

    rows = [
        {
            "record_id": record_id,
            "text": unicodedata.normalize("NFC", text),
            "number": number,
            "flag": flag,
            "amount": f"{'-' if amount < 0 else ''}{abs(amount) // 100}.{abs(amount) % 100:02d}",
        }
        for record_id, (text, number, flag, amount) in content.items()
    ]
    batch = encode_rows(ANY, rows)
    decoded = decode_rows(ANY, batch.payload, count=len(rows), root=batch.root)
    assert [{name: getattr(row, name) for name in rows[0]} for row in decoded] == sorted(
        rows, key=lambda row: str(row["record_id"])
    )


HOSTILE_CHANGES: dict[str, dict[str, Any]] = {
    "unknown column": {"load_kw": 3},
    "a number for a text": {"division": 430200},
    "a code with a wrong digit count": {"division": "43020"},
    "full-width digits": {"division": "４３０２００"},
    "a newline after a code": {"division": "430200\n"},
    "an id with a slash": {"record_id": "a/b"},
    "an id of 65 characters": {"record_id": "a" * 65},
    "an empty id": {"record_id": ""},
    "a null id": {"record_id": None},
    "a null where none may be": {"score": None},
    "a score above one": {"score": "1.0001"},
    "a negative score": {"score": "-0.0001"},
    "negative zero": {"score": "-0.0000"},
    "a score with three digits": {"score": "0.123"},
    "a score with leading zeros": {"score": "00.1234"},
    "a score in exponent form": {"score": "1e-4"},
    "a day that does not exist": {"day": "2026-02-30"},
    "a day with a time": {"day": "2026-11-23T00:00:00"},
    "local time": {"raised_at": "2026-11-24T06:30:00"},
    "another zone": {"raised_at": "2026-11-24T14:30:00+08:00"},
    "a fraction of zero": {"raised_at": "2026-11-24T06:30:00.000Z"},
    "a lower-case z": {"raised_at": "2026-11-24t06:30:00z"},
    "a name in NFD": {"enterprise_name": "Ame\u0301lie"},
    "a right-to-left override": {"enterprise_name": "工厂\u202egnp.exe"},
    "an isolate": {"enterprise_name": "工厂\u2067x\u2069"},
    "a zero-width mark": {"enterprise_name": "工\u200f厂"},
    "a byte order mark": {"enterprise_name": "\ufeff工厂"},
    "a control character": {"enterprise_name": "工厂\x00"},
    "a line feed": {"enterprise_name": "工厂\n=cmd"},
    "a line separator": {"enterprise_name": "工厂\u2028"},
    "delete": {"enterprise_name": "plant\x7f"},
    "a C1 control": {"enterprise_name": "plant\x9b31m"},
    "a backslash before a tab": {"enterprise_name": "a\\\tb"},
    "two scores in one text": {"score": "0.1000\n0.2000"},
    "two divisions in one text": {"division": "430200\n430201"},
    "two ids in one text": {"record_id": "w-000002\nw-000003"},
    "a score of minus zero": {"score": "-0.0000"},
    "a score below nought": {"score": "-0.0001"},
    "a name too long": {"enterprise_name": "厂" * 121},
    "a list": {"enterprise_name": ["厂"]},
}


@pytest.mark.parametrize("change", HOSTILE_CHANGES.values(), ids=HOSTILE_CHANGES)
def test_hostile_row_values_are_refused_both_ways(warning_row: Row, change: dict[str, Any]) -> None:
    rows = [warning_row(1), {**warning_row(2), **change}]
    with pytest.raises(InputError):
        encode_rows(WARNING_ROWS, rows)
    payload = b"".join(sorted(rfc8785.dumps(row) + b"\n" for row in rows))
    with pytest.raises(InputError):
        decode_rows(WARNING_ROWS, payload, count=2, root=row_root(payload))


HOSTILE_BYTES: dict[str, Callable[[bytes], bytes]] = {
    "float": lambda p: p.replace(b'"0.0001"', b"0.0001"),
    "duplicate key": lambda p: p.replace(b'{"day"', b'{"day":"2026-11-23","day"', 1),
    "space": lambda p: p.replace(b'":"', b'": "', 1),
    "escaped solidus": lambda p: p.replace("化工".encode(), b"\\/", 1),
    "escaped letter": lambda p: p.replace(b"C2614", b"\\u00432614", 1),
    "lone surrogate escape": lambda p: p.replace("化工".encode(), b"\\ud800", 1),
    "surrogate in UTF-8": lambda p: p.replace("化工".encode(), b"\xed\xa0\x80", 1),
    "overlong UTF-8": lambda p: p.replace(b"C2614", b"\xc1\x832614", 1),
    "keys in another order": lambda p: p.replace(
        b'"day":"2026-11-23","division":"430200"', b'"division":"430200","day":"2026-11-23"', 1
    ),
    "column missing": lambda p: p.replace(b'"day":"2026-11-23",', b"", 1),
    "null left out": lambda p: p.replace('"enterprise_name":"湘江化工有限公司",'.encode(), b"", 1),
    "carriage return": lambda p: p.replace(b"\n", b"\r\n"),
    "blank line": lambda p: p.replace(b"\n", b"\n\n", 1),
    "no last newline": lambda p: p[:-1],
    "byte order mark": lambda p: b"\xef\xbb\xbf" + p,
    "unsorted": lambda p: b"".join(line + b"\n" for line in reversed(p.split(b"\n")[:-1])),
    "duplicate record": lambda p: p.split(b"\n")[0] + b"\n" + p,
    "trailing rubbish": lambda p: p + b"x\n",
    "deep nesting": lambda p: p.replace(b'"C2614"', b"[" * 100_000 + b"]" * 100_000, 1),
    "array of rows": lambda p: b"[" + p[:-1].replace(b"\n", b",") + b"]\n",
    "comment": lambda p: b"# rows\n" + p,
}


@pytest.mark.parametrize("spoil", HOSTILE_BYTES.values(), ids=HOSTILE_BYTES)
def test_hostile_row_bytes_are_refused(warning_row: Row, spoil: Callable[[bytes], bytes]) -> None:
    batch = encode_rows(WARNING_ROWS, [warning_row(1), warning_row(2)])
    payload = spoil(batch.payload)
    assert payload != batch.payload
    with pytest.raises(InputError):
        decode_rows(WARNING_ROWS, payload, count=payload.count(b"\n"), root=row_root(payload))


def test_hostile_count_and_root_are_refused(warning_row: Row) -> None:
    batch = encode_rows(WARNING_ROWS, [warning_row(1), warning_row(2)])
    with pytest.raises(InputError, match="2 rows"):
        decode_rows(WARNING_ROWS, batch.payload, count=3, root=batch.root)
    with pytest.raises(InputError, match="row root"):
        decode_rows(WARNING_ROWS, batch.payload, count=2, root=sha256(b"other").digest())


def test_hostile_injection_texts_stay_plain_data(warning_row: Row) -> None:
    names = [
        "=cmd|' /C calc'!A0",
        "'; DROP TABLE warning;--",
        "<script>alert(1)</script>",
        "{__schema{types{name}}}",
        "a\\b",
    ]
    batch = encode_rows(WARNING_ROWS, [warning_row(i, enterprise_name=name) for i, name in enumerate(names)])
    rows = decode_rows(WARNING_ROWS, batch.payload, count=len(names), root=batch.root)
    assert [row.enterprise_name for row in rows] == names  # type: ignore[attr-defined]


@pytest.mark.parametrize("pattern", ["[^x]{1,20}", r"\w+\s?\w*", "(?s).+", "a|b", "a.?b?", "[\t-~]+", "a$|b"])
def test_forms_of_any_kind_are_asked_value_by_value(pattern: str) -> None:
    """Many values are matched at once where that cannot change an answer."""
    schema = RowSchema("form", "1.0", (Column("name", "text", pattern=pattern, nullable=True),))
    for values in (["a", "b"], ["a", None, "b"], ["a", "a?"], ["x", "a"], ["", "a"], ["a", "ab", "é"], ["b", "a b"]):
        rows = [{"record_id": f"r{i}", "name": value} for i, value in enumerate(values)]
        fits = all(value is None or re.fullmatch(pattern, value) for value in values)
        try:
            encode_rows(schema, rows)
        except InputError:
            assert not fits, values
        else:
            assert fits, values


@pytest.mark.parametrize("count", [255, 256, 257, 1023, 1024, 1025, 3000])
def test_the_row_root_is_that_of_one_tree(count: int) -> None:
    lines = [b"%d" % i for i in range(count)]
    assert row_root(b"".join(line + b"\n" for line in lines)) == tree_root([leaf_hash(line) for line in lines])


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13])
def test_each_row_is_provable_and_each_gap_is_too(warning_row: Row, count: int) -> None:
    batch = encode_rows(WARNING_ROWS, [warning_row(2 * i) for i in range(count)])
    for i in range(count):
        present, absent = f"w-{2 * i:06d}", f"w-{2 * i + 1:06d}"
        proof = prove_row(batch.payload, present)
        assert proof.holds(count, batch.root)
        assert proof.record_id == present
        gap = prove_absence(batch.payload, absent)
        assert gap.holds(absent, count, batch.root)
        assert not gap.holds(present, count, batch.root)
        with pytest.raises(InputError):
            prove_absence(batch.payload, present)
    assert prove_absence(batch.payload, "a").holds("a", count, batch.root)
    with pytest.raises(InputError):
        prove_row(batch.payload, "a")


def test_absence_in_an_empty_batch() -> None:
    proof = prove_absence(b"", "a")
    assert proof.holds("a", 0, sha256().digest())
    assert not proof.holds("a", 1, sha256(b"x").digest())


def test_hostile_absence_proofs_do_not_hold(warning_row: Row) -> None:
    from dianhuan_federation.core import AbsenceProof

    batch = encode_rows(WARNING_ROWS, [warning_row(i) for i in (10, 20, 30, 40)])
    target = "w-000030"
    before, after = prove_row(batch.payload, "w-000020"), prove_row(batch.payload, "w-000040")
    assert not AbsenceProof(before, after).holds(target, 4, batch.root)
    assert not AbsenceProof(None, after).holds(target, 4, batch.root)
    assert not AbsenceProof(before, None).holds(target, 4, batch.root)
    assert not AbsenceProof(None, None).holds(target, 4, batch.root)
    assert not AbsenceProof(after, before).holds(target, 4, batch.root)


def test_a_schema_is_named_by_its_digest() -> None:
    assert STATISTIC_ROWS.digest != WARNING_ROWS.digest
    changed = RowSchema("any", "1.0", (*ANY.columns[:3], Column("amount", "decimal", scale=3)))
    assert changed.digest != ANY.digest


@pytest.mark.parametrize(
    "columns",
    [
        (Column("record_id", "text"),),
        (Column("A", "text"),),
        (Column("a", "code"),),
        (Column("a", "text", codes=("x",)),),
    ],
    ids=["twice", "capital", "no codes", "codes for text"],
)
def test_impossible_schemas_are_refused(columns: tuple[Column, ...]) -> None:
    with pytest.raises(ConfigError):
        RowSchema("bad", "1.0", columns)


def test_salted_rows_need_their_salt() -> None:
    schema = RowSchema("salted", "1.0", (Column("count", "integer", low=0),), salted=True)
    encode_rows(schema, [{"record_id": "a", "count": 1, "salt": "0" * 32}])
    with pytest.raises(InputError):
        encode_rows(schema, [{"record_id": "a", "count": 1}])
