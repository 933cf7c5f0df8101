"""What a verifier remembers of one log: the right edge of its tree, its streams, policies and grants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from dianhuan_federation.core._merkle import Frontier
from dianhuan_federation.core._statements import Grant, ResultBatch, Retraction, SharePolicy
from dianhuan_sdk import InputError


@dataclass(frozen=True, slots=True)
class PolicyBook:
    """The share policies and grants of one log, by the digest of their statements.

    Args:
        policies: digest → policy.
        latest: policy id → (version, digest) of its newest statement.
        grants: digest → grant with both signatures.
        retracted: digests of statements that were withdrawn.
    """

    policies: Mapping[str, SharePolicy] = field(default_factory=dict)
    latest: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    grants: Mapping[str, Grant] = field(default_factory=dict)
    retracted: frozenset[str] = frozenset()

    def with_policy(self, digest: str, policy: SharePolicy) -> PolicyBook:
        """The book with one more policy; `InputError` where its version is not above the last of its id."""
        known = self.latest.get(policy.id)
        if known is not None and policy.version <= known[0]:
            raise InputError(
                f"policy {policy.id} version {policy.version} after version {known[0]}", expected="a higher version"
            )
        return replace(
            self,
            policies={**self.policies, digest: policy},
            latest={**self.latest, policy.id: (policy.version, digest)},
        )

    def with_grant(self, digest: str, grant: Grant) -> PolicyBook:
        """The book with one more grant."""
        return replace(self, grants={**self.grants, digest: grant})

    def about(self, batch: ResultBatch, reader: str) -> PolicyBook:
        """What of the book V8 asks about one batch, so that a long log does not keep a whole book for each entry."""
        digest = batch.policy.digest
        policy = self.policies.get(digest)
        if policy is None:
            return PolicyBook()
        mine = {d: g for d, g in self.grants.items() if g.policy.digest == digest and reader in ("", g.assignee)}
        return PolicyBook({digest: policy}, {policy.id: self.latest[policy.id]}, mine)

    def with_retraction(self, retraction: Retraction) -> PolicyBook:
        """The book after a retraction."""
        return replace(self, retracted=self.retracted | {target.digest for target in retraction.targets})


@dataclass(frozen=True, slots=True)
class LogState:
    """What is known of one log after a verification; the subscriber stores it together with the rows.

    Args:
        origin: the log.
        frontier: right edge of the verified tree.
        checkpoint: the note under which it was verified.
        witnessed: witness name → POSIX time of its newest cosignature.
        streams: stream → (last sequence number, digest of that statement).
        digests: log index → statement digest.
        book: policies and grants.
    """

    origin: str
    frontier: Frontier = field(default_factory=Frontier)
    checkpoint: bytes = b""
    witnessed: Mapping[str, int] = field(default_factory=dict)
    streams: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    digests: Mapping[int, str] = field(default_factory=dict)
    book: PolicyBook = field(default_factory=PolicyBook)

    @property
    def size(self) -> int:
        """Number of verified entries."""
        return self.frontier.size

    def encode(self) -> bytes:
        """The state as JSON, to be stored beside the rows."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> LogState:
        """A state that `encode` gave.

        Raises:
            InputError: the bytes are no state; one that was damaged must not pass for an empty one.
        """
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(f"a stored log state that cannot be read: {error}") from None


def latest_times(before: Mapping[str, int], now: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Witness times, each the later of the two."""
    times = dict(before)
    for name, time in now:
        times[name] = max(time, times.get(name, time))
    return times
