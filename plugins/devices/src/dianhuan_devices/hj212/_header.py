"""The fields of a data segment before its data area."""

from __future__ import annotations

import re
from typing import NamedTuple

from dianhuan_devices.hj212._codes import commands, systems
from dianhuan_sdk import Deviation

FIELDS = ("QN", "ST", "CN", "PW", "MN", "Flag", "PNUM", "PNO")
"""Fields in the order of the standard; `RF` (2025) stands only in re-sent packets."""

_REGULAR = re.compile(
    r";ST=(\d\d);CN=(\d{4});PW=([^;&]{6});MN=([0-9A-F]{24});Flag=(\d{1,3});(?:PNUM=(\d{1,4});PNO=(\d{1,4});)?"
    r"(?:RF=(1);)?",
    re.ASCII,
)
_HEADERS = 4096
_ANY_MN = re.compile(r"(?:^|;)\s*MN\s*=([^;]*)", re.IGNORECASE)
_MN = {2005: re.compile(r"\w{14}"), 2017: re.compile(r"[0-9A-F]{24}"), 2025: re.compile(r"[0-9A-F]{24}")}


class Header(NamedTuple):
    """Header fields; a field that is not there is empty, numbers are -1 or 0.

    Args:
        flag: the Flag as a number, -1 where it is missing.
        pnum, pno: number of packets and this packet's number, 0 where not split.
        resent: RF=1.
    """

    qn: str
    st: str
    cn: str
    pw: str
    mn: str
    flag: int
    pnum: int
    pno: int
    resent: bool


class HeaderReader:
    """Reads regular headers. All but the QN stays the same from frame to frame of a station and is kept."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str, str, str, int, int, int, bool] | None] = {}

    def read(self, text: str) -> Header | None:
        """Header fields of a regular text before `CP=`, e.g. `QN=…;ST=32;…;Flag=5;`; None where it is irregular."""
        qn, rest = text[3:20], text[20:]
        try:
            fields = self._known[rest]
        except KeyError:
            if len(self._known) >= _HEADERS:
                self._known.clear()
            fields = self._known[rest] = _regular(rest)
        if fields is None or not text.startswith("QN=") or not qn.isdigit() or not qn.isascii():
            return None
        return tuple.__new__(Header, (qn, *fields))  # half the time of the constructor


def _regular(rest: str) -> tuple[str, str, str, str, int, int, int, bool] | None:
    found = _REGULAR.fullmatch(rest)
    if found is None:
        return None
    st, cn, pw, mn, flag, pnum, pno, resent = found.groups()
    bits = int(flag)
    packets, packet = (int(pnum), int(pno)) if pnum is not None else (0, 0)
    if (bits & 2 != 0) != (pnum is not None) or (pnum is not None and not 1 <= packet <= packets):
        return None
    if st not in systems() or cn not in commands():
        return None
    return st, cn, pw, mn, bits, packets, packet, resent is not None


def mn_of(text: str) -> str:
    """The MN of any header text, empty where there is none."""
    found = _ANY_MN.search(text)
    return found[1].strip() if found is not None else ""


def check_edition(flag: int, edition: int) -> tuple[Deviation, ...]:
    """The Flag's version bits against the station's profile, which decides."""
    said = {0: 2005, 1: 2017, 2: 2025}.get(flag >> 2)
    if said == edition or flag < 0:
        return ()
    return (Deviation("edition", f"Flag={flag} speaks of {said or 'no edition'}, the profile says {edition}"),)


def read_tolerant(text: str, edition: int | None) -> tuple[Header, list[Deviation]]:
    """Header fields of any text before `CP=`, and what is irregular about them.

    Args:
        text: the text.
        edition: 2005, 2017 or 2025 of the station's profile; None where unknown: then the Flag's bits are taken.
    """
    deviations: list[Deviation] = []
    fields: dict[str, str] = {}
    canonical = {name.lower(): name for name in (*FIELDS, "RF")}
    order: list[int] = []
    if text and not text.endswith(";"):
        deviations.append(Deviation("separator_missing", "no ; before CP"))
    for piece in text.removesuffix(";").split(";") if text else ():
        name, equals, value = piece.partition("=")
        known = canonical.get(name.strip().lower())
        if not equals or known is None:
            deviations.append(Deviation("field_unknown", f"{piece[:60]!r} in the header"))
            continue
        if known != name:
            deviations.append(Deviation("key_case", f"{name[:20]!r} for {known}"))
        if known in fields:
            deviations.append(Deviation("field_twice", f"{known} stands twice; the first counts"))
            continue
        fields[known] = value.strip()
        if known != "RF":
            order.append(FIELDS.index(known))
    if order != sorted(order):
        deviations.append(Deviation("field_order", " ".join(FIELDS[i] for i in order)))
    flag = _number(fields, "Flag", deviations)
    version = edition or {0: 2005, 2: 2025, -1: 2017 if "QN" in fields else 2005}.get(flag >> 2, 2017)
    needed = ("ST", "CN", "PW", "MN") if version == 2005 else ("QN", "ST", "CN", "PW", "MN", "Flag")
    deviations.extend(Deviation("field_missing", f"no {name}") for name in needed if name not in fields)
    qn, st, cn, mn = (fields.get(name, "") for name in ("QN", "ST", "CN", "MN"))
    if qn and not (len(qn) == 17 and qn.isascii() and qn.isdigit()):
        deviations.append(Deviation("qn_form", f"QN={qn[:30]!r} is not 17 digits"))
    if st and st not in systems():
        deviations.append(Deviation("st_unknown", f"ST={st[:10]!r}"))
    if cn and cn not in commands():
        deviations.append(Deviation("cn_unknown", f"CN={cn[:10]!r}"))
    if mn and not _MN[version].fullmatch(mn):
        deviations.append(Deviation("mn_form", f"MN={mn[:40]!r} has not the form of {version}"))
    if "PW" in fields and len(fields["PW"]) != 6:
        deviations.append(Deviation("pw_form", f"PW has {len(fields['PW'])} characters, not 6"))
    pnum, pno = (max(_number(fields, name, deviations), 0) for name in ("PNUM", "PNO"))
    if flag >= 0:
        if (flag & 2 != 0) != ("PNUM" in fields and "PNO" in fields):
            deviations.append(Deviation("packet_fields", f"Flag={flag} does not agree with PNUM and PNO"))
        if edition is not None:
            deviations.extend(check_edition(flag, edition))
    if not 1 <= pno <= pnum and (pnum or pno):
        deviations.append(Deviation("packet_fields", f"PNUM={pnum}, PNO={pno}"))
        pnum = pno = 0
    resent = fields.get("RF", "")
    if resent not in ("", "1"):
        deviations.append(Deviation("field_value", f"RF={resent[:10]!r}"))
    return Header(qn, st, cn, fields.get("PW", ""), mn, flag, pnum, pno, resent == "1"), deviations


def _number(fields: dict[str, str], name: str, deviations: list[Deviation]) -> int:
    value = fields.get(name)
    if value is None:
        return -1
    if len(value) <= 4 and value.isascii() and value.isdigit():
        return int(value)
    deviations.append(Deviation("field_value", f"{name}={value[:20]!r} is no number"))
    return -1
