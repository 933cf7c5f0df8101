"""The data area: `;` between items, `,` between classes of one item, `CODE-SUFFIX=VALUE`.

Stations send the same keys in the same order all day, so what the keys mean is worked out once per *shape* (the
keys and separators of a data area) and then only the values are read. Whatever is irregular goes the slow and
tolerant way, which gives the usable part and says what was wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import isfinite
from operator import itemgetter
from typing import NamedTuple

import msgspec

from dianhuan_devices.hj212._time import Times
from dianhuan_sdk import Deviation

SUFFIXES: dict[str, str] = {
    name.lower(): name
    for name in (
        "SampleTime",
        "Rtd",
        "Min",
        "Avg",
        "Max",
        "ZsRtd",
        "ZsMin",
        "ZsAvg",
        "ZsMax",
        "Flag",
        "EFlag",
        "Cou",
        "RS",
        "RT",
        "Info",
        "SN",
        "Data",
    )
}
"""Suffix by its lower-case form (HJ 212-2017, 6.6.2)."""

QUALITY = frozenset("NFMSDCTB")
"""Data flags: N normal, F stopped, M maintenance, S manual, D fault, C calibration, T above range,
B communication fault."""

_FLAGS = QUALITY | {""}
_NO_READING = frozenset({"Flag", "EFlag", "SampleTime"})
_TEXT = frozenset({"Info", "SN"})
_SEPARATORS = bytes.maketrans(b",=", b";;")
# What stays of a data area to tell its form: separators, and blanks, which a JSON reader would overlook.
_FORM = bytes(range(33)) + b",=;\x7f"
_REST = bytes(sorted(set(range(256)) - set(_FORM)))
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""Control characters: never part of a data area."""

_SHAPES = 4096
# Numbers as a JSON list: five times as fast as one `float` after the other, and strict (no nan, no 1_0, no " 1").
_numbers = msgspec.json.Decoder(tuple[float, ...]).decode
_KEY = re.compile(r"([A-Za-z]\w*)-([A-Za-z]+)")


class Content(NamedTuple):
    """The readings of a data area, in parallel sequences.

    Args:
        codes, statistics: what each reading is; statistics are the suffixes in lower case.
        values: numbers, None where it is text.
        texts: texts of readings that are no numbers; empty where all are numbers.
        flags: data flags as sent, empty where there is none.
        at: DataTime in microseconds since 1970 UTC, or one for each reading where a data area holds several.
    """

    codes: Sequence[str]
    statistics: Sequence[str]
    values: Sequence[float | None]
    texts: Sequence[str | None]
    flags: Sequence[str]
    at: int | list[int | None] | None


EMPTY = Content((), (), (), (), (), None)


class _Shape(NamedTuple):
    keys: list[str]
    codes: tuple[str, ...]
    statistics: tuple[str, ...]
    bare: int  # readings without a flag
    pick: Callable[[list[str]], tuple[str, ...]]
    pick_flags: Callable[[list[str]], tuple[str, ...]]


class AreaReader:
    """Reads data areas; keeps the shapes seen, a bounded number of them."""

    __slots__ = ("_recent", "_shapes", "_times")

    def __init__(self) -> None:
        self._recent: dict[bytes, _Shape] = {}  # by form alone: a station's next frame most often has the same keys
        self._shapes: dict[tuple[bytes, tuple[str, ...]], _Shape | None] = {}
        self._times = Times()

    def read(self, area: bytes) -> tuple[Content, tuple[Deviation, ...]]:
        """Readings of a data area of ASCII text, and what is irregular about it."""
        tokens = area.translate(_SEPARATORS).decode("ascii").split(";")
        keys = tokens[::2]
        form = area.translate(None, _REST)
        shape: _Shape | None = self._recent.get(form)
        if shape is None or shape.keys != keys:
            shape = self._find(form, keys, area)
        if shape is None:
            return self.read_text(area.decode("ascii"))
        at = self._times.regular(tokens[1])
        tokens.append("")
        flags = shape.pick_flags(tokens)
        try:
            values = _numbers(f"[{','.join(shape.pick(tokens))}]")
        except msgspec.MsgspecError:
            return self.read_text(area.decode("ascii"))
        if (
            at is None
            or len(values) != len(shape.codes)
            or not _FLAGS.issuperset(flags)
            or flags.count("") != shape.bare
        ):
            return self.read_text(area.decode("ascii"))
        # Half the time of the named tuple's own constructor, and this runs for every frame.
        return tuple.__new__(Content, (shape.codes, shape.statistics, values, (), flags, at)), ()

    def _find(self, form: bytes, keys: list[str], area: bytes) -> _Shape | None:
        key = (form, tuple(keys))
        try:
            shape = self._shapes[key]
        except KeyError:
            if len(self._shapes) >= _SHAPES:
                self._shapes.clear()
                self._recent.clear()
            shape = None if form.translate(None, b",=;") else _shape(area.decode("ascii"), keys)
            self._shapes[key] = shape
        if shape is not None:
            self._recent[form] = shape
        return shape

    def read_text(self, text: str) -> tuple[Content, tuple[Deviation, ...]]:
        """The same for any text, tolerantly."""
        clean = CONTROL.sub("", text)
        items, deviations = split_items(clean)
        if clean != text:
            deviations.append(Deviation("control_characters", f"{len(text) - len(clean)} control characters left out"))
        return _content(items, deviations, self._times)


