"""What is taken from a source: range packs where it makes them, else plain tiles, which any file server has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from dianhuan_federation.bundle import log_hash
from dianhuan_federation.core import (
    Caps,
    ContainerCaps,
    Refused,
    Submission,
    Tile,
    bundles_of,
    pack_entries,
    parse_checkpoint,
    tiles_of,
    unpack_entries,
)
from dianhuan_federation.nodes import PackEnd, read_pack
from dianhuan_federation.replica import Delivery, read_entry, wanted_blobs
from dianhuan_federation.sync._sources import HttpSource, Source
from dianhuan_sdk import InputError, TransientError

MAX_NOTE = 64 * 1024
MAX_BUNDLE = 256 * (65_535 + 2)
MAX_NEW = 1 << 17
"""Most new entries taken of one log at a time; a log that has more in one head waits for a person's word."""

SECONDS_A_ROUND = 900.0
"""Most seconds that one source may take of a round; others go on meanwhile."""

MAX_PACKS = 64
PACK_LOGS = 64
"""Logs asked for in one pack; while one is merged the next ones are on their way."""

MAX_PULL = 512 * 1024 * 1024
"""Most bytes taken of one source in one round; what is left comes in the next."""


@dataclass(frozen=True, slots=True)
class Want:
    """What is wanted of one log.

    Args:
        origin: the log.
        start: verified entries.
        grant: id of the grant under which payloads are asked for.
        blobs: payloads of earlier entries that are still missing: (SHA-256, size).
        most: most new entries.
    """

    origin: str
    start: int
    grant: str = ""
    blobs: tuple[tuple[str, int], ...] = ()
    most: int = MAX_NEW


@dataclass(slots=True)
class _Log:
    tiles: dict[str, bytes] = field(default_factory=dict)
    notes: dict[int, bytes] = field(default_factory=dict)
    origin: str = ""


async def pull(source: Source, wants: Sequence[Want], seconds: float = SECONDS_A_ROUND) -> list[Delivery]:
    """Take from a source what is new of some logs; one answer per log, whatever the source does."""
    answers: dict[str, Delivery] = {}
    try:
        async with asyncio.timeout(seconds):
            async for delivery in _pulled(source, wants):
                answers[delivery.origin] = delivery
    except TimeoutError:
        pass
    slow = f"{source.name} did not finish in {seconds:.0f} s"
    return [answers.get(w.origin) or Delivery(w.origin, None, source.via, slow) for w in wants]


async def _pulled(source: Source, wants: Sequence[Want]) -> AsyncIterator[Delivery]:
    packed: dict[str, Delivery] = {}
    if isinstance(source, HttpSource):
        groups = (
            [wants[i : i + PACK_LOGS] for i in range(0, len(wants), PACK_LOGS)]
            if source.signs
            else [[w] for w in wants]
        )
        for group in groups:
            try:
                packed |= await _packs(source, group)
            except (TransientError, Refused) as error:
                packed |= {w.origin: Delivery(w.origin, None, source.via, str(error)) for w in group}
    for want in wants:
        delivery = packed.get(want.origin)
        if delivery is None:
            try:
                delivery = Delivery(want.origin, await pull_plain(source, want), source.via)
            except (TransientError, InputError) as error:
                delivery = Delivery(want.origin, None, source.via, str(error))
        yield delivery


async def pull_plain(source: Source, want: Want) -> Submission:
    """Checkpoint, entry bundles, hash tiles and payloads, file by file.

    Raises:
        TransientError: no usable answer.
        InputError: what is there is no log, or too much at once.
    """
    source = _Metered(source)
    log, blob, note = await _find(source, want.origin)
    head, _ = parse_checkpoint(note)
    blobs = await _blobs(source, blob, want.blobs)
    if head.size <= want.start:
        return Submission(want.origin, note, (), {}, blobs)
    if head.size - want.start > want.most:
        raise _too_much(want, head.size)
    tiles: dict[str, bytes] = {}
    for bundle in bundles_of(head.size, want.start):
        tiles[bundle.path] = data = await _entries(source, log, bundle)
        first = bundle.index * 256
        entries = unpack_entries(data, bundle.width)[max(0, want.start - first) :]
        blobs |= await _blobs(source, blob, [w for w in _named(entries) if w[0] not in blobs])
    for tile in tiles_of(head.size, want.start) if want.start else ():
        # They show what a fork has changed; without them a fork would only look damaged.
        part = await source.get(log + tile.path, 32 * tile.width)
        if part is not None:
            tiles[tile.path] = part
    return Submission(want.origin, note, (), tiles, blobs)


async def _find(source: Source, origin: str) -> tuple[str, str, bytes]:
    """Where a log and its payloads lie at a source, and its checkpoint: as at a hub, at a mirror, or on a stick."""
    name = log_hash(origin)
    for log, blob in (
        ("log/", "blob/sha256/"),
        (f"mirror/{name}/", "blob/sha256/"),
        (f"logs/{name}/", "blobs/sha256/"),
    ):
        note = await source.get(f"{log}checkpoint", MAX_NOTE)
        try:
            if note is not None and parse_checkpoint(note)[0].origin == origin:
                return log, blob, note
        except InputError:
            raise InputError(
                f"{source.name} answers with something else than a checkpoint", hint="is the address right?"
            ) from None
    raise InputError(f"{source.name} does not have {origin}", hint="is the address right?")


