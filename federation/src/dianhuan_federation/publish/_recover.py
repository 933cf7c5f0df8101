"""A log that was lost or is an old copy: taken back from a mirror, and the ledger read again from it."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from hashlib import sha256

from dianhuan_federation.core import (
    Checkpoint,
    Frontier,
    ResultBatch,
    bundles_of,
    frontier_from_nodes,
    leaf_hash,
    lines_of,
    nodes_from_tiles,
    parse,
    read_predicate,
    read_statement,
    statement_digest,
    tiles_of,
    unpack_entries,
)
from dianhuan_federation.guard import CheckpointGuard
from dianhuan_federation.log_store import CHECKPOINT, write_durably
from dianhuan_federation.policy import KEY, SOURCES, Released, SharingTerms
from dianhuan_federation.policy import cells_of as cells_now
from dianhuan_federation.publish._ledger import Ledger
from dianhuan_federation.publish._settings import Settings
from dianhuan_federation.publish._statistics import remember
from dianhuan_federation.publish._witnesses import own_head
from dianhuan_sdk import ConfigError, InputError

CLOSE = (
    "ask the other mirrors; if none holds it, the province closes the shard and the log goes on under the next epoch · "
    "询问其他镜像；若均无，请省级关闭该分片并启用新纪元"
)


def take_back(settings: Settings, guard: CheckpointGuard, mirror: Mapping[str, bytes], seen: int | None) -> int:
    """Put the log of a mirror in the place of ours.

    The guard moves only after every file is on the disk; a crash before that is mended by doing it again.

    Args:
        settings: of the publisher.
        guard: the guard; one that does not know the log begins at what the mirror holds.
        mirror: files of the mirror below the log's prefix.
        seen: largest size that the witnesses have seen; None where not all of them could be asked.

    Returns:
        The size of the log.

    Raises:
        ConfigError: the mirror does not hold what was signed; then the province must close the shard.
    """
    try:
        note = mirror[CHECKPOINT]
        head = own_head(settings, note)
        files = {t.path: mirror[t.path] for t in [*tiles_of(head.size), *bundles_of(head.size)]}
    except (KeyError, InputError) as error:
        raise ConfigError(f"the mirror does not hold the log {settings.origin}: {error}", hint=CLOSE) from None
    leaves: list[bytes] = []
    for bundle in bundles_of(head.size):
        leaves.extend(map(leaf_hash, unpack_entries(files[bundle.path], bundle.width)))
    nodes = nodes_from_tiles(head.size, lambda tile: files[tile.path])
    if Frontier().extended(leaves).root() != head.root or frontier_from_nodes(nodes, head.size).root() != head.root:
        raise ConfigError("the mirror's entries do not give the root of its checkpoint", hint=CLOSE)
    old = _allowed(settings, guard, seen, head)
    if old[0] > head.size or (old[0] and Frontier().extended(leaves[: old[0]]).root() != old[1]):
        raise ConfigError(
            f"the mirror holds size {head.size}, size {old[0]} was signed here",
            expected="a mirror that holds all that was signed",
            hint=CLOSE,
        )
    for path, data in files.items():
        write_durably(settings.log / path, data)
    for path in mirror:
        folder, _, size = path.partition("/")
        if folder == "checkpoints" and size.isdigit() and int(size) <= head.size:
            own_head(settings, mirror[path])
            write_durably(settings.log / path, mirror[path])
    if old[0] < head.size:
        guard.advance(settings.origin, old, (head.size, head.root))
    if not (settings.log / f"checkpoints/{head.size}").exists():
        write_durably(settings.log / f"checkpoints/{head.size}", note)
    write_durably(settings.log / CHECKPOINT, note)
    return head.size


def _allowed(settings: Settings, guard: CheckpointGuard, seen: int | None, head: Checkpoint) -> tuple[int, bytes]:
    """What the guard stands at; a lost guard begins anew only where every witness was asked."""
    if seen is not None and seen > head.size:
        raise ConfigError(f"the mirror holds size {head.size}, a witness has seen {seen}", hint=CLOSE)
    try:
        return guard.head(settings.origin)
    except ConfigError:
        if seen is None:
            raise ConfigError(
                "the guard is lost and not every witness could be asked for the last size",
                expected="an answer of each witness",
                hint="try again when they are reached; otherwise the province closes the shard",
            ) from None
        guard.create(settings.origin)
        return guard.head(settings.origin)


Flat = Callable[[str], Sequence[Mapping[str, object]]]
"""Source → its rows as the hub has them now."""


def read_again(
    settings: Settings,
    known: Ledger,
    statements: Sequence[bytes],
    blobs: Mapping[str, bytes],
    terms: Sequence[SharingTerms],
    flat: Flat,
) -> Ledger:
    """The ledger that a log and its payloads give.

    Cells of statistics are the city's secret and stand in no log: they are tabulated again from the hub's tables, and
    count where every cell that was shown comes out as it was. Where one does not, its source is blind.

    Args:
        settings: of the publisher.
        known: the last ledger there is, of this log or of the one before; only what is missing in it is read.
        statements: all of the log.
        blobs: payloads by the SHA-256 of their bytes; those that are not here are fetched into the served folder.
        terms: the policies as they are now.
        flat: rows of a source.
    """
    ledger = known if known.origin == settings.origin else known.next_epoch(settings.origin)
    if [entry.digest for entry in ledger.entries] != [statement_digest(s) for s in statements[: ledger.size]]:
        ledger = ledger.next_epoch(settings.origin)
    of_stream = {t.target: t for t in terms}
    for statement in statements[ledger.size :]:
        predicate = read_predicate(read_statement(statement))
        payload = _payload(settings, predicate, blobs) if isinstance(predicate, ResultBatch) else None
        ledger.add(statement, payload)
        policy = of_stream.get(predicate.stream)
        if isinstance(predicate, ResultBatch) and predicate.schema.id == "statistic":
            cells = None if policy is None or payload is None else _cells(policy, payload, flat)
            if policy is None or cells is None:
                for source in SOURCES if policy is None else (policy.source,):
                    ledger.forget_before(source, ledger.entries[-1].end)
            else:
                remember(ledger, policy.source, cells)
    if settings.epoch > 1 and not ledger.follows and ledger.entries:
        ledger.forget_all_before(ledger.entries[0].day)
    return ledger


def _payload(settings: Settings, batch: ResultBatch, blobs: Mapping[str, bytes]) -> bytes | None:
    for encoding in batch.encodings:
        digest = encoding.digest["sha256"]
        path = settings.blob(digest)
        data = path.read_bytes() if path.exists() else blobs.get(digest)
        if data is None or sha256(data).hexdigest() != digest:
            continue
        if not path.exists():
            write_durably(path, data)
        return gzip.decompress(data)
    return None


def _cells(terms: SharingTerms, payload: bytes, flat: Flat) -> list[Released] | None:
    """The parts of every shown cell of a payload; None where the hub's tables do not give them any more."""
    found: list[Released] = []
    tables: dict[tuple[str, str], dict[str, tuple[Mapping[str, object], Released]]] = {}
    for line in lines_of(payload):
        row = parse(line)
        if row["value"] is None:
            continue
        span = (row["period_start"], row["period_end"])
        if span not in tables:
            start, end = map(date.fromisoformat, span)
            tables[span] = {str(r[KEY]): (r, parts) for r, parts in cells_now(terms, flat(terms.source), start, end)}
        now = tables[span].get(row[KEY])
        if now is None or now[0] != row:
            return None
        found.append(now[1])
    return found
