"""Salted commitments to the raw records behind a batch, and how one of them is opened on site.

A leaf is SHA-256 over a secret salt and one raw record together with the id of the row that it stands behind; the
batch states the RFC 6962 root over the leaves. Nobody can guess a curve from it, and the city cannot later show another
curve than the one it had, or that of another enterprise.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import sha256
from typing import Any

from dianhuan_federation.core import (
    Inputs,
    ResultBatch,
    canonical,
    inclusion_proof,
    is_included,
    leaf_hash,
    nodes_of,
    open_envelope,
    parse,
    read_predicate,
    read_statement,
    tree_root,
)
from dianhuan_sdk import InputError, StoragePort

KIND = "urn:dianhuan:federation:commitment-opening:v1"
COLUMNS = ("metering_point_id", "day", "kw", "points", "kwh")
Pair = tuple[str, date]
"""Metering point and civil day: one raw record."""


@dataclass(frozen=True, slots=True)
class Commitment:
    """What a batch commits to.

    Args:
        inputs: root and coverage, as the statement has them.
        file: what the city keeps: salts, digests, and which records stand behind which row.
    """

    inputs: Inputs
    file: bytes


def commit_to(
    storage: StoragePort,
    key: bytes,
    place: tuple[str, str, int],
    behind: Mapping[str, Pair],
    before: Mapping[str, Sequence[str]] | None = None,
) -> Commitment | None:
    """Commit to the load curves of the enterprises on the days behind some rows.

    Args:
        storage: the hub's storage.
        key: the city's secret; salts are derived from it, so a lost file can be made again from the same records.
        place: origin, stream and number of the batch: salts of two batches are not alike.
        behind: record id → enterprise and day.
        before: record id → raw records committed to earlier, for a correction: others are late.

    Returns:
        None where no metering point is known for any row.
    """
    points = _points(storage, {entity for entity, _ in behind.values()})
    wanted = {
        id: [(p, day) for p in points.get(who, {}) if _fed(points[who][p], day)] for id, (who, day) in behind.items()
    }
    pairs = {pair for mine in wanted.values() for pair in mine}
    if not pairs:
        return None
    raw = read_raw(storage, pairs)
    leaves = [(id, pair) for id in sorted(wanted) for pair in sorted(wanted[id]) if pair in raw]
    secrets = [salt(key, place, id, pair) for id, pair in leaves]
    digests = [digest_of(secret, id, raw[pair]) for secret, (id, pair) in zip(secrets, leaves, strict=True)]
    root = tree_root(list(map(leaf_hash, digests))).hex() if leaves else None
    known = {one for mine in (before or {}).values() for one in mine}
    late = 0 if before is None else sum(name(pair) not in known for pair in raw)
    file = canonical(
        {
            "root": root,
            "leaves": [
                [id, name(pair), secret.hex(), digest.hex()]
                for (id, pair), secret, digest in zip(leaves, secrets, digests, strict=True)
            ],
        }
    )
    return Commitment(Inputs(commitment=root, expected=len(pairs), present=len(raw), late=late), file)


def committed(file: bytes) -> dict[str, list[str]]:
    """Record id → names of the raw records behind it."""
    found: dict[str, list[str]] = {}
    for id, raw, _, _ in json.loads(file)["leaves"]:
        found.setdefault(id, []).append(raw)
    return found


def open_commitment(storage: StoragePort, file: bytes, record_id: str, proof: bytes) -> bytes:
    """The file that shows an inspector which readings stood behind one row; it holds raw data and stays on site.

    Args:
        storage: the hub's storage.
        file: what the city kept of the batch.
        record_id: the row.
        proof: the record proof of the row.

    Raises:
        InputError: the row is not of this batch, or a reading is no longer the one that was committed.
    """
    document = json.loads(file)
    digests = [bytes.fromhex(digest) for *_, digest in document["leaves"]]
    nodes = nodes_of([leaf_hash(digest) for digest in digests])
    mine = {
        i: (_pair(raw), bytes.fromhex(s)) for i, (id, raw, s, _) in enumerate(document["leaves"]) if id == record_id
    }
    if not mine:
        raise InputError(
            f"no reading was committed to for record {record_id}",
            expected="a warning of an enterprise whose readings were there",
        )
    raw = read_raw(storage, {pair for pair, _ in mine.values()})
    shown = []
    for index, (pair, secret) in mine.items():
        record = raw.get(pair, b"")
        if digest_of(secret, record_id, record) != digests[index]:
            raise InputError(
                f"the readings of {pair[1]} are not those that were committed to",
                expected="unchanged readings",
                hint="they were corrected or deleted since; the history of the load shows when",
            )
        path = inclusion_proof(nodes, index, len(digests))
        shown.append(
            {
                "index": index,
                "salt": secret.hex(),
                "record": base64.b64encode(record).decode(),
                "path": [base64.b64encode(node).decode() for node in path],
            }
        )
    return canonical(
        {
            "kind": KIND,
            "record_id": record_id,
            "root": document["root"],
            "leaves": len(digests),
            "opened": shown,
            "proof": parse(proof),
        }
    )


def check_commitment(opening: bytes) -> tuple[str, list[dict[str, Any]]]:
    """Do the readings in an opening stand behind its statement?

    Whether the statement itself stands in the log is what its record proof shows (`verify_record`).

    Returns:
        The record id, and the raw records: metering point, day, 96 values in kW as texts.

    Raises:
        InputError: not an opening, or something in it does not fit.
    """
    try:
        document = parse(opening)
        if document["kind"] != KIND:
            raise InputError("not the opening of a commitment", expected=KIND)
        envelope = open_envelope(base64.b64decode(document["proof"]["entry"]))
        batch = read_predicate(read_statement(envelope.payload))
        row = parse(document["proof"]["row"]["line"].encode())
        opened = [
            (
                one["index"],
                digest_of(bytes.fromhex(one["salt"]), document["record_id"], base64.b64decode(one["record"])),
                [base64.b64decode(node) for node in one["path"]],
                parse(base64.b64decode(one["record"])),
            )
            for one in document["opened"]
        ]
        count, record_id = document["leaves"], document["record_id"]
        if row["record_id"] != record_id:
            raise InputError(f"an opening of {record_id} with the row {row['record_id']}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"not the opening of a commitment: {error}", expected=KIND) from None
    if not isinstance(batch, ResultBatch) or batch.inputs.commitment is None:
        raise InputError("the statement commits to no such records")
    if not opened:
        raise InputError("an opening without a reading")
    root = bytes.fromhex(batch.inputs.commitment)
    for index, digest, path, _ in opened:
        if not is_included(leaf_hash(digest), index, count, path, root):
            raise InputError(
                f"reading {index} is not behind record {record_id} under the commitment",
                expected="unchanged readings and salts",
            )
    return record_id, [record for *_, record in opened]


def salt(key: bytes, place: tuple[str, str, int], record_id: str, pair: Pair) -> bytes:
    """32 secret bytes of one raw record behind one row of one batch."""
    origin, stream, number = place
    return hmac.digest(key, f"salt\0{origin}\0{stream}\0{number}\0{record_id}\0{name(pair)}".encode(), sha256)


def digest_of(secret: bytes, record_id: str, record: bytes) -> bytes:
    """The leaf: salt of fixed length, row, raw record."""
    return sha256(secret + record_id.encode() + b"\0" + record).digest()


def name(pair: Pair) -> str:
    """The name of a raw record in the city's file."""
    return f"{pair[1].isoformat()} {pair[0]}"


