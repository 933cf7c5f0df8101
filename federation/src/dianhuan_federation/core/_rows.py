"""Canonical rows: sorted NDJSON under RFC 8785, and the tree over them that proves a row or its absence."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from io import BytesIO
from itertools import islice
from operator import attrgetter, lt
from typing import Any

import msgspec

from dianhuan_federation.core._json import canonical
from dianhuan_federation.core._merkle import (
    EMPTY_ROOT,
    inclusion_proof,
    is_included,
    leaf_hash,
    nodes_of,
    tree_root,
)
from dianhuan_federation.core._schema import RECORD_ID, Column, RowSchema
from dianhuan_sdk import InputError

_GROUP = 1024
"""Rows looked at together: a power of two, so that each group but the last is a complete subtree."""

_record_id = attrgetter(RECORD_ID)

# Controls cannot be typed into a report by accident, and marks that turn the writing direction can forge a name.
_UNWANTED = re.compile("[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")


@dataclass(frozen=True, slots=True)
class Rows:
    """A canonical payload.

    Args:
        payload: the NDJSON bytes.
        count: number of rows.
        root: RFC 6962 root over the row lines without their newline.
    """

    payload: bytes
    count: int
    root: bytes


def encode_rows(schema: RowSchema, rows: Iterable[Mapping[str, object]]) -> Rows:
    """Sort, check and encode rows.

    Args:
        schema: the rows' schema.
        rows: column → JSON value; decimals, days and instants as texts.

    Raises:
        InputError: a row that does not fit the schema, or one record id twice.
    """
    lines: list[tuple[str, bytes]] = []
    for row in rows:
        lines.append((str(row.get(RECORD_ID)), canonical(dict(row))))
    lines.sort()
    payload = b"".join(line + b"\n" for _, line in lines)
    root = row_root(payload)
    decode_rows(schema, payload, count=len(lines), root=root)
    return Rows(payload, len(lines), root)


def lines_of(payload: bytes) -> list[bytes]:
    """The row lines of a payload, without their newlines."""
    return payload.split(b"\n")[:-1]


def row_root(payload: bytes) -> bytes:
    """RFC 6962 root over the row lines of a payload."""
    return tree_root(list(map(_group_root, _groups(payload))))


def _groups(payload: bytes) -> Iterator[list[bytes]]:
    lines = BytesIO(payload[: payload.rfind(b"\n") + 1])
    while group := list(islice(lines, _GROUP)):
        yield group


def _group_root(group: Iterable[bytes]) -> bytes:
    return tree_root([sha256(b"\0" + line[:-1]).digest() for line in group])


def decode_rows(schema: RowSchema, payload: bytes, *, count: int, root: bytes) -> Sequence[msgspec.Struct]:
    """Prove that a payload is the canonical form of exactly these rows.

    Args:
        schema: the schema that the statement names.
        payload: uncompressed NDJSON.
        count: the number of rows stated.
        root: the row root stated.

    Returns:
        One struct per row, fields as in `schema.all_columns`; they are made when first asked for.

    Raises:
        InputError: anything but the canonical bytes of ascending, well-typed rows with that count and root.
    """
    if payload and not payload.endswith(b"\n"):
        raise InputError("the last row has no newline", expected="every row ends in a newline")
    # Rows and hashes of one group stay in the processor's cache; those of a whole payload would not.
    seen, last, parts = 0, "", []
    for group in _groups(payload):
        last = _check_group(schema, b"".join(group), last)
        parts.append(_group_root(group))
        seen += len(group)
    if seen != count:
        raise InputError(f"{seen} rows", expected=f"the {count} rows stated")
    if tree_root(parts) != root:
        raise InputError("the rows do not give the row root stated")
    return _DecodedRows(schema, payload, count)


def _decode(schema: RowSchema, payload: bytes) -> list[Any]:
    try:
        return msgspec.json.Decoder(schema.row_type).decode_lines(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"a row does not fit schema {schema.id} {schema.version}: {error}") from None


def _check_group(schema: RowSchema, payload: bytes, last: str) -> str:
    """Check some whole lines; `last` is the record id before them, the answer the last one among them."""
    rows = _decode(schema, payload)
    if msgspec.json.Encoder().encode_lines(rows) != payload:
        raise InputError("the rows are not in canonical form", expected="RFC 8785 with one row a line")
    # In canonical rows whatever is no plain ASCII stands in a text, and control characters are escaped.
    if b"\\" in payload:
        _check_texts(schema.texts, rows)
    elif b"\x7f" in payload or not payload.isascii():
        _check_texts(schema.free_texts, rows)
    ids: list[str] = list(map(_record_id, rows))
    if not (last < ids[0] and all(map(lt, ids, ids[1:]))):
        raise InputError("the record ids are not strictly ascending", expected="each record once, sorted bytewise")
    for column in schema.formed:
        values = list(map(attrgetter(column.name), rows))
        if column.nullable:
            values = [value for value in values if value is not None]
        wrong = column.misfit(values)
        if wrong is not None:
            raise InputError(f"{column.name} is {wrong}", expected=f"as schema {schema.id} {schema.version} says")
    return ids[-1]


class _DecodedRows(Sequence[msgspec.Struct]):
    """The rows of a verified payload, decoded at the first access: who only verifies need not hold them."""

    def __init__(self, schema: RowSchema, payload: bytes, count: int) -> None:
        self._schema, self._payload, self._count = schema, payload, count

    @cached_property
    def _rows(self) -> list[Any]:
        return _decode(self._schema, self._payload)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __iter__(self) -> Iterator[msgspec.Struct]:
        return iter(self._rows)


def _check_texts(columns: Iterable[Column], rows: Sequence[msgspec.Struct]) -> None:
    for column in columns:
        values = set(map(attrgetter(column.name), rows))
        values.discard(None)
        text = " ".join(values)
        found = _UNWANTED.search(text)
        if found:
            raise InputError(f"a text holds {found.group()!r}", expected="no control characters or direction marks")
        if not unicodedata.is_normalized("NFC", text):
            raise InputError("a text is not in Unicode normal form C")


@dataclass(frozen=True, slots=True)
class RowProof:
    """One row and its path to the row root."""

    line: bytes
    index: int
    path: tuple[bytes, ...]

    def holds(self, count: int, root: bytes) -> bool:
        """Is the row one of the `count` rows under the root?"""
        return is_included(leaf_hash(self.line), self.index, count, self.path, root)

    @property
    def record_id(self) -> str:
        """The row's record id; `InputError` if the line is no row."""
        try:
            return msgspec.json.decode(self.line, type=_Named).record_id
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise InputError("the proven line is no row") from None