class _Metered:
    """A source that has given enough once it has given `MAX_PULL` bytes."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._room = MAX_PULL
        self.name, self.via = source.name, source.via

    async def get(self, path: str, most: int) -> bytes | None:
        data = await self._source.get(path, min(most, self._room))
        self._room -= len(data or b"")
        return data


async def _entries(source: Source, prefix: str, bundle: Tile) -> bytes:
    data = await source.get(prefix + bundle.path, MAX_BUNDLE)
    if data is None and bundle.width < 256:
        # The log grew meanwhile, and a server may drop a partial bundle once the whole one is there.
        whole = await source.get(prefix + Tile(None, bundle.index, 256).path, MAX_BUNDLE)
        if whole is not None:
            return pack_entries(unpack_entries(whole, 256)[: bundle.width])
    if data is None:
        raise TransientError(f"{source.name} lacks {bundle.path}")
    return data


def _named(entries: Iterable[bytes]) -> list[tuple[str, int]]:
    found = filter(None, map(read_entry, entries))
    return [wanted for _, said in found for wanted in wanted_blobs(said)[:1]]


async def _blobs(source: Source, prefix: str, wanted: Iterable[tuple[str, int]]) -> dict[str, bytes]:
    blobs: dict[str, bytes] = {}
    for name, size in wanted:
        if size <= Caps().payload:
            data = await source.get(prefix + name, size)
            if data is not None:
                blobs[name] = data
    return blobs


async def _packs(source: HttpSource, wants: Sequence[Want]) -> dict[str, Delivery]:
    """Packs until the source has no more; nothing at all where it makes none."""
    logs: dict[str, _Log] = {log_hash(w.origin): _Log() for w in wants}
    blobs: dict[str, bytes] = {}
    open_wants = {w.origin: w for w in wants}
    absent: set[str] = set()
    room = MAX_PULL
    for _ in range(MAX_PACKS):
        end = None
        request, auth = source.pack_request(*_asked(list(open_wants.values()), source.signs))
        async with source.send(request, room, auth) as pieces:
            if pieces is None:
                break
            async for item in read_pack(pieces, ContainerCaps(total=room)):
                if isinstance(item, PackEnd):
                    end = item
                else:
                    _put(logs, blobs, *item)
        if end is None:
            break
        room -= end.size
        absent |= set(end.absent)
        more = {o: _further(open_wants[o], logs[log_hash(o)]) for o in end.more if o in open_wants}
        open_wants = {o: w for o, w in more.items() if w is not None}
        if not open_wants or room <= 0:
            break
    deliveries = {}
    for want in wants:
        log = logs[log_hash(want.origin)]
        if log.notes:
            newest = max(log.notes)
            if newest - want.start > want.most:
                error = str(_too_much(want, newest))
                deliveries[want.origin] = Delivery(want.origin, None, source.via, error)
                continue
            late = await _blobs(source, "blob/sha256/", want.blobs)
            earlier = [log.notes[size] for size in sorted(log.notes) if size != newest]
            parts = Submission(want.origin, log.notes[newest], earlier, log.tiles, {**blobs, **late} if late else blobs)
            deliveries[want.origin] = Delivery(want.origin, parts, source.via)
        elif want.origin in absent:
            error = f"{source.name} does not have {want.origin}"
            deliveries[want.origin] = Delivery(want.origin, None, source.via, error)
    return deliveries


def _asked(wants: Sequence[Want], signed: bool) -> tuple[bytes | None, dict[str, str]]:
    if not signed:
        return None, {"origin": wants[0].origin, "from": str(wants[0].start)}
    listed: list[Mapping[str, object]] = [
        {"origin": w.origin, "from": w.start, **({"grant": w.grant} if w.grant else {})} for w in wants
    ]
    return msgspec.json.encode({"logs": listed}), {}


def _put(logs: Mapping[str, _Log], blobs: dict[str, bytes], path: str, data: bytes) -> None:
    folder, _, rest = path.partition("/")
    if folder == "blobs":
        blobs[rest.rpartition("/")[2]] = data
        return
    name, _, file = rest.partition("/")
    log = logs.get(name)
    if folder != "logs" or log is None:
        return
    if file == "checkpoint" or file.startswith("checkpoints/"):
        try:
            log.notes[parse_checkpoint(data)[0].size] = data
        except InputError as error:
            raise TransientError(f"a pack with something else than a checkpoint: {error}") from None
    elif file.startswith("tile/"):
        log.tiles[file] = data


def _further(want: Want, log: _Log) -> Want | None:
    """The want for the rest; None where the pack brought nothing on."""
    newest = max(log.notes, default=want.start)
    return Want(want.origin, newest, want.grant, (), want.most) if newest > want.start else None


def _too_much(want: Want, size: int) -> InputError:
    return InputError(
        f"{want.origin} has {size - want.start} new entries in one head",
        expected=f"at most {want.most}",
        hint="ask the hub why; `dianhuan federation sync --origin … --everything` takes them",
    )
