"""A frame of HJ 212 as the codec hands it out."""

from __future__ import annotations

from collections.abc import Sequence

from dianhuan_devices.hj212._area import Content, split_items
from dianhuan_devices.hj212._codes import Profile, commands, factor, unit_of
from dianhuan_devices.hj212._header import Header
from dianhuan_devices.hj212._time import instant
from dianhuan_sdk import Deviation, Reading


class Hj212Frame:
    """One frame: see `dianhuan_sdk.Frame` for the fields that every protocol has.

    Args:
        header: QN, ST, CN, PW, MN, Flag, PNUM, PNO, RF.
        area: text of the data area, decrypted.
        crc: the four digits as received.
        crc_expected: CRC computed over the plain data segment.
        declared: length that the frame declares.
        length: length of its data segment in bytes.
        encrypted: the data area came encrypted and was decrypted with a key of the station.
        legible: the data area is text; false for cipher text without the right key.
        content: its readings in parallel sequences; empty while a split message is incomplete.
        whole: false for a packet of a split message whose readings come with a later packet.
    """

    __slots__ = (
        "area",
        "content",
        "crc",
        "crc_expected",
        "declared",
        "deviations",
        "device_id",
        "encrypted",
        "header",
        "legible",
        "length",
        "offset",
        "profile",
        "raw",
        "valid",
        "whole",
    )

    def __init__(
        self,
        raw: bytes,
        device_id: str,
        header: Header,
        area: str,
        valid: bool,
        deviations: tuple[Deviation, ...],
        crc: str,
        crc_expected: int,
        declared: int,
        length: int,
        encrypted: bool,
        legible: bool,
        content: Content,
        profile: Profile | None,
        offset: int,
    ) -> None:
        self.raw = raw
        self.device_id = device_id
        self.header = header
        self.area = area
        self.valid = valid
        self.deviations = deviations
        self.crc = crc
        self.crc_expected = crc_expected
        self.declared = declared
        self.length = length
        self.encrypted = encrypted
        self.legible = legible
        self.content = content
        self.profile = profile
        self.offset = offset
        self.whole = True

    @property
    def kind(self) -> str:
        """The command, CN."""
        return self.header.cn

    @property
    def items(self) -> Sequence[tuple[str, str]]:
        """All `key=value` of the data area, for commands and answers."""
        return split_items(self.area)[0]

    @property
    def interval(self) -> str:
        """Interval of its readings, empty for a command that carries none."""
        command = commands().get(self.header.cn)
        return command.interval if command is not None else ""

    @property
    def at(self) -> int | None:
        """See `Frame.at`."""
        at = self.content.at
        return max((a for a in at if a is not None), default=None) if isinstance(at, list) else at

    @property
    def readings(self) -> tuple[Reading, ...]:
        """Its readings with units and instants."""
        content, interval = self.content, self.interval
        if not content.codes or not interval:
            return ()
        at = content.at
        many = at if isinstance(at, list) else [at] * len(content.codes)
        texts = content.texts or (None,) * len(content.codes)
        return tuple(
            Reading(
                code,
                statistic,
                interval,
                None if micros is None else instant(micros),
                value,
                text,
                unit_of(factor(code, self.profile), statistic),
                flag,
            )
            for code, statistic, value, text, flag, micros in zip(
                content.codes, content.statistics, content.values, texts, content.flags, many, strict=True
            )
        )

    @property
    def history(self) -> bool:
        """Was it sent again or fetched after a gap (RF=1)?"""
        return self.header.resent

    def __repr__(self) -> str:
        h = self.header
        return f"Hj212Frame(MN={h.mn}, ST={h.st}, CN={h.cn}, QN={h.qn}, valid={self.valid}, {len(self.content.codes)})"
