"""Self-contained proofs of C2SP tlog-proof v1: index, audit path and checkpoint in one text."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from dianhuan_federation.core._merkle import HASH_SIZE
from dianhuan_federation.core._notes import MAX_NOTE, decode64
from dianhuan_sdk import InputError

_HEADER = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class LogProof:
    """That an entry is in a log.

    Args:
        index: index of the entry.
        path: audit path from the leaf's sibling upwards.
        checkpoint: the signed checkpoint, verbatim.
        extra: bytes that nothing authenticates.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    @property
    def text(self) -> bytes:
        """The proof file."""
        lines = [_HEADER]
        if self.extra is not None:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        lines.extend(base64.b64encode(node).decode() for node in self.path)
        return "\n".join([*lines, "", ""]).encode() + self.checkpoint


def parse_proof(data: bytes) -> LogProof:
    """Read a proof file.

    Raises:
        InputError: not a tlog-proof v1.
    """
    if len(data) > 2 * MAX_NOTE:
        raise InputError(f"a proof of {len(data)} bytes", expected=f"at most {2 * MAX_NOTE}")
    head, separator, checkpoint = data.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise InputError("a proof that is not ASCII before its checkpoint") from None
    if not separator or lines.pop(0) != _HEADER:
        raise InputError("not a tlog-proof", expected=_HEADER)
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = decode64(lines.pop(0)[6:])
    index = re.fullmatch("index (0|[1-9][0-9]{0,18})", lines.pop(0)) if lines else None
    path = tuple(decode64(line) for line in lines)
    if index is None or len(path) > 63 or any(len(node) != HASH_SIZE for node in path):
        raise InputError("a proof without index, or with a path that is no list of at most 63 hashes")
    return LogProof(int(index[1]), path, checkpoint, extra)
