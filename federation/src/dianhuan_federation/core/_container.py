"""V0: the container. A bundle is a plain ustar archive of few, well-named, regular files; everything else is refused.

The reader below knows nothing of extended headers, links, devices or sparse files: what it does not know it refuses, so
there is no second opinion about where a file begins or what it is called.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from dianhuan_federation.core._verdicts import Code, Refused, Step

BLOCK = 512
_NUL_OR_SPACE = b"\0 "
_REGULAR, _FOLDER = b"0", b"5"

PATHS = re.compile(
    r"bundle\.json"
    r"|trust/(?:[0-9]{1,9}\.)?[a-z][a-z0-9-]{0,39}\.json"
    r"|trust/targets/hubs/[0-9]{2}/[0-9a-f]{64}\.[0-9]{6}\.json"
    r"|logs/[0-9a-f]{64}/(?:origin|checkpoint|checkpoints/(?:0|[1-9][0-9]{0,18}))"
    r"|logs/[0-9a-f]{64}/tile/(?:entries|0|[1-9][0-9]?)/(?:x[0-9]{3}/){0,6}[0-9]{3}(?:\.p/[1-9][0-9]{0,2})?"
    r"|blobs/sha256/[0-9a-f]{64}"
)
"""Every path that a bundle may hold. It has no upper case, so case and Unicode collisions cannot be spelled."""


@dataclass(frozen=True, slots=True)
class ContainerCaps:
    """Limits on a container.

    Args:
        members: most files.
        member: most bytes of one file.
        total: most bytes of all files.
    """

    members: int = 200_000
    member: int = 256 * 1024 * 1024
    total: int = 4 * 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the container and its size in bytes."""

    path: str
    size: int


@dataclass(slots=True)
class Inventory:
    """Counts and names the files of one container as its headers are read.

    Args:
        caps: limits.
    """

    caps: ContainerCaps = field(default_factory=ContainerCaps)
    sizes: dict[str, int] = field(default_factory=dict)
    _total: int = 0

    def add(self, member: Member) -> None:
        """Take note of a file.

        Raises:
            Refused: `E-CAP`: too many, too large, a path that no bundle has, or a path twice.
        """
        if not PATHS.fullmatch(member.path):
            raise cap(f"a file called {member.path[:120]!r}", "a path that bundles have")
        if member.path in self.sizes:
            raise cap(f"{member.path} stands twice", "each path once")
        if member.size > self.caps.member:
            raise cap(f"{member.path} of {member.size} bytes", f"at most {self.caps.member}")
        self.sizes[member.path] = member.size
        self._total += member.size
        if len(self.sizes) > self.caps.members or self._total > self.caps.total:
            raise cap(
                f"more than {self.caps.members} files or {self.caps.total} bytes", "a bundle split into smaller ones"
            )


def read_header(block: bytes) -> Member | None:
    """Read one 512-byte header of a ustar archive (POSIX.1-1988, or as GNU tar writes plain files).

    Returns:
        The file, or None for a folder, which carries nothing.

    Raises:
        Refused: `E-CAP`: a wrong checksum, another format, or anything but a regular file or folder.
    """
    stated = _octal(block[148:156])
    if len(block) != BLOCK or stated != sum(block[:148]) + 32 * 8 + sum(block[156:]):
        raise cap("a damaged archive header", "the checksum of its bytes")
    if block[257:263] not in (b"ustar\0", b"ustar "):
        raise cap("an archive of another format", "ustar")
    kind = block[156:157]
    if kind not in (_REGULAR, _FOLDER) or block[157:257].strip(b"\0"):
        raise cap(f"an archive member of type {kind!r}", "regular files and folders")
    gnu = block[257:263] == b"ustar "
    prefix = b"" if gnu else block[345:500].split(b"\0", 1)[0]
    name = block[:100].split(b"\0", 1)[0]
    try:
        path = (prefix + b"/" + name if prefix else name).decode("ascii")
    except UnicodeDecodeError:
        raise cap("a file name that is not ASCII", "paths as bundles have them") from None
    size = _octal(block[124:136])
    if kind == _FOLDER:
        if size or not re.fullmatch(r"(?:[a-z0-9_-]+(?:\.p)?/)+", path):
            raise cap(f"a folder called {path[:120]!r}", "folders of the paths that bundles have")
        return None
    return Member(path, size)


def write_header(member: Member) -> bytes:
    """The ustar header of a regular file, the same bytes for the same path and size.

    Raises:
        Refused: `E-CAP`: the path does not fit.
    """
    prefix, name = "", member.path
    if len(name) > 100:
        cut = member.path.rfind("/", 0, 155)
        prefix, name = member.path[:cut], member.path[cut + 1 :]
    if not PATHS.fullmatch(member.path) or len(name) > 100 or member.size >= 8**11:
        raise cap(f"a file called {member.path[:120]!r} of {member.size} bytes", "a path that bundles have")
    fields = [
        name.encode().ljust(100, b"\0"),
        b"0000644\0",
        b"0000000\0",
        b"0000000\0",
        b"%011o\0" % member.size,
        b"00000000000\0",
        b" " * 8,
        _REGULAR,
        bytes(100),
        b"ustar\x0000",
        bytes(32 + 32 + 8 + 8),
        prefix.encode().ljust(155, b"\0"),
    ]
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padding(size: int) -> int:
    """Zero bytes after a file of that size."""
    return -size % BLOCK


def cap(message: str, expected: str) -> Refused:
    """The refusal of V0."""
    return Refused(Step.V0, Code.CAP, message, expected=expected)


def _octal(text: bytes) -> int:
    digits = text.strip(_NUL_OR_SPACE)
    if not re.fullmatch(rb"[0-7]{1,11}", digits):
        raise cap("an archive number that is not octal", "sizes below 8 GiB")
    return int(digits, 8)
