"""Salted commitments to the raw records behind a batch, and how one of them is opened on site.

A leaf is SHA-256 over a secret salt and one raw record; the batch states the RFC 6962 root over the leaves. Nobody can
guess a curve from it, and the city cannot later show another curve than the one it had.
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
from dianhuan_federation.policy import pseudonym
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
    order = sorted(raw)
    leaves = [(name(pair), salt(key, place, pair)) for pair in order]
    digests = [sha256(secret + raw[pair]).digest() for pair, (_, secret) in zip(order, leaves, strict=True)]
    number = {pair: index for index, pair in enumerate(order)}
    root = tree_root(list(map(leaf_hash, digests))).hex() if order else None
    known = {one for mine in (before or {}).values() for one in mine}
    late = sum(name(pair) not in known for pair in order) if before else 0
    file = canonical(
        {
            "root": root,
            "leaves": [[n, s.hex(), d.hex()] for (n, s), d in zip(leaves, digests, strict=True)],
            "records": {id: [number[pair] for pair in sorted(mine) if pair in number] for id, mine in wanted.items()},
        }
    )
    return Commitment(Inputs(commitment=root, expected=len(pairs), present=len(order), late=late), file)


def committed(file: bytes) -> dict[str, list[str]]:
    """Record id → names of the raw records behind it."""
    document = json.loads(file)
    return {id: [document["leaves"][i][0] for i in mine] for id, mine in document["records"].items()}


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
    if record_id not in document["records"]:
        raise InputError(f"record {record_id} is not of this batch", hint="look for its index in the publish report")
    digests = [bytes.fromhex(digest) for _, _, digest in document["leaves"]]
    nodes = nodes_of([leaf_hash(digest) for digest in digests])
    mine = document["records"][record_id]
    pairs = {index: _pair(document["leaves"][index][0]) for index in mine}
    raw = read_raw(storage, set(pairs.values()))
    shown = []
    for index in mine:
        record, secret = raw.get(pairs[index], b""), bytes.fromhex(document["leaves"][index][1])
        if sha256(secret + record).digest() != digests[index]:
            raise InputError(
                f"the readings of {pairs[index][1]} are not those that were committed to",
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
                bytes.fromhex(one["salt"]) + base64.b64decode(one["record"]),
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
    if not isinstance(batch, ResultBatch) or batch.inputs.commitment is None or batch.inputs.present != count:
        raise InputError("the statement commits to no such records")
    if not opened:
        raise InputError("an opening without a reading")
    root = bytes.fromhex(batch.inputs.commitment)
    for index, data, path, _ in opened:
        if not is_included(leaf_hash(sha256(data).digest()), index, count, path, root):
            raise InputError(f"reading {index} is not under the commitment", expected="unchanged readings and salts")
    return record_id, [record for *_, record in opened]


def salt(key: bytes, place: tuple[str, str, int], pair: Pair) -> bytes:
    """32 secret bytes of one raw record in one batch."""
    pseudonym(key, "salt", "")
    origin, stream, number = place
    return hmac.digest(key, f"salt\0{origin}\0{stream}\0{number}\0{name(pair)}".encode(), sha256)


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
                curve = None if row["kw"] is None else [None if v is None else f"{v:.9g}" for v in row["kw"]]
                found[pair] = canonical(
                    {
                        "metering_point_id": pair[0],
                        "day": pair[1].isoformat(),
                        "kw": curve,
                        "points": row["points"],
                        "kwh": None if row["kwh"] is None else f"{row['kwh']:.17g}",
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
