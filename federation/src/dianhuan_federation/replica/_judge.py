"""What the verifier says about one delivery, together with what is stored of its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from dianhuan_federation.core import (
    Code,
    EntryResult,
    ForkEvidence,
    Hub,
    Refused,
    Report,
    ResultBatch,
    State,
    Step,
    Submission,
    Verdict,
    Verifier,
    consistency_proof,
    frontier_from_nodes,
    nodes_from_tiles,
    parse_checkpoint,
    verify_fork,
)
from dianhuan_federation.core._batch_steps import v9_blob, v10_rows
from dianhuan_federation.replica._files import ReplicaLog
from dianhuan_federation.replica._statements import wanted_blobs, with_contents
from dianhuan_federation.replica._states import Stored
from dianhuan_sdk import InputError


@dataclass(frozen=True, slots=True)
class Contents:
    """Entries ready to be kept.

    Args:
        entries: the verifier's answers with their contents, rows of hidden batches too.
        blobs: payloads to keep: of entries that are accepted or hidden.
        kept: log index → names of its payloads among them.
    """

    entries: Sequence[EntryResult] = ()
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    kept: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


def judge(
    verifier: Verifier, submission: Submission, stored: Stored | None, log: ReplicaLog
) -> tuple[Report, Contents]:
    """Verify a delivery; never raises on what a stranger sent."""
    report = verifier.verify(submission, None if stored is None else stored.state)
    if report.verdict.state is State.OLD and stored is not None:
        evidence = _old_fork(verifier, submission, stored, log)
        if evidence is not None:
            verdict = Verdict(State.QUARANTINED, Step.V3, Code.FORK, "the log signed two histories")
            report = replace(report, verdict=verdict, evidence=evidence)
    return report, contents(verifier, report.entries, submission.blobs)


def contents(verifier: Verifier, entries: Sequence[EntryResult], blobs: Mapping[str, bytes]) -> Contents:
    """The entries with contents and rows, and the payloads that go with them."""
    full: list[EntryResult] = []
    keep: dict[str, bytes] = {}
    kept: dict[int, tuple[str, ...]] = {}
    for entry in map(with_contents, entries):
        if entry.verdict.state is State.SOFT_FAIL:
            entry = _hidden(verifier, entry, blobs)
        full.append(entry)
        if entry.verdict.state in (State.ACCEPTED, State.SOFT_FAIL):
            wanted = [(name, size) for name, size in wanted_blobs(entry) if name in blobs][:1]
            there = {
                name: blob
                for name, size in wanted
                if len(blob := blobs[name]) == size and sha256(blob).hexdigest() == name
            }
            keep |= there
            kept[entry.index] = tuple(there)
    return Contents(full, keep, kept)


def _hidden(verifier: Verifier, entry: EntryResult, blobs: Mapping[str, bytes]) -> EntryResult:
    """The rows of a batch that is stored and not shown, where they are at hand and whole."""
    batch = entry.predicate
    if not isinstance(batch, ResultBatch):
        return entry
    try:
        payload = v9_blob(batch, entry.subject, blobs, verifier.caps, verifier.schemas, verifier.decoders)
        return replace(entry, payload=payload, rows=v10_rows(batch, payload, verifier.schemas))
    except (Refused, KeyError):
        return entry


def _old_fork(verifier: Verifier, submission: Submission, stored: Stored, log: ReplicaLog) -> bytes | None:
    """Evidence, where a head smaller than ours is none of our tree's: the other side of a split view may be behind."""
    try:
        head, _ = parse_checkpoint(submission.checkpoint)
        files = log.files()
        size = stored.state.size
        nodes = nodes_from_tiles(size, lambda tile: files[tile.path])
        ours = frontier_from_nodes(nodes, head.size).root()
        if head.size == 0 or ours == head.root:
            return None
        proof = tuple(consistency_proof(nodes, head.size, size))
        evidence = ForkEvidence(submission.checkpoint, stored.state.checkpoint, ours, proof).encode()
        verify_fork(evidence, [key for key, _ in hub_of(verifier, submission.origin).log_keys(submission.origin)])
    except (InputError, KeyError):
        return None
    return evidence


def hub_of(verifier: Verifier, origin: str) -> Hub:
    """The trusted hub of an origin.

    Raises:
        InputError: no trusted hub has it.
    """
    hub = verifier.trust.hub(origin.split("/")[-2] if origin.count("/") >= 2 else "")
    if hub is None or origin not in hub.origins:
        raise InputError(f"{origin} is not trusted")
    return hub
