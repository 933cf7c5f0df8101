"""One record with everything that proves it: a file that a third party verifies with the trust root and no hub."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dianhuan_federation.core import _entry_steps, _log_steps, _trust
from dianhuan_federation.core._checkpoint import parse_checkpoint
from dianhuan_federation.core._json import canonical, parse
from dianhuan_federation.core._merkle import inclusion_proof, is_included, leaf_hash
from dianhuan_federation.core._notes import decode64
from dianhuan_federation.core._policy import Policy
from dianhuan_federation.core._proofs import LogProof, parse_proof
from dianhuan_federation.core._rows import RowProof, prove_row
from dianhuan_federation.core._state import LogState
from dianhuan_federation.core._statements import Head, ResultBatch, read_predicate, read_statement
from dianhuan_federation.core._tiles import Tile, nodes_from_tiles, unpack_entries
from dianhuan_federation.core._trust import Trust
from dianhuan_federation.core._verdicts import Code, Refused, Step
from dianhuan_sdk import InputError

KIND = "urn:dianhuan:federation:record-proof:v1"


@dataclass(frozen=True, slots=True)
class ProvenRecord:
    """What a record proof shows.

    Args:
        origin: the log.
        index: index of the statement.
        witnessed_at: POSIX time.
        keys: ids of the publisher keys that count.
        kind: predicate type.
        predicate: the statement's predicate.
        row: the row's JSON line, where one is proven.
    """

    origin: str
    index: int
    witnessed_at: int
    keys: frozenset[str]
    kind: str
    predicate: Head
    row: bytes | None


def prove_record(
    files: Mapping[str, bytes],
    index: int,
    payload: bytes | None = None,
    record_id: str = "",
    note: bytes | None = None,
) -> bytes:
    """A record proof from a log's files.

    Args:
        files: `checkpoint` and tiles of the log.
        index: index of the statement.
        payload: the uncompressed rows of its batch, for a proof to the row.
        record_id: the row.
        note: an earlier checkpoint to prove under, whose witnesses saw the entry while its key was good; the newest
            one by default.

    Returns:
        Canonical JSON: the entry, a C2SP tlog-proof, and the row with its path.

    Raises:
        InputError: the log has no such entry, or the payload no such row.
    """
    newest, _ = parse_checkpoint(files["checkpoint"])
    under = files["checkpoint"] if note is None else note
    head, _ = parse_checkpoint(under)
    if head.size > newest.size:
        raise InputError(f"a checkpoint of size {head.size}", expected=f"at most {newest.size}, as the log has")
    if not 0 <= index < head.size:
        raise InputError(f"entry {index} of a log of {head.size}", expected="an index below the size")
    bundle = Tile(None, index // 256, min(256, newest.size - index // 256 * 256))
    try:
        entry = unpack_entries(files[bundle.path], bundle.width)[index % 256]
        path = inclusion_proof(nodes_from_tiles(newest.size, lambda tile: files[tile.path]), index, head.size)
    except KeyError as missing:
        raise InputError(f"the log lacks {missing}", hint="take a bundle or folder with the whole log") from None
    row = None if payload is None else prove_row(payload, record_id)
    return canonical(
        {
            "kind": KIND,
            "entry": _b64(entry),
            "proof": LogProof(index, tuple(path), under).text.decode(),
            "row": None
            if row is None
            else {"line": row.line.decode(), "index": row.index, "path": [_b64(node) for node in row.path]},
        }
    )


def verify_record(data: bytes, trust: Trust, policy: Policy, now: int) -> ProvenRecord:
    """Verify a record proof: V1, V2, V4, inclusion, V6, the statement, and the row under its root.

    It shows that the record was published, not that it was never corrected later: only the whole log shows that.

    Raises:
        Refused: with the step and code that fails; `E-TREE` for the entry's path, `E-ROWS` for the row's.
    """
    try:
        document = parse(data)
        if document["kind"] != KIND:
            raise InputError("not a record proof", expected=KIND)
        entry, proof = decode64(document["entry"]), parse_proof(document["proof"].encode())
        row = document["row"]
        line = None if row is None else _row(row)
        origin = parse_checkpoint(proof.checkpoint)[0].origin
    except (InputError, KeyError, TypeError, AttributeError) as error:
        raise Refused(Step.V0, Code.CAP, f"not a record proof: {error}", expected=KIND) from None
    hub = _trust.trusted_hub(trust, origin)
    signed = _log_steps.v2_checkpoint(proof.checkpoint, origin, hub)
    head = _log_steps.v4_quorum(signed, policy, hub, LogState(origin), now)
    if not is_included(leaf_hash(entry), proof.index, head.head.size, proof.path, head.head.root):
        raise Refused(Step.V5, Code.TREE, "the entry is not under the checkpoint")
    envelope = _entry_steps.v6_envelope(entry)
    signatures = _entry_steps.v6_signature(envelope, proof.index, hub, [head])
    try:
        statement = read_statement(envelope.payload)
        predicate = read_predicate(statement)
        if predicate.origin != origin:
            raise InputError(f"a statement about {predicate.origin}", expected=origin)
    except InputError as error:
        raise Refused(Step.V7, Code.UNKNOWN, str(error)) from None
    if line is not None:
        of = predicate if isinstance(predicate, ResultBatch) else None
        if of is None or not line.holds(of.rows, bytes.fromhex(of.row_root)):
            raise Refused(Step.V10, Code.ROWS, "the row is not under the statement's row root")
    return ProvenRecord(
        origin,
        proof.index,
        head.time,
        signatures.keys,
        statement.predicate_type,
        predicate,
        None if line is None else line.line,
    )


def _row(row: dict[str, Any]) -> RowProof:
    if not isinstance(row["index"], int):
        raise InputError("a row index that is no number")
    return RowProof(row["line"].encode(), row["index"], tuple(map(decode64, row["path"])))


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
