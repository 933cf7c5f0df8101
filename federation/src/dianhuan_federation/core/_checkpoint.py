"""Checkpoints (C2SP tlog-checkpoint v1.0.0, without extension lines) and Ed25519 cosignatures (tlog-cosignature)."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from dianhuan_federation.core._merkle import EMPTY_ROOT, HASH_SIZE, MAX_SIZE
from dianhuan_federation.core._notes import COSIGNATURE, Note, NoteKey, NoteSignature, decode64, note_key, parse_note
from dianhuan_federation.core._suites import Signer
from dianhuan_sdk import InputError

_SIZE = re.compile("0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's tree head.

    Args:
        origin: identity of the log.
        size: number of leaves.
        root: root hash.
    """

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> bytes:
        """The note text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n".encode()


def parse_checkpoint(data: bytes) -> tuple[Checkpoint, Note]:
    """Parse a signed checkpoint; signatures are not verified.

    Raises:
        InputError: no note, not exactly three lines, a size that is no plain decimal below 2^63, a root that is no
            32 bytes, or an empty tree with another root than the empty one.
    """
    note = parse_note(data)
    lines = note.text.decode("utf-8")[:-1].split("\n")
    if len(lines) != 3 or not lines[0]:
        raise InputError(f"a checkpoint of {len(lines)} lines", expected="origin, size, root; no extension lines")
    origin, size, root = lines
    if not _SIZE.fullmatch(size) or int(size) > MAX_SIZE:
        raise InputError(f"tree size {size[:30]!r}", expected="a decimal below 2^63 without leading zeros")
    digest = decode64(root)
    if len(digest) != HASH_SIZE or (size == "0" and digest != EMPTY_ROOT):
        raise InputError(f"root hash {root[:60]!r}", expected="32 bytes in base64, the empty root for size 0")
    return Checkpoint(origin, int(size), digest), note


def cosign(text: bytes, name: str, signer: Signer, time: int) -> NoteSignature:
    """A witness's timestamped signature line over a checkpoint text (type 0x04).

    Args:
        text: the checkpoint's note text.
        name: the witness's name.
        signer: its key.
        time: POSIX seconds.
    """
    key = note_key(name, COSIGNATURE, signer.public)
    return NoteSignature(name, key.key_id, time.to_bytes(8, "big") + signer.sign(_cosigned(text, time)))


def cosigned_at(note: Note, key: NoteKey) -> int | None:
    """POSIX time of a witness's cosignature, or None if the note carries none of that key.

    Raises:
        InputError: a cosignature under the key's name and id does not verify.
    """
    times: list[int] = []
    for line in key.of(note):
        time = int.from_bytes(line.signature[:8], "big")
        if time > MAX_SIZE or not key.key.verify(line.signature[8:], _cosigned(note.text, time)):
            raise InputError(f"a cosignature under the name {key.name} is not that witness's")
        times.append(time)
    return max(times, default=None)


def _cosigned(text: bytes, time: int) -> bytes:
    return b"cosignature/v1\ntime %d\n%b" % (time, text)
