"""Writes frames of HJ 212, for both sides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dianhuan_devices.hj212._cipher import Sm4
from dianhuan_devices.hj212._crc import crc_text
from dianhuan_devices.hj212._framing import LONGEST
from dianhuan_devices.hj212._header import FIELDS
from dianhuan_devices.hj212._time import request_number
from dianhuan_sdk import InputError

LONGEST_AREA = 950
"""Longest data area of one packet, in bytes (HJ 212-2017, 6.3); longer ones are split by PNUM and PNO."""

VERSION_BITS = {2005: 0, 2017: 1 << 2, 2025: 2 << 2}
"""Version bits of the Flag by edition."""

Item = tuple[str, str | float | int]
"""One `key=value` of a data area."""


@dataclass(frozen=True, slots=True)
class Station:
    """What stands in every header of a station.

    Args:
        mn: MN.
        password: PW, six characters.
        st: system code of its own frames; answers carry 91.
        edition: 2005, 2017 or 2025.
        key: session key where its data area is encrypted.
    """

    mn: str
    password: str = "123456"
    st: str = "32"
    edition: int = 2017
    key: Sm4 | None = None


def encode_segment(fields: Iterable[tuple[str, str]], area: bytes, key: Sm4 | None = None) -> bytes:
    """One frame from header fields, in the order given, and the data area.

    Length and CRC are made over the plain text; then the data area is encrypted (HJ 212-2025, 6.4).

    Raises:
        InputError: the data segment is longer than `LONGEST` bytes.
    """
    head = "".join(f"{name}={value};" for name, value in fields).encode("utf-8") + b"CP=&&"
    plain = head + area + b"&&"
    if len(plain) > LONGEST:
        raise InputError(
            f"a data segment of {len(plain)} bytes",
            expected=f"at most {LONGEST}",
            hint="split the data area (PNUM, PNO)",
        )
    wire = plain if key is None else head + key.encrypt(area) + b"&&"
    return b"##%04d%b%b\r\n" % (len(plain), wire, crc_text(plain).encode("ascii"))


def encode(
    station: Station,
    cn: str,
    items: Iterable[Iterable[Item]],
    *,
    at: datetime | None = None,
    qn: str = "",
    st: str = "",
    answer: bool = False,
    encrypt: bool = False,
    resent: bool = False,
) -> list[bytes]:
    """The frames of one message: one, or several where the data area is too long for one.

    Args:
        station: header fields.
        cn: command.
        items: items of the data area; the classes of one item stay together.
        at: the instant for a new QN; `qn` echoes one instead.
        st: system code where it is not the station's own.
        answer: the sender wants an answer (Flag bit A).
        encrypt: encrypt the data area with the station's key.
        resent: RF=1 (2025 only).
    """
    if not qn:
        if at is None:
            raise InputError("a frame without QN", expected="at or qn", hint="pass the instant of the message")
        qn = request_number(at)
    pieces = list(_pieces([area_text([item]) for item in items]))
    split = len(pieces) > 1
    frames = []
    for number, piece in enumerate(pieces, 1):
        values = {
            "QN": qn,
            "ST": st or station.st,
            "CN": cn,
            "PW": station.password,
            "MN": station.mn,
            "Flag": str(VERSION_BITS[station.edition] | (2 if split else 0) | (1 if answer else 0)),
        }
        if split:
            values |= {"PNUM": str(len(pieces)), "PNO": str(number)}
        fields = [(name, values[name]) for name in FIELDS if name in values]
        if resent and station.edition >= 2025:
            fields.append(("RF", "1"))
        frames.append(encode_segment(fields, piece, station.key if encrypt else None))
    return frames


def area_text(items: Iterable[Iterable[Item]]) -> bytes:
    """Text of a data area: `;` between items, `,` between the classes of one item.

    Raises:
        InputError: a key or value holds a separator.
    """
    return ";".join(",".join(_pair(name, value) for name, value in item) for item in items).encode("utf-8")


def _pair(name: str, value: str | float | int) -> str:
    text = value if isinstance(value, str) else repr(value)
    if any(c in text for c in ";,=&\r\n") or any(c in name for c in ";,=&\r\n"):
        raise InputError(
            f"{name}={text!r} holds a separator", expected="no ; , = & or line end", hint="clean the value"
        )
    return f"{name}={text}"


def _pieces(items: Sequence[bytes]) -> Iterator[bytes]:
    """Items joined into data areas of at most `LONGEST_AREA` bytes, cut between items only."""
    piece = b""
    for item in items:
        if piece and len(piece) + 1 + len(item) > LONGEST_AREA:
            yield piece
            piece = item
        else:
            piece = piece + b";" + item if piece else item
    yield piece


def numbered(at: datetime) -> Iterator[datetime]:
    """Instants for the QNs of several messages made at once: one millisecond apart, so that none is used twice."""
    while True:
        yield at
        at += timedelta(milliseconds=1)
