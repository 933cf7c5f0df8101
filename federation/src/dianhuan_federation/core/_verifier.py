"""The whole verification of what arrived from one log: V1 to V10, in order, the first failure wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dianhuan_federation.core import _log_steps, _trust
from dianhuan_federation.core._batch_steps import Caps, Decoders
from dianhuan_federation.core._entries import EntryJudge, EntryResult
from dianhuan_federation.core._log_steps import SignedHead, Witnessed
from dianhuan_federation.core._policy import Policy
from dianhuan_federation.core._schema import Schemas
from dianhuan_federation.core._standard import STANDARD_SCHEMAS
from dianhuan_federation.core._state import LogState, latest_times
from dianhuan_federation.core._trust import Trust
from dianhuan_federation.core._verdicts import ACCEPTED, Refused, State, Verdict

MAX_EARLIER = 10_000


@dataclass(frozen=True, slots=True)
class Submission:
    """What arrived from one log; nothing of it is trusted.

    Args:
        origin: the log it claims to be of.
        checkpoint: the newest checkpoint note.
        earlier: older notes, which show when old entries were witnessed.
        tiles: path below the log's prefix → bytes: entry bundles and hash tiles.
        blobs: SHA-256 in hex → payload bytes.
    """

    origin: str
    checkpoint: bytes
    earlier: Sequence[bytes] = ()
    tiles: Mapping[str, bytes] = field(default_factory=dict)
    blobs: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """The answer about one submission.

    Args:
        verdict: about the checkpoint and the entries as a whole.
        entries: one answer per new entry; empty unless the whole is accepted.
        state: what to remember; unchanged unless the whole is accepted.
        evidence: of a fork.
        witnesses: names of the witnesses whose cosignatures count.
        heads: the heads that a quorum saw, the newest first; whoever keeps them can replay the log later.
    """

    verdict: Verdict
    state: LogState
    entries: tuple[EntryResult, ...] = ()
    evidence: bytes | None = None
    witnesses: tuple[str, ...] = ()
    heads: tuple[Witnessed, ...] = ()


@dataclass(frozen=True, slots=True)
class Verifier:
    """A verifier with its trust, its policy and the present time.

    Args:
        trust: the hubs that are trusted (V1).
        policy: whose cosignatures are needed.
        now: POSIX seconds, handed in.
        reader: hub id of the one who verifies; empty for an auditor.
        schemas: known row schemas.
        caps: limits on payloads.
        decoders: of payloads in encodings that are opened in another process; none by default.
    """

    trust: Trust
    policy: Policy
    now: int
    reader: str = ""
    schemas: Schemas = field(default_factory=lambda: STANDARD_SCHEMAS)
    caps: Caps = field(default_factory=Caps)
    decoders: Decoders = field(default_factory=dict)

    def verify(self, submission: Submission, state: LogState | None = None) -> Report:
        """Verify a submission against what is known of its log.

        Never raises on what a stranger sent; the same submission twice gives nothing new.
        """
        known = state or LogState(submission.origin)
        try:
            return self._verify(submission, known)
        except Refused as refused:
            return Report(Verdict.of(refused), known, evidence=refused.evidence)

    def _verify(self, submission: Submission, state: LogState) -> Report:
        hub = _trust.trusted_hub(self.trust, submission.origin)
        signed = _log_steps.v2_checkpoint(submission.checkpoint, submission.origin, hub)
        if not self._speaks(signed):
            _log_steps.v4_quorum(signed, self.policy, hub, state, self.now)
        _log_steps.v3_history(signed, state, submission.tiles)
        if signed.head.size < state.size:
            return Report(Verdict(State.OLD, detail=f"size {signed.head.size} of {state.size} verified"), state)
        newest = _log_steps.v4_quorum(signed, self.policy, hub, state, self.now)
        earlier: list[SignedHead] = []
        heads: list[Witnessed] = [newest]
        for data in submission.earlier[:MAX_EARLIER]:
            # An older note only adds knowledge: one that is not signed or witnessed is as good as absent.
            try:
                older = _log_steps.v2_checkpoint(data, submission.origin, hub)
                if state.size < older.head.size <= signed.head.size:
                    speaks = self._speaks(older)
                    earlier.extend([older] * speaks)
                    heads.append(_log_steps.v4_quorum(older, self.policy, hub, state, self.now))
                    earlier.extend([older] * (not speaks))
            except Refused:
                continue
        entries, frontier = _log_steps.v5_entries(signed, earlier, state, submission.tiles)
        grown = replace(
            state,
            frontier=frontier,
            checkpoint=newest.data,
            witnessed=latest_times(state.witnessed, newest.times.items()),
        )
        judge = EntryJudge(
            hub, self.trust, self.schemas, self.caps, self.reader, heads, submission.blobs, self.decoders
        )
        results, grown = judge.judge(entries, state.size, grown)
        return Report(ACCEPTED, grown, tuple(results), witnesses=tuple(sorted(newest.times)), heads=tuple(heads))

    def _speaks(self, signed: SignedHead) -> bool:
        """May the head testify against its log by its signature alone?

        Not where its key is revoked or over by now: the thief of such a key must not get the hub quarantined. Such a
        head speaks only where a quorum saw it while the key was good.
        """
        return any(key.counts_at(self.now) for key in signed.keys)

    def resume(self, pending: EntryResult, blobs: Mapping[str, bytes], state: LogState) -> EntryResult:
        """Judge a batch again that was proven before and whose payload came later.

        Args:
            pending: the earlier answer.
            blobs: SHA-256 in hex → payload bytes.
            state: the log's state now, which knows what was withdrawn meanwhile.
        """
        hub = _trust.trusted_hub(self.trust, state.origin)
        judge = EntryJudge(hub, self.trust, self.schemas, self.caps, self.reader, (), blobs, self.decoders)
        return judge.resume(pending, state)
