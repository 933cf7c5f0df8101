"""From cut bytes to a frame: check sum, cipher, text, header, data area."""

from __future__ import annotations

import re
from typing import NamedTuple

from dianhuan_devices.hj212._area import EMPTY, AreaReader
from dianhuan_devices.hj212._cipher import Sm4, key_bytes, printed_to_raw
from dianhuan_devices.hj212._codes import profiles
from dianhuan_devices.hj212._crc import crc16
from dianhuan_devices.hj212._frame import Hj212Frame
from dianhuan_devices.hj212._framing import Cut
from dianhuan_devices.hj212._header import HeaderReader, check_edition, mn_of, read_tolerant
from dianhuan_sdk import ConfigError, Deviation, Device, Directory

_AREA = b"CP=&&"
_PLAIN = re.compile(rb"[\w-]{1,40}=[^\x00-\x08\x0e-\x1f]*\Z")
_SHORT = 16  # a data area shorter than one group of SM4 stays plain
_CIPHERS = 64


class _Opened(NamedTuple):
    area: bytes
    crc: int
    length: int
    note: str  # deviation code, or empty


class Decoder:
    """Turns cuts of one connection into frames.

    Args:
        directory: finds the station by its MN.
    """

    __slots__ = ("_ciphers", "_directory", "_headers", "reader")

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._ciphers: dict[str, Sm4 | None] = {}
        self._headers = HeaderReader()
        self.reader = AreaReader()

    def decode(self, cut: Cut) -> Hj212Frame:
        """The frame of a cut; never raises."""
        raw, segment, digits, declared, offset, framing = cut
        notes: list[Deviation] = list(framing) if framing else []
        place = segment.find(_AREA)
        if place >= 0 and segment.endswith(b"&&", place + 5):
            head, area = segment[:place], segment[place + 5 : -2]
        else:
            head, area = _split(segment, place, notes)
        plain = area.isascii()
        text = head.decode("ascii") if head.isascii() else _text(head, notes)
        header = self._headers.read(text)
        device = self._directory(mn_of(text) if header is None else header.mn)
        station = profiles().get(device.profile) if device is not None else None
        if station is None and device is not None and device.profile:
            notes.append(Deviation("profile_unknown", f"no profile {device.profile!r}"))
        edition = None if station is None else station.edition
        if header is None:
            header, more = read_tolerant(text, edition)
            notes += more
        elif edition is not None:
            notes += check_edition(header.flag, edition)
        if device is not None and device.password is not None and header.pw != device.password.reveal():
            notes.append(Deviation("password_wrong", "PW is not the station's password"))

        given = int(digits, 16)
        length = len(segment)
        keyed = device is not None and bool(device.keys)
        cipher_first = keyed and not plain  # then the CRC over the bytes as they came is rarely wanted
        opened = self._open(device, head, area, given) if cipher_first else None
        crc = crc16(segment) if opened is None else opened.crc
        if keyed and not cipher_first and crc != given:
            opened = self._open(device, head, area, given)
        legible = True
        if opened is not None:
            area, crc, length = opened.area, opened.crc, opened.length
            plain = area.isascii()
            if opened.note:
                notes.append(Deviation(opened.note, _OPENED[opened.note]))
        elif crc != given:
            legible = len(area) < _SHORT or _PLAIN.match(area) is not None
            notes.append(_wrong_crc(segment, crc, given) if legible else _closed(keyed))
        elif keyed and len(area) >= _SHORT and _to_encrypt(header.cn):
            notes.append(Deviation("not_encrypted", f"CN={header.cn} of a station with a key came in plain text"))
        crc_text = digits.decode("ascii")
        if crc_text.upper() != crc_text:
            notes.append(Deviation("crc_case", f"CRC {crc_text} in lower case"))
        if declared != length:
            notes.append(_wrong_length(segment, declared, length))

        content, words = EMPTY, ""
        irregular: tuple[Deviation, ...] = ()
        if legible:
            if plain:
                words = area.decode("ascii")
                if area and header.pnum < 2:
                    content, irregular = self.reader.read(area)
            else:
                words = _text(area, notes)
                if header.pnum < 2:
                    content, irregular = self.reader.read_text(words)
            notes += irregular
        return Hj212Frame(
            raw,
            header.mn if device is None else device.device_id,
            header,
            words,
            crc == given and declared == length,
            tuple(notes),
            crc_text,
            crc,
            declared,
            length,
            opened is not None,
            legible,
            content,
            station,
            offset,
        )

    def _open(self, device: Device | None, head: bytes, area: bytes, given: int) -> _Opened | None:
        """Decrypt with the station's keys, the present one first; the CRC over the plain text decides."""
        if device is None or len(area) < _SHORT:
            return None
        printed = printed_to_raw(area)
        for number, key in enumerate(device.keys):
            cipher = self._cipher(key.reveal(), device)
            if cipher is None:
                continue
            plain = cipher.decrypt(area if printed is None else printed)
            whole = b"".join((head, _AREA, plain, b"&&"))
            crc = crc16(whole)
            if crc == given:
                note = "key_previous" if number else ""
                return _Opened(plain, crc, len(whole), "cipher_printed" if printed is not None else note)
        return None

    def _cipher(self, key: str, device: Device) -> Sm4 | None:
        try:
            return self._ciphers[key]
        except KeyError:
            pass
        if len(self._ciphers) >= _CIPHERS:
            self._ciphers.clear()
        try:
            cipher = Sm4(key_bytes(next(k for k in device.keys if k.reveal() == key)))
        except ConfigError:
            cipher = None
        self._ciphers[key] = cipher
        return cipher


