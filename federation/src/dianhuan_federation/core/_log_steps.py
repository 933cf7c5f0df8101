"""V2 to V5: the checkpoint, its history, its witnesses, and the entries under it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dianhuan_federation.core._checkpoint import Checkpoint, cosigned_at, parse_checkpoint
from dianhuan_federation.core._evidence import ForkEvidence
from dianhuan_federation.core._hubs import Hub, HubKey
from dianhuan_federation.core._merkle import Frontier, consistency_proof, is_consistent, leaf_hash
from dianhuan_federation.core._notes import Note
from dianhuan_federation.core._policy import Policy
from dianhuan_federation.core._state import LogState
from dianhuan_federation.core._tiles import Tile, bundles_of, frontier_from_nodes, nodes_from_tiles, unpack_entries
from dianhuan_federation.core._verdicts import Code, Refused, State, Step
from dianhuan_sdk import InputError

SKEW = 600
"""Seconds by which a witness's clock may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A checkpoint with the log keys that signed it, not witnessed yet."""

    head: Checkpoint
    note: Note
    data: bytes
    keys: tuple[HubKey, ...]


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A tree head that a quorum saw: the median of its times, and the time of each witness by its name."""

    head: Checkpoint
    data: bytes
    time: int
    times: Mapping[str, int]


def v2_checkpoint(data: bytes, origin: str, hub: Hub) -> SignedHead:
    """V2: strict form, the expected origin, and a signature of one of the hub's log keys.

    Raises:
        Refused: `E-CP`.
    """
    try:
        head, note = parse_checkpoint(data)
        if head.origin != origin:
            raise InputError(f"a checkpoint of {head.origin[:120]}", expected=origin)
        keys = tuple(key for log_key, key in hub.log_keys(origin) if note.signed_by(log_key))
        if not keys:
            raise InputError("no signature of a log key of this hub", expected=f"one under the name {origin}")
    except InputError as error:
        raise Refused(Step.V2, Code.CP, str(error)) from None
    return SignedHead(head, note, data, keys)


def v3_history(signed: SignedHead, state: LogState, tiles: Mapping[str, bytes]) -> None:
    """V3: no contradiction between this checkpoint and the one verified before.

    A delivery whose tiles do not belong to the checkpoint at all proves nothing against the log: it fails in V5, so
    that a courier who damages a stick cannot have an honest log quarantined.

    Raises:
        Refused: `E-FORK` with evidence for third parties.
    """
    head = signed.head
    if state.size == 0 or head.size < state.size:
        return
    if head.size == state.size:
        if head.root != state.frontier.root():
            raise _fork(ForkEvidence(state.checkpoint, signed.data))
        return
    _no_other_past(state.size, state.frontier.root(), state.checkpoint, signed, tiles)


def _no_other_past(size: int, root: bytes, older: bytes, signed: SignedHead, tiles: Mapping[str, bytes]) -> None:
    head = signed.head
    try:
        nodes = nodes_from_tiles(head.size, lambda tile: _tile(tiles, tile))
        other = frontier_from_nodes(nodes, size).root()
        proof = consistency_proof(nodes, size, head.size)
    except InputError:
        return
    if other != root and is_consistent(size, other, head.size, head.root, proof):
        raise _fork(ForkEvidence(older, signed.data, other, tuple(proof)))


def _fork(evidence: ForkEvidence) -> Refused:
    return Refused(
        Step.V3,
        Code.FORK,
        "the log signed two histories",
        state=State.QUARANTINED,
        expected="one append-only history",
        evidence=evidence.encode(),
    )


def v4_quorum(signed: SignedHead, policy: Policy, hub: Hub, state: LogState, now: int) -> Witnessed:
    """V4: enough witnesses saw it, at plausible times, while the log key was good.

    A cosignature does not count if it lies before the log's inception, more than `SKEW` seconds ahead of `now`, or, on
    a larger tree, before the same witness's last one. The head's time is the median (the upper one of two). Under a
    policy with `quorum none` and no cosignature it is `now`.

    Raises:
        Refused: `E-QUORUM`, pending; `E-CP` of V2, where the log key was not valid at that time.
    """
    head = signed.head
    earliest = hub.origins[head.origin]
    times: dict[str, int] = {}
    for name, key in policy.witnesses.items():
        try:
            time = cosigned_at(signed.note, key)
        except InputError as error:
            raise Refused(Step.V4, Code.QUORUM, str(error), state=State.PENDING) from None
        last = state.witnessed.get(name, 0) if head.size > state.size else 0
        if time is not None and max(earliest, last) <= time <= now + SKEW:
            times[name] = time
    if not policy.satisfied_by(times):
        raise Refused(
            Step.V4,
            Code.QUORUM,
            f"cosigned by {', '.join(sorted(times)) or 'nobody'}",
            state=State.PENDING,
            expected=f"the quorum {policy.quorum}",
        )
    median = sorted(times.values())[len(times) // 2] if times else now
    if not any(key.counts_at(median) for key in signed.keys):
        raise Refused(Step.V2, Code.CP, f"the log key was not valid when witnessed at {median}")
    return Witnessed(head, signed.data, median, times)


def v5_entries(
    signed: SignedHead, earlier: Sequence[SignedHead], state: LogState, tiles: Mapping[str, bytes]
) -> tuple[list[bytes], Frontier]:
    """V5: the entry bundles rebuild exactly this root from the verified tree, passing each earlier head on the way.

    Args:
        signed: the newest head.
        earlier: heads of the same log between the verified tree and the newest.
        state: what is verified.
        tiles: path → bytes.

    Returns:
        The new entries and the new right edge.

    Raises:
        Refused: `E-TREE`; `E-FORK` where an earlier signed head is not on the way.
    """
    head, start = signed.head, state.size
    entries: list[bytes] = []
    try:
        for bundle in bundles_of(head.size, start) if head.size > start else ():
            found = unpack_entries(_tile(tiles, bundle), bundle.width)
            entries.extend(found[max(0, start - bundle.index * 256) :])
    except InputError as error:
        raise Refused(Step.V5, Code.TREE, str(error)) from None
    leaves = [leaf_hash(entry) for entry in entries]
    frontier, place = state.frontier, start
    wrong: SignedHead | None = None
    for stop in sorted({e.head.size for e in earlier if start < e.head.size < head.size} | {head.size}):
        frontier = frontier.extended(leaves[place - start : stop - start])
        place = stop
        root = frontier.root()
        wrong = wrong or next((e for e in earlier if e.head.size == stop and e.head.root != root), None)
    if frontier.root() != head.root:
        raise Refused(
            Step.V5, Code.TREE, "the entries do not give the root of the checkpoint", expected="every entry, unchanged"
        )
    if wrong is not None:
        rebuilt = state.frontier.extended(leaves[: wrong.head.size - start]).root()
        proof = consistency_proof(state.frontier.nodes_with(leaves), wrong.head.size, head.size)
        raise _fork(ForkEvidence(wrong.data, signed.data, rebuilt, tuple(proof)))
    return entries, frontier


def _tile(tiles: Mapping[str, bytes], tile: Tile) -> bytes:
    if tile.path not in tiles:
        raise InputError(f"{tile.path} is missing")
    return tiles[tile.path]
