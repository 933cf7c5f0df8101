"""HJ 212 as a logger on site speaks it: frames out, commands in.

Written from the standard (HJ 212-2017, Annex A; HJ 212-2025, 6.4 and A.2) without the hub's codec, so that each can
be checked against the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from dianhuan_sdk import LOCAL_ZONE

MOST_AREA = 950
"""Longest data area of one packet, bytes (HJ 212-2017, 6.3)."""

_FLAG = {2005: 0, 2017: 4, 2025: 8}
_HEAD = re.compile(rb"##(\d{4})")
_LONGEST = 2048  # no command of a centre is longer: what claims more holds nothing up


def _shifts(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
    return value


_TABLE = tuple(_shifts(byte) for byte in range(256))


def crc_text(data: bytes) -> bytes:
    """Check sum of Annex A as four upper-case digits: the register's high byte meets each byte of the data."""
    register = 0xFFFF
    for byte in data:
        register = _TABLE[(register >> 8) ^ byte]
    return b"%04X" % register


def sm4(key: bytes, area: bytes, *, decrypt: bool = False) -> bytes:
    """SM4-ECB without padding over whole groups of 16; the rest stays plain (2025, 6.4)."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    cipher = Cipher(algorithms.SM4(key), modes.ECB())
    whole = len(area) // 16 * 16
    turn = (cipher.decryptor() if decrypt else cipher.encryptor()).update
    return turn(area[:whole]) + area[whole:]


def digits(at: datetime) -> str:
    """Civil time of the station to the second, 14 digits."""
    return at.astimezone(LOCAL_ZONE).strftime("%Y%m%d%H%M%S")


def number(at: datetime) -> str:
    """A QN: civil time to the millisecond, 17 digits."""
    local = at.astimezone(LOCAL_ZONE)
    return local.strftime("%Y%m%d%H%M%S") + f"{local.microsecond // 1000:03d}"


def instant(text: str) -> datetime | None:
    """The instant of 14 digits; None where they are none."""
    if not re.fullmatch(r"\d{14}", text):
        return None
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=LOCAL_ZONE)
    except ValueError:
        return None


class Header(NamedTuple):
    """What stands in every frame of a station. `key`: session key where data areas are encrypted."""

    mn: str
    edition: int
    password: str = "123456"
    key: bytes | None = None


def seal(fields: Iterable[tuple[str, str]], area: bytes, key: bytes | None = None) -> bytes:
    """One frame. Length and check sum are made over the plain text, then the area is encrypted (2025, 6.4)."""
    head = "".join(f"{k}={v};" for k, v in fields).encode("ascii") + b"CP=&&"
    plain = head + area + b"&&"
    wire = plain if key is None else head + sm4(key, area) + b"&&"
    return b"##%04d" % len(plain) + wire + crc_text(plain) + b"\r\n"


def message(
    header: Header,
    cn: str,
    st: str,
    qn: str,
    items: Sequence[str],
    *,
    answer: bool = True,
    encrypt: bool = False,
    resent: bool = False,
) -> list[bytes]:
    """The frames of a message: several with PNUM and PNO where the data area is too long for one.

    Args:
        header: of the station.
        cn: command.
        st: system code.
        qn: number, 17 digits.
        items: items of the data area as text, DataTime first; the classes of one item stay together.
        answer: ask for an answer.
        encrypt: with the station's key.
        resent: RF=1 (2025).
    """
    packets = list(_packets(items))
    flag = _FLAG[header.edition] | (1 if answer else 0) | (2 if len(packets) > 1 else 0)
    frames = []
    for place, packet in enumerate(packets, 1):
        fields = [("QN", qn), ("ST", st), ("CN", cn), ("PW", header.password), ("MN", header.mn), ("Flag", str(flag))]
        if len(packets) > 1:
            fields += [("PNUM", str(len(packets))), ("PNO", str(place))]
        if resent and header.edition == 2025:
            fields.append(("RF", "1"))
        frames.append(seal(fields, packet, header.key if encrypt else None))
    return frames


def _packets(items: Sequence[str]) -> Iterator[bytes]:
    packet: list[str] = []
    size = -1
    for item in items:
        width = len(item.encode("utf-8")) + 1
        if packet and size + width > MOST_AREA:
            yield ";".join(packet).encode("utf-8")
            packet, size = [], -1
        packet.append(item)
        size += width
    yield ";".join(packet).encode("utf-8")


def response(header: Header, cn: str, qn: str, items: Sequence[str] = ()) -> bytes:
    """9011, 9012, 9013: the request's QN stands in the header, in the 2005 edition in the data area."""
    fields = [("ST", "91"), ("CN", cn), ("PW", header.password), ("MN", header.mn)]
    fields.append(("Flag", str(_FLAG[header.edition])))
    if header.edition == 2005:
        return seal(fields, ";".join([f"QN={qn}", *items]).encode("ascii"))
    return seal([("QN", qn), *fields], ";".join(items).encode("ascii"))


class Received(NamedTuple):
    """A frame from the centre: header fields, items of the data area, is the check sum right?"""

    fields: dict[str, str]
    items: dict[str, str]
    valid: bool

    @property
    def qn(self) -> str:
        """QN of the header, or of the data area (2005)."""
        return self.fields.get("QN") or self.items.get("QN", "")


class Inbox:
    """Cuts the centre's frames out of a stream by their declared length."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def feed(self, data: bytes, key: bytes | None) -> list[Received]:
        """Frames complete now; bytes that are none are passed over. At most one frame's bytes are kept."""
        kept = self._kept
        kept += data
        found: list[Received] = []
        while True:
            head = _HEAD.search(kept)
            if head is None:
                del kept[: max(0, len(kept) - 5)]
                return found
            size = int(head[1])
            end = head.end() + size + 6
            if size > _LONGEST:
                del kept[: head.start() + 2]
                continue
            if len(kept) < end:
                del kept[: head.start()]
                return found
            segment, said = bytes(kept[head.end() : head.end() + size]), bytes(kept[end - 6 : end - 2])
            if not segment.endswith(b"&&") or kept[end - 2 : end] != b"\r\n":
                del kept[: head.start() + 2]
                continue
            del kept[:end]
            found.append(_read(segment, said, key))


def _read(segment: bytes, said: bytes, key: bytes | None) -> Received:
    head, _, area = segment.partition(b"CP=&&")
    area = area[:-2]
    valid = crc_text(segment) == said.upper()
    if not valid and key is not None:
        plain = sm4(key, area, decrypt=True)
        valid = crc_text(head + b"CP=&&" + plain + b"&&") == said.upper()
        area = plain if valid else area
    return Received(_pairs(head), _pairs(area), valid)


def _pairs(text: bytes) -> dict[str, str]:
    pieces = [piece.partition("=") for piece in re.split("[;,]", text.decode("utf-8", "replace"))]
    return {name: value for name, equals, value in pieces if equals}
