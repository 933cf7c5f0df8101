"""Frames in words and as JSON objects."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from dianhuan_devices._tables import rows
from dianhuan_devices.hj212._codes import PACKAGE, commands, factor, systems
from dianhuan_devices.hj212._frame import Hj212Frame
from dianhuan_sdk import LOCAL_ZONE, Deviation, Text


@cache
def deviation_words() -> Mapping[str, Text]:
    """What each deviation's code means."""
    return {r["code"]: Text(r["zh"], r["en"]) for r in rows(PACKAGE, "deviations.tsv")}


def deviation_object(deviation: Deviation) -> dict[str, str]:
    """A deviation for JSON: code, words, detail."""
    words = deviation_words()[deviation.code]
    return {"code": deviation.code, "zh": words.zh, "en": words.en, "detail": deviation.detail}


def frame_object(frame: Hj212Frame) -> dict[str, Any]:
    """A frame for JSON: header fields under the standard's names, check sums, deviations, readings."""
    h = frame.header
    header: dict[str, Any] = {"QN": h.qn, "ST": h.st, "CN": h.cn, "PW": h.pw, "MN": h.mn, "Flag": h.flag}
    if h.flag < 0:
        header["Flag"] = None
    if h.pnum:
        header |= {"PNUM": h.pnum, "PNO": h.pno}
    if h.resent:
        header["RF"] = 1
    return {
        "protocol": "hj212",
        "offset": frame.offset,
        "valid": frame.valid,
        "crc": frame.crc,
        "crc_expected": f"{frame.crc_expected:04X}",
        "length_declared": frame.declared,
        "length": frame.length,
        **header,
        "system": systems()[h.st].zh if h.st in systems() else "",
        "command": commands()[h.cn].zh if h.cn in commands() else "",
        "encrypted": frame.encrypted,
        "legible": frame.legible,
        "items": [list(item) for item in frame.items],
        "deviations": [deviation_object(d) for d in frame.deviations],
        "readings": [
            {
                "code": r.code,
                "name": factor(r.code, frame.profile).zh,
                "statistic": r.statistic,
                "interval": r.interval,
                "at": r.at.astimezone(LOCAL_ZONE).isoformat() if r.at is not None else None,
                "value": r.value,
                "text": r.text,
                "unit": r.unit,
                "flag": r.quality,
            }
            for r in frame.readings
        ],
    }


def frame_words(frame: Hj212Frame) -> list[str]:
    """A frame in lines for people; the password is left out."""
    h = frame.header
    command, system = commands().get(h.cn), systems().get(h.st)
    mark = "✓" if frame.valid else "✗"
    lines = [
        f"{mark} MN={h.mn or '?'}  CN={h.cn} {f'{command.zh} / {command.en}' if command else '?'}  "
        f"ST={h.st} {f'{system.zh} / {system.en}' if system else '?'}",
        f"  QN={h.qn or '-'}  Flag={h.flag if h.flag >= 0 else '-'}"
        + (f"  {h.pno}/{h.pnum}" if h.pnum else "")
        + ("  RF=1 补传 / sent again" if h.resent else "")
        + ("  SM4 已解密 / decrypted" if frame.encrypted else ""),
        f"  CRC {frame.crc}"
        + (" 正确 / right" if f"{frame.crc_expected:04X}" == frame.crc.upper() else f" ≠ {frame.crc_expected:04X}")
        + f"  长度 / length {frame.declared}"
        + ("" if frame.declared == frame.length else f" ≠ {frame.length}"),
    ]
    readings = frame.readings
    for r in readings:
        when = r.at.astimezone(LOCAL_ZONE).strftime("%Y-%m-%d %H:%M:%S") if r.at is not None else "?"
        value = f"{r.value:g} {r.unit}".rstrip() if r.value is not None else repr(r.text)
        flag = f"  [{r.quality}]" if r.quality else ""
        lines.append(f"    {when}  {r.code}-{r.statistic}  {factor(r.code, frame.profile).zh}  {value}{flag}")
    if not readings:
        lines.extend(f"    {name} = {value}" for name, value in frame.items)
    for d in frame.deviations:
        words = deviation_words()[d.code]
        lines.append(f"  ! {words.zh} / {words.en}: {d.detail}")
    return lines