def read_raw(storage: StoragePort, pairs: set[Pair]) -> dict[Pair, bytes]:
    """The raw records that are there, each in its one canonical form; numbers are texts that give the float back."""
    if not pairs:
        return {}
    days = [day for _, day in pairs]
    reader = storage.read(
        "load_curve",
        columns=COLUMNS,
        equals={"metering_point_id": sorted({point for point, _ in pairs})},
        start=min(days),
        end=max(days) + timedelta(1),
    )
    found: dict[Pair, bytes] = {}
    for batch in reader:
        for row in batch.to_pylist():
            pair = (row["metering_point_id"], row["day"])
            if pair in pairs:
                curve = None if row["kw"] is None else [None if v is None else repr(v) for v in row["kw"]]
                found[pair] = canonical(
                    {
                        "metering_point_id": pair[0],
                        "day": pair[1].isoformat(),
                        "kw": curve,
                        "points": row["points"],
                        "kwh": None if row["kwh"] is None else repr(row["kwh"]),
                    }
                )
    return found


def _pair(text: str) -> Pair:
    day, _, point = text.partition(" ")
    return point, date.fromisoformat(day)


_Links = list[tuple[date, date | None]]


def _points(storage: StoragePort, entities: set[str]) -> dict[str, dict[str, _Links]]:
    """Enterprise → metering point → the days [from, to) on which its account feeds the enterprise."""
    accounts: dict[str, list[tuple[str, date, date | None]]] = {}
    links = storage.read(
        "account_link",
        columns=("account_no", "entity_id", "valid_from", "valid_to"),
        equals={"entity_id": sorted(entities)},
    )
    for row in links.read_all().to_pylist():
        accounts.setdefault(row["account_no"], []).append((row["entity_id"], row["valid_from"], row["valid_to"]))
    points: dict[str, dict[str, _Links]] = {}
    if not accounts:
        return points
    table = storage.read(
        "metering_point", columns=("metering_point_id", "account_no"), equals={"account_no": sorted(accounts)}
    )
    for row in table.read_all().to_pylist():
        for entity, start, end in accounts.get(row["account_no"], ()):
            points.setdefault(entity, {}).setdefault(row["metering_point_id"], []).append((start, end))
    return points


def _fed(links: _Links, day: date) -> bool:
    return any(start <= day and (end is None or day < end) for start, end in links)