_OPENED = {
    "key_previous": "decrypted with the previous key: the change of keys is not finished",
    "cipher_printed": "the cipher text came in its printed form {0x…,0x…}",
}


def _split(segment: bytes, place: int, notes: list[Deviation]) -> tuple[bytes, bytes]:
    if place < 0:
        notes.append(Deviation("area_missing", "no CP=&&…&& in the data segment"))
        return segment, b""
    return segment[:place], segment[place + len(_AREA) :].removesuffix(b"&&")


def _text(data: bytes, notes: list[Deviation]) -> str:
    """Text of bytes: UTF-8 (as the standard says), GBK (as the field does), or what can be read of it."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    try:
        text = data.decode("gbk")
    except UnicodeDecodeError:
        notes.append(Deviation("text_unreadable", "neither ASCII nor UTF-8 nor GBK"))
        return data.decode("ascii", "replace")
    notes.append(Deviation("text_gbk", "Chinese text in GBK, not UTF-8"))
    return text


def _to_encrypt(cn: str) -> bool:
    """Commands of the field that HJ 212-2025 wants encrypted: 2000-2999, 1014, 3020."""
    return cn.startswith("2") or cn in ("1014", "3020")


def _closed(keyed: bool) -> Deviation:
    if keyed:
        return Deviation("key_wrong", "neither the present nor the previous key of the station opens the data area")
    return Deviation("key_missing", "the data area is encrypted (or destroyed) and no key of the station is known")


def _wrong_crc(segment: bytes, crc: int, given: int) -> Deviation:
    detail = f"CRC is {given:04X}, computed {crc:04X}"
    if given == (crc >> 8 | (crc & 0xFF) << 8):
        detail += " (its bytes are swapped)"
    elif given in (modbus := _modbus(segment), modbus >> 8 | (modbus & 0xFF) << 8):
        detail += " (it is a Modbus CRC)"
    return Deviation("crc_wrong", detail)


def _modbus(data: bytes) -> int:
    register = 0xFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ 0xA001 if register & 1 else register >> 1
    return register


def _wrong_length(segment: bytes, declared: int, length: int) -> Deviation:
    for encoding in ("utf-8", "gbk"):
        try:
            characters = len(segment.decode(encoding))
        except UnicodeDecodeError:
            continue
        if characters == declared:
            return Deviation("length_characters", f"{declared} counts characters; the segment has {length} bytes")
    return Deviation("length_wrong", f"declared {declared}, the data segment has {length} bytes")
