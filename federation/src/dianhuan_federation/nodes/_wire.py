"""Bodies of C2SP tlog-witness and tlog-mirror, as client and server both need them."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from dianhuan_federation.core import Nodes, NoteSignature, format_note, node_hash, parse_note, range_root
from dianhuan_sdk import InputError

MAX_PROOF = 63
MAX_SIZE = 2**63 - 1
SIZE_TYPE = "text/x.tlog.size"
INFO_TYPE = "text/x.tlog.mirror-info"
PACKAGE = 256
"""Entries of one package, aligned like entry bundles."""

_OLD = re.compile(rb"old (0|[1-9][0-9]{0,18})")
_HASH = re.compile(rb"[A-Za-z0-9+/]{43}=")


def origin_hash(origin: str) -> str:
    """By which paths name a log: SHA-256 of its origin, in hex."""
    return sha256(origin.encode()).hexdigest()


def format_add_checkpoint(old: int, proof: Sequence[bytes], note: bytes) -> bytes:
    """Body of `add-checkpoint`."""
    lines = [b"old %d\n" % old, *(base64.b64encode(node) + b"\n" for node in proof), b"\n"]
    return b"".join(lines) + note


def parse_add_checkpoint(body: bytes) -> tuple[int, list[bytes], bytes]:
    """Old size, consistency proof and checkpoint note of an `add-checkpoint` body.

    Raises:
        InputError: another form, or more than 63 hashes.
    """
    head, separator, note = body.partition(b"\n\n")
    lines = head.split(b"\n")
    old = _OLD.fullmatch(lines[0])
    if not separator or old is None or int(old[1]) > MAX_SIZE:
        raise InputError("not an add-checkpoint request", expected="old <size>, proof lines, an empty line, a note")
    if len(lines) - 1 > MAX_PROOF:
        raise InputError(f"a proof of {len(lines) - 1} lines", expected=f"at most {MAX_PROOF}")
    if not all(_HASH.fullmatch(line) for line in lines[1:]):
        raise InputError("a proof line that is no hash", expected="32 bytes in base64")
    return int(old[1]), [base64.b64decode(line) for line in lines[1:]], note


def format_signatures(signatures: Iterable[NoteSignature]) -> bytes:
    """Signature lines alone, as an answer carries them."""
    return format_note(b"", signatures)[1:]


def parse_signatures(body: bytes) -> list[NoteSignature]:
    """Signature lines of an answer; none verified.

    Raises:
        InputError: anything but signature lines.
    """
    return list(parse_note(b"answer\n\n" + body).signatures)


@dataclass(frozen=True, slots=True)
class EntriesHead:
    """What an `add-entries` body begins with: log, range and ticket."""

    origin: str
    start: int
    end: int
    ticket: bytes = b""

    def encode(self) -> bytes:
        """The bytes."""
        name = self.origin.encode()
        return b"".join(
            [
                len(name).to_bytes(2, "big") + name,
                self.start.to_bytes(8, "big"),
                self.end.to_bytes(8, "big"),
                len(self.ticket).to_bytes(2, "big") + self.ticket,
            ]
        )


def packages(start: int, end: int) -> list[tuple[int, int, int]]:
    """The canonical sequence for [start, end): (first of the subtree, first sent, end) of each package."""
    first = start - start % PACKAGE
    return [
        (low, max(start, low), min(end, low + PACKAGE)) for low in range(first, end if end > start else first, PACKAGE)
    ]


def subtree_proof(nodes: Nodes, start: int, end: int, size: int) -> list[bytes]:
    """Proof that the subtree [start, end) is of the tree of `size` leaves.

    Merkle Tree Certificates draft, section 4.4.1; for `start` 0 it is the consistency proof of RFC 6962.
    """

    def parts(low: int, high: int, first: int, whole: bool) -> list[bytes]:
        if (first, end) == (low, high):
            return [] if whole else [range_root(nodes, low, high)]
        middle = _middle(low, high)
        if end <= middle:
            return [*parts(low, middle, first, whole), range_root(nodes, middle, high)]
        if middle <= first:
            return [*parts(middle, high, first, whole), range_root(nodes, low, middle)]
        return [*parts(middle, high, middle, False), range_root(nodes, low, middle)]

    return parts(0, size, start, True)


def is_subtree(start: int, end: int, root: bytes, size: int, tree: bytes, proof: Sequence[bytes]) -> bool:
    """Is the subtree [start, end) with that root part of the tree? (section 4.4.3)."""
    if not 0 <= start < end <= size or start % (1 << (end - start - 1).bit_length()):
        return False
    path = list(proof)

    def rebuilt(low: int, high: int, first: int, known: bytes | None) -> tuple[bytes, bytes]:
        if (first, end) == (low, high):
            node = path.pop() if known is None else known
            return node, node
        side = path.pop()
        middle = _middle(low, high)
        if end <= middle:
            inner, whole = rebuilt(low, middle, first, known)
            return inner, node_hash(whole, side)
        if middle <= first:
            inner, whole = rebuilt(middle, high, first, known)
            return inner, node_hash(side, whole)
        inner, whole = rebuilt(middle, high, middle, None)
        return node_hash(side, inner), node_hash(side, whole)

    try:
        found = rebuilt(0, size, start, root)
    except IndexError:
        return False
    return not path and found == (root, tree)


def _middle(low: int, high: int) -> int:
    return low + (1 << ((high - low - 1).bit_length() - 1))
