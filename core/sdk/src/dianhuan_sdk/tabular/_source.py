"""A file's bytes: complete or not, unpacked, decoded as far as needed, cut into blocks of whole lines."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from dianhuan_sdk.errors import InputError
from dianhuan_sdk.tabular._mapping import Mapping

UNFINISHED = (".part", ".tmp", ".partial", ".crdownload", ".filepart", ".writing")
SAMPLE_BYTES = 1 << 20
# `,` `;` and tab never occur inside a GB18030 character; other marks may, so such files are transcoded first.
SAFE_DELIMITERS = ",;\t"


class IncompleteFileError(InputError):
    """The file is still being written or its control file is missing; it may be read later."""


def ensure_complete(path: Path, control_suffix: str = "") -> os.stat_result:
    """The file's state if it may be read now.

    Raises:
        InputError: there is no such file, or it is empty.
        IncompleteFileError: its name or a missing control file says that it is still being written.
    """
    if path.suffix.lower() in UNFINISHED:
        raise IncompleteFileError(
            f"{path.name} is still being written: its name ends in {path.suffix}",
            expected="a file under its final name",
            hint="wait until the sender has renamed it",
        )
    try:
        state = path.stat()
    except FileNotFoundError:
        raise InputError(f"no file {path}", hint="correct the path") from None
    except OSError as error:
        raise InputError(f"{path.name} cannot be opened: {error.strerror}", hint="check the permissions") from error
    if not path.is_file():
        raise InputError(f"{path} is not a file", expected="a file", hint="name a file inside it")
    if control_suffix and not control_of(path, control_suffix).exists():
        raise IncompleteFileError(
            f"{path.name} has no control file {control_of(path, control_suffix).name}",
            expected=f"a control file with suffix {control_suffix} once the file is complete",
            hint="wait for the sender, or clear `control_file` if this source sends none",
        )
    if state.st_size == 0:
        raise IncompleteFileError(f"{path.name} is empty", expected="a header and rows", hint="ask the sender again")
    return state


def control_of(path: Path, suffix: str) -> Path:
    """The control file of a data file: its name plus the suffix, or with its own suffix replaced."""
    appended = path.with_name(path.name + suffix)
    return appended if appended.exists() else path.with_suffix(suffix)


def ensure_unchanged(path: Path, before: os.stat_result) -> None:
    """Raises `IncompleteFileError` if size or modification time differ from `before`."""
    now = path.stat()
    if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise IncompleteFileError(
            f"{path.name} changed while it was read ({before.st_size} → {now.st_size} bytes)",
            expected="a file that nobody writes any more",
            hint="read it again when the sender is done; a control file avoids this",
        )


def kind_of(path: Path, mapping: Mapping) -> str:
    """`csv`, `parquet` or `excel`, by the mapping, else by the file's first bytes."""
    if mapping.format != "auto":
        return mapping.format
    with path.open("rb") as file:
        head = file.read(8)
    if head[:4] == b"PAR1":
        return "parquet"
    if head[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
        return "excel"
    if head[:2] == b"PK" and path.suffix.lower() in (".xlsx", ".xlsm", ".xlsb", ".ods"):
        return "excel"
    return "csv"


@contextmanager
def open_bytes(path: Path, mapping: Mapping) -> Iterator[IO[bytes]]:
    """The unpacked bytes of a plain, gz or zip file.

    Raises:
        InputError: not the container it claims to be, or a zip with other than one file in it.
    """
    with path.open("rb") as raw:
        head = raw.read(4)
        raw.seek(0)
        how = mapping.compression
        if how == "auto":
            how = "gz" if head[:2] == b"\x1f\x8b" else "zip" if head == b"PK\x03\x04" else "none"
        if how == "none":
            yield raw
        elif how == "gz":
            with gzip.open(raw) as unpacked:
                yield cast(IO[bytes], unpacked)
        else:
            try:
                archive = zipfile.ZipFile(raw)
            except zipfile.BadZipFile as error:
                raise InputError(
                    f"{path.name} is not a whole zip file: {error}",
                    expected="a zip with one file",
                    hint="fetch it again",
                ) from error
            members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX")]
            if len(members) != 1:
                names = ", ".join(m.filename for m in members[:5])
                raise InputError(
                    f"{path.name} holds {len(members)} files: {names}",
                    expected="a zip with one data file",
                    hint="unpack it and read the files one by one",
                )
            with archive, archive.open(members[0]) as unpacked:
                yield unpacked


def broken_stream(path: Path, error: Exception) -> InputError:
    """What a truncated or damaged gz or zip ends in; the rows before the break have been given out."""
    return InputError(
        f"{path.name} is cut off or damaged: {error}",
        expected="a whole compressed file",
        hint="fetch it again; rows before the break were read, the rest is missing",
    )


BREAKS = (EOFError, gzip.BadGzipFile, zlib.error, zipfile.BadZipFile)


def sniff_encoding(sample: bytes, stated: str, name: str) -> str:
    """The codec of a file from its first bytes: stated, by BOM, else UTF-8 or GB18030 if the bytes are that.

    Raises:
        InputError: the bytes are not text in the stated encoding, or in none of those tried.
    """
    for bom, codec in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if sample.startswith(bom):
            return codec
    whole = sample[: sample.rfind(b"\n") + 1] or sample
    if stated != "auto":
        try:
            whole.decode(stated)
        except LookupError:
            raise InputError(f"unknown encoding {stated!r}", hint="use utf-8 or gb18030") from None
        except UnicodeDecodeError as error:
            other = next((c for c in ("utf-8", "gb18030") if c != stated and _decodes(whole, c)), "")
            raise InputError(
                f"{name} is not {stated}: byte {error.start} is 0x{whole[error.start]:02X}",
                expected=f"text in {stated}",
                hint=f"set `encoding: {other or 'auto'}` in the mapping" + (f", it reads as {other}" if other else ""),
            ) from None
        return stated
    if b"\x00" in whole:
        raise InputError(
            f"{name} is not text: it holds NUL bytes", expected="CSV, Parquet or Excel", hint="check what was sent"
        )
    for codec in ("utf-8", "gb18030"):
        if _decodes(whole, codec):
            return codec
    raise InputError(
        f"{name} is neither UTF-8 nor GB18030",
        expected="text in UTF-8 or GB18030",
        hint="state `encoding` in the mapping",
    )


def _decodes(data: bytes, codec: str) -> bool:
    try:
        data.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def line_blocks(stream: Steady, size: int, codec: str | None) -> Iterator[bytes]:
    """Blocks of whole lines of about `size` bytes; the last one may lack its line end.

    Args:
        stream: unpacked bytes.
        size: bytes read at a time: bounds memory.
        codec: transcode from this codec to UTF-8, or None to pass bytes on as they are.
    """
    decoder = codecs.getincrementaldecoder(codec)("replace") if codec else None
    rest = b""
    while chunk := stream.read(size):
        data = decoder.decode(chunk).encode() if decoder else chunk
        cut = data.rfind(b"\n") + 1
        if cut == 0:
            rest += data
            continue
        yield rest + data[:cut] if rest else data[:cut]
        rest = data[cut:]
    if decoder:
        rest += decoder.decode(b"", True).encode()
    if rest.strip():
        yield rest


class Steady(io.RawIOBase):
    """A stream whose `read(size)` fills up to `size`, gives what stood before a break, and only then raises it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._take = getattr(stream, "read1", stream.read)
        self._ahead = b""
        self._error: Exception | None = None

    def peek(self, size: int = SAMPLE_BYTES) -> bytes:
        """The next bytes, which `read` gives again."""
        if len(self._ahead) < size:
            self._ahead += self._fill(size - len(self._ahead))
        return self._ahead[:size]

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes, fewer only at the end or before a break."""
        given, self._ahead = self._ahead[:size], self._ahead[size:]
        if len(given) < size:
            given += self._fill(size - len(given))
        if not given and self._error is not None:
            raise self._error
        return given

    def _fill(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size > 0 and self._error is None:
            try:
                part = self._take(size)
            except BREAKS as error:
                self._error = error
                break
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
