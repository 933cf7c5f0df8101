"""Evidence of a fork: two tree heads that one log key signed and that cannot both be of one append-only log.

The same size with two roots speaks for itself. For two sizes the evidence carries a consistency proof from *another*
old root: it shows what the larger tree has where the smaller head says something else, and nobody has to be believed.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from dianhuan_federation.core._checkpoint import parse_checkpoint
from dianhuan_federation.core._json import canonical, parse
from dianhuan_federation.core._merkle import is_consistent
from dianhuan_federation.core._notes import NoteKey, decode64
from dianhuan_sdk import InputError

KIND = "urn:dianhuan:federation:fork-evidence:v1"


@dataclass(frozen=True, slots=True)
class ForkEvidence:
    """Two signed notes of one log.

    Args:
        older: the note of the smaller or equal tree.
        newer: the note of the larger tree.
        other_root: root that the newer tree has at the older one's size; none where the sizes are equal.
        proof: consistency proof from `other_root` to the newer root.
    """

    older: bytes
    newer: bytes
    other_root: bytes | None = None
    proof: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """The evidence file: canonical JSON."""
        return canonical(
            {
                "kind": KIND,
                "older": _b64(self.older),
                "newer": _b64(self.newer),
                "other_root": None if self.other_root is None else _b64(self.other_root),
                "proof": [_b64(node) for node in self.proof],
            }
        )


def verify_fork(data: bytes, keys: Sequence[NoteKey]) -> str:
    """Check an evidence file against the log's keys; nothing else is needed.

    Returns:
        The origin that is proven to have forked.

    Raises:
        InputError: the file proves nothing.
    """
    document = parse(data)
    try:
        if document["kind"] != KIND:
            raise InputError("not a fork evidence file", expected=KIND)
        older, newer = decode64(document["older"]), decode64(document["newer"])
        other = None if document["other_root"] is None else decode64(document["other_root"])
        proof = [decode64(node) for node in document["proof"]]
    except (KeyError, TypeError):
        raise InputError("not a fork evidence file", expected=KIND) from None
    first, first_note = parse_checkpoint(older)
    second, second_note = parse_checkpoint(newer)
    if first.origin != second.origin:
        raise InputError("the two notes are of two logs")
    for note in (first_note, second_note):
        if not any(key.name == first.origin and note.signed_by(key) for key in keys):
            raise InputError("a note is not signed by the log's key")
    if first.size == second.size:
        if first.root != second.root:
            return first.origin
    elif (
        other is not None and other != first.root and is_consistent(first.size, other, second.size, second.root, proof)
    ):
        return first.origin
    raise InputError("the two notes do not contradict each other")


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
