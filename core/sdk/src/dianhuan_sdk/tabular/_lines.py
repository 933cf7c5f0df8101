"""Lines of a CSV block one by one, where quotes or line ends have put rows together or apart."""

from __future__ import annotations

import json
import re

import numpy as np

from dianhuan_sdk.tabular._frame import RAW_LIMIT, IntArray, Rejects


def tidy(data: bytes, first_row: int, delimiter: str, codec: str, rejects: Rejects) -> tuple[bytes, IntArray]:
    """The lines that stand for themselves, and their row numbers; the others go to `rejects`.

    A line whose quotes do not enclose whole values would take the lines after it along; a carriage return inside a
    line would make two of it. Blank lines are left out.
    """
    mark = re.escape(delimiter.encode())
    value = rb'(?:"(?:[^"]|"")*"|[^"' + mark + rb"]*)"
    clean = re.compile(value + rb"(?:" + mark + value + rb")*")
    kept: list[bytes] = []
    numbers: list[int] = []
    for number, line in enumerate(data.split(b"\n"), first_row):
        text = line[:-1] if line.endswith(b"\r") else line
        if not text:
            continue
        fault: tuple[str, str] | None = None
        if b"\r" in text:
            fault = "stray_line_end", "a carriage return stands inside the line"
        elif b'"' in text and not clean.fullmatch(text):
            fault = "open_quote", "quotes do not enclose a whole value on this line"
        if fault is not None:
            raw = json.dumps({"line": text.decode(codec, "replace")[:RAW_LIMIT]}, ensure_ascii=False)
            rejects.add(number, *fault, raw)
            continue
        kept.append(text)
        numbers.append(number)
    whole = b"\n".join(kept)
    return whole + b"\n" if kept else b"", np.asarray(numbers, dtype=np.int64)
