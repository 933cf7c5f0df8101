"""What the verifier says: step, state and reason code. The codes are a public contract, also of other verifiers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dianhuan_sdk import InputError


class Step(StrEnum):
    """The steps of verification, in order; the first failure wins."""

    V0 = "V0"
    V1 = "V1"
    V2 = "V2"
    V3 = "V3"
    V4 = "V4"
    V5 = "V5"
    V6 = "V6"
    V7 = "V7"
    V8 = "V8"
    V9 = "V9"
    V10 = "V10"


class Code(StrEnum):
    """Reason codes of a failed step."""

    CAP = "E-CAP"
    TRUST = "E-TRUST"
    STALE = "E-STALE"
    CP = "E-CP"
    FORK = "E-FORK"
    QUORUM = "E-QUORUM"
    TREE = "E-TREE"
    SIG = "E-SIG"
    REVOKED = "E-REVOKED"
    UNKNOWN = "E-UNKNOWN"
    SEQ = "E-SEQ"
    POLICY = "E-POLICY"
    MISSING = "E-MISSING"
    DIGEST = "E-DIGEST"
    BOMB = "E-BOMB"
    ROWS = "E-ROWS"


class State(StrEnum):
    """What becomes of the thing judged."""

    ACCEPTED = "accepted"
    """Proven; may be shown."""
    OLD = "old"
    """Nothing new: an earlier checkpoint than the one already verified."""
    PENDING = "pending"
    """Not proven yet; the same bytes may pass later."""
    SOFT_FAIL = "soft-fail"
    """Proven to be in the log, but stored without being shown."""
    STORE_ONLY = "store-only"
    """Of a kind or version not known here: stored, never interpreted."""
    QUARANTINED = "quarantined"
    """The log broke its promise; nothing more is taken from it until a person decides."""
    REJECTED = "rejected"
    """Refused; nothing is stored."""


class Refused(InputError):
    """A step of the verification failed.

    Args:
        step: the step that failed.
        code: stable reason code.
        message: what was found, in one sentence.
        state: what becomes of the input.
        evidence: for a fork, the canonical evidence file that a third party can verify.
    """

    def __init__(
        self,
        step: Step,
        code: Code,
        message: str,
        *,
        state: State = State.REJECTED,
        expected: str = "",
        evidence: bytes | None = None,
    ) -> None:
        super().__init__(message, expected=expected)
        self.step = step
        self.code = code
        self.state = state
        self.evidence = evidence


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer about one checkpoint, entry or batch."""

    state: State
    step: Step | None = None
    code: Code | None = None
    detail: str = ""

    @classmethod
    def of(cls, refused: Refused) -> Verdict:
        """The verdict that a failed step gives."""
        return cls(refused.state, refused.step, refused.code, str(refused))


ACCEPTED = Verdict(State.ACCEPTED)