def _shape(text: str, keys: list[str]) -> _Shape | None:
    """What a regular data area's keys mean; None where it is irregular or holds something else than numbers."""
    items, deviations = split_items(text)
    if deviations or not items or items[0][0] != "DataTime":
        return None
    codes: list[str] = []
    statistics: list[str] = []
    places: list[int] = []
    flags: dict[str, int] = {}
    seen: set[str] = set()
    for number, (name, _) in enumerate(items):
        if name in seen:
            return None
        seen.add(name)
        found = _KEY.fullmatch(name)
        if found is None:
            if number:
                return None
            continue
        suffix = found[2]
        if SUFFIXES.get(suffix.lower()) != suffix or suffix in _TEXT:
            return None
        if suffix == "Flag":
            flags[found[1]] = 2 * number + 1
        elif suffix not in _NO_READING:
            codes.append(found[1])
            statistics.append(suffix.lower())
            places.append(2 * number + 1)
    if not places or not flags.keys() <= set(codes):
        return None
    flagged = [flags.get(code, -1) for code in codes]  # -1: the empty text that the reader appends
    return _Shape(keys, tuple(codes), tuple(statistics), flagged.count(-1), _picker(places), _picker(flagged))


def _picker(places: list[int]) -> Callable[[list[str]], tuple[str, ...]]:
    if len(places) > 1:
        return itemgetter(*places)
    place = places[0]
    return lambda tokens: (tokens[place],)


def split_items(text: str) -> tuple[list[tuple[str, str]], list[Deviation]]:
    """All `key=value` of a data area in order, and what is irregular about its form."""
    items: list[tuple[str, str]] = []
    deviations: list[Deviation] = []
    if not text:
        return items, deviations
    pieces = re.split(r"[;,]", text)
    if not pieces[-1] and len(pieces) > 1:
        pieces.pop()
        deviations.append(Deviation("separator_at_end", f"the data area ends in {text[-1]!r}"))
    for piece in pieces:
        name, equals, value = piece.partition("=")
        if not equals:
            if items and items[-1][0].endswith("-Info"):
                items[-1] = (items[-1][0], f"{items[-1][1]},{piece}")  # free text may hold the separators
            elif piece.strip():
                deviations.append(Deviation("item_without_value", f"{piece[:60]!r} has no ="))
            else:
                deviations.append(Deviation("item_empty", "two separators without an item between them"))
            continue
        if name != name.strip() or value != value.strip():
            deviations.append(Deviation("spaces", f"spaces around {name.strip()[:40]!r}"))
            name, value = name.strip(), value.strip()
        if not name:
            deviations.append(Deviation("item_without_name", f"={value[:40]!r}"))
            continue
        if "=" in value and not name.endswith("-Info"):
            deviations.append(Deviation("value_form", f"a second = in {piece[:60]!r}"))
        items.append((name, value))
    return items, deviations


def _content(
    items: list[tuple[str, str]], deviations: list[Deviation], times: Times
) -> tuple[Content, tuple[Deviation, ...]]:
    codes: list[str] = []
    statistics: list[str] = []
    values: list[float | None] = []
    texts: list[str | None] = []
    ats: list[int | None] = []
    flags: dict[tuple[str, int], str] = {}
    groups: list[int] = []
    seen: set[tuple[str, str, int | None]] = set()
    at: int | None = None
    group = 0
    for name, value in items:
        if name.lower() == "datatime":
            at, deviation = times.any(value)
            group += 1
            if name != "DataTime":
                deviations.append(Deviation("key_case", f"{name} for DataTime"))
            if deviation is not None:
                deviations.append(deviation)
            continue
        code, dash, suffix = name.rpartition("-")
        if not dash:
            continue
        known = SUFFIXES.get(suffix.lower())
        if known is None:
            deviations.append(Deviation("suffix_unknown", name[:60]))
            known = suffix
        elif known != suffix:
            deviations.append(Deviation("key_case", f"{name[:60]} for {code[:40]}-{known}"))
        if not re.fullmatch(r"[A-Za-z0-9]\w{0,31}", code):
            deviations.append(Deviation("code_form", f"{name[:60]!r} is no factor code"))
            continue
        if known == "Flag":
            flags[code, group] = _flag(code, value, deviations)
            continue
        if known in _NO_READING:
            continue
        if (code, known, at) in seen:
            deviations.append(Deviation("item_twice", f"{name[:60]} stands twice; the first counts"))
            continue
        seen.add((code, known, at))
        number, words = _value(value)
        if number is None and words is None:
            deviations.append(Deviation("value_empty", f"{name[:60]} has no value"))
            continue
        if words is not None and known not in _TEXT and not code.startswith("p"):
            deviations.append(Deviation("value_form", f"{name[:60]}={words[:40]!r} is no number"))
        codes.append(code)
        statistics.append(known.lower())
        values.append(number)
        texts.append(words)
        ats.append(at)
        groups.append(group)
    named = set(zip(codes, groups, strict=True))
    for code, number_of_group in flags:
        if (code, number_of_group) not in named:
            deviations.append(Deviation("flag_without_value", f"{code}-Flag without a value of {code}"))
    picked = [flags.get(key, "") for key in zip(codes, groups, strict=True)]
    single: int | list[int | None] | None = ats if group > 1 else at
    return Content(codes, statistics, values, texts, picked, single), tuple(deviations)


def _flag(code: str, value: str, deviations: list[Deviation]) -> str:
    if value in QUALITY:
        return value
    if value.upper() in QUALITY:
        deviations.append(Deviation("flag_case", f"{code}-Flag={value}"))
        return value.upper()
    deviations.append(Deviation("flag_unknown", f"{code}-Flag={value[:20]!r} is none of N F M S D C T B"))
    return ""


def _value(value: str) -> tuple[float | None, str | None]:
    if not value:
        return None, None
    if _NUMBER.fullmatch(value) and value.isascii():
        number = float(value)
        if isfinite(number):
            return number, None
    return None, value
