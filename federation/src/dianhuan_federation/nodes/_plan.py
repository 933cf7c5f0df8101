"""What goes into a pack: planned whole before the first byte is sent, so that access is recorded before it happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from dianhuan_federation.core import Tile, bundles_of, parse, tiles_of
from dianhuan_federation.nodes._body import Limits
from dianhuan_federation.nodes._copies import LogCopy
from dianhuan_federation.nodes._errors import NodeError
from dianhuan_federation.nodes._shelf import Shelf
from dianhuan_federation.nodes._wire import MAX_SIZE, origin_hash
from dianhuan_sdk import InputError


@dataclass(frozen=True, slots=True)
class Want:
    """One log of a pack: entries [start, end), payloads under a grant where one is needed."""

    origin: str
    start: int
    end: int = MAX_SIZE
    grant: str = ""


def read_wants(body: bytes, most: int) -> list[Want]:
    """The logs that a POST asks for: `{"logs":[{"origin":…,"from":0,"to":9,"grant":"…"}]}`, the last two optional.

    Raises:
        InputError: another form.
        NodeError: 413: more than `most` logs.
    """
    document = parse(body)
    try:
        listed = document["logs"]
        wants = [Want(str(w["origin"]), w["from"], w.get("to", MAX_SIZE), str(w.get("grant", ""))) for w in listed]
        if set(document) != {"logs"} or any(set(w) - {"origin", "from", "to", "grant"} for w in listed):
            raise InputError("a pack request with unknown fields")
    except (KeyError, TypeError, AttributeError):
        raise InputError("not a pack request", expected='{"logs":[{"origin":…,"from":…}]}') from None
    if not 0 < len(wants) <= most:
        raise NodeError(413, "too-many", f"{len(wants)} logs in one request", expected=f"1 to {most}")
    if len({want.origin for want in wants}) != len(wants):
        raise InputError("a log stands twice in one request")
    for want in wants:
        check_range(want)
    return wants


def check_range(want: Want) -> None:
    """`InputError` where the range is none."""
    numbers = (want.start, want.end)
    if not all(type(n) is int for n in numbers) or not 0 <= want.start <= want.end <= MAX_SIZE:
        raise InputError(f"a range from {want.start} to {want.end}", expected="0 <= from <= to")


@dataclass(slots=True)
class _Part:
    """What is taken of one log."""

    copy: LogCopy
    start: int
    heads: list[int]
    note: bytes
    size: int


@dataclass(slots=True)
class PackPlan:
    """A pack before it is written.

    Args:
        shelf: logs and payloads.
        limits: on one pack.
        hub: who asks; empty for a stranger.
        now: POSIX seconds.
        take: uses one read of a grant; False where none is left.
    """

    shelf: Shelf
    limits: Limits
    hub: str
    now: int
    take: Callable[[str, str], bool]
    parts: list[_Part] = field(default_factory=list)
    blobs: dict[str, int] = field(default_factory=dict)
    grants: set[str] = field(default_factory=set)
    more: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    _bytes: int = 0
    _tiles: int = 0
    _taken: dict[tuple[str, str], bool] = field(default_factory=dict)

    def add(self, want: Want) -> None:
        """Plan one log: as many heads of it as fit, at least one where nothing was planned yet."""
        copy = self.shelf.log(want.origin)
        head = None if copy is None else copy.head()
        if copy is None or head is None:
            self.absent.append(want.origin)
            return
        size, published = head[0].size, head[1]
        if size <= want.start:
            self.parts.append(_Part(copy, size, [], published, size))
            return
        heads = [n for n in {*copy.sizes(), size} if want.start < n <= min(want.end, size)]
        taken: list[int] = []
        for end in sorted(heads):
            begin = taken[-1] if taken else want.start
            blobs = self._blobs(want, begin, end)
            tiles = sum(1 for _ in tiles_of(end, begin)) + sum(1 for _ in bundles_of(end, begin))
            cost = sum(blobs.values())
            full = self._bytes + cost > self.limits.pack or self._tiles + tiles > self.limits.tiles
            if full and (self.parts or taken):
                break
            taken.append(end)
            self.blobs |= blobs
            self._bytes += cost
            self._tiles += tiles
        if not taken or taken[-1] < size:
            self.more.append(want.origin)
        if taken:
            note = published if taken[-1] == size else copy.note(taken[-1])
            self.parts.append(_Part(copy, want.start, taken[:-1], note, taken[-1]))

    def files(self) -> Iterator[tuple[str, bytes]]:
        """The files of the pack, each read when it is its turn."""
        for part in self.parts:
            prefix = f"logs/{origin_hash(part.copy.origin)}/"
            yield f"{prefix}origin", f"{part.copy.origin}\n".encode()
            yield f"{prefix}checkpoint", part.note
            if part.start < part.size:
                for size in part.heads:
                    yield f"{prefix}checkpoints/{size}", part.copy.note(size)
                tiles: list[Tile] = [*tiles_of(part.size, part.start), *bundles_of(part.size, part.start)]
                for tile in tiles:
                    yield prefix + tile.path, part.copy.read(tile)
        for digest in self.blobs:
            yield f"blobs/sha256/{digest}", self.shelf.blob_path(digest).read_bytes()

    def _blobs(self, want: Want, start: int, end: int) -> dict[str, int]:
        found: dict[str, int] = {}
        for digest in self.shelf.payloads(want.origin, start, end):
            path = self.shelf.blob_path(digest)
            if digest in self.blobs or not path.is_file():
                continue
            allowed = self.shelf.may_have(digest, self.hub, want.grant, self.now, want.origin)
            if allowed is not None and self._granted(allowed.origin, allowed.grant):
                found[digest] = path.stat().st_size
        return found

    def _granted(self, origin: str, grant: str) -> bool:
        if not grant:
            return True
        if (origin, grant) not in self._taken:
            self._taken[origin, grant] = self.take(origin, grant)
            if self._taken[origin, grant]:
                self.grants.add(grant)
        return self._taken[origin, grant]


def plan(
    shelf: Shelf, limits: Limits, hub: str, now: int, take: Callable[[str, str], bool], wants: Sequence[Want]
) -> PackPlan:
    """Plan a pack of these logs."""
    planned = PackPlan(shelf, limits, hub, now, take)
    for want in wants:
        planned.add(want)
    return planned