class _Named(msgspec.Struct):
    record_id: str


def prove_row(payload: bytes, record_id: str) -> RowProof:
    """Proof that a row is in the payload.

    Raises:
        InputError: there is none with that record id.
    """
    lines = lines_of(payload)
    nodes = nodes_of([leaf_hash(line) for line in lines])
    for index, line in enumerate(lines):
        if msgspec.json.decode(line, type=_Named).record_id == record_id:
            return RowProof(line, index, tuple(inclusion_proof(nodes, index, len(lines))))
    raise InputError(f"no row {record_id} in the batch", hint="prove its absence instead")


@dataclass(frozen=True, slots=True)
class AbsenceProof:
    """The neighbours between which a record id would stand; none where the batch begins or ends."""

    before: RowProof | None
    after: RowProof | None

    def holds(self, record_id: str, count: int, root: bytes) -> bool:
        """Does no row under the root carry that record id?

        It relies on the rows being sorted, which every verifier of the whole batch checks.
        """
        before, after = self.before, self.after
        if before is None and after is None:
            return count == 0 and root == EMPTY_ROOT
        if before is not None and not (before.holds(count, root) and before.record_id < record_id):
            return False
        if after is not None and not (after.holds(count, root) and record_id < after.record_id):
            return False
        first = -1 if before is None else before.index
        return first + 1 == (count if after is None else after.index)


def prove_absence(payload: bytes, record_id: str) -> AbsenceProof:
    """Proof that no row of the payload carries that record id.

    Raises:
        InputError: one does.
    """
    lines = lines_of(payload)
    nodes = nodes_of([leaf_hash(line) for line in lines])
    ids = [msgspec.json.decode(line, type=_Named).record_id for line in lines]
    if record_id in ids:
        raise InputError(f"row {record_id} is in the batch")
    place = sum(known < record_id for known in ids)

    def proof(index: int) -> RowProof | None:
        if not 0 <= index < len(lines):
            return None
        return RowProof(lines[index], index, tuple(inclusion_proof(nodes, index, len(lines))))

    return AbsenceProof(proof(place - 1), proof(place))
