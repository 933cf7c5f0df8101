"""From JSON payloads to readings, by a mapping that is data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dianhuan_sdk import LOCAL_ZONE, Deviation, Reading

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MISSING = object()


class TimeRule(BaseModel):
    """Where a payload states its time: a path, and its form (`local` is civil time without an offset)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str
    form: Literal["epoch_s", "epoch_ms", "iso", "local"] = "epoch_ms"


class ReadingRule(BaseModel):
    """One quantity of a payload.

    Args:
        path: where its value stands, keys joined by dots, numbers for places in a list.
        code: code of the channel.
        scale: the number × scale gives the unit.
        quality: path of a data flag (N F M S D C T B), or empty.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str
    code: str = Field(pattern=r"^[A-Za-z]\w{0,31}$")
    zh: str = ""
    quantity: str = "other"
    unit: str = ""
    phase: str = ""
    role: str = ""
    facility: str = ""
    scale: float = 1.0
    quality: str = ""


class ListRule(BaseModel):
    """A list of points, each with its own code and value, e.g. `[{"name": "ia", "value": 1.2}, …]`.

    Args:
        path: where the list stands, empty for the payload itself.
        code, value: paths inside a point.
        time: path of a point's own time, in the form of the mapping's time rule; empty for the payload's time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str
    code: str
    value: str
    time: str = ""
    most: int = Field(default=1000, gt=0)


class TopicRule(BaseModel):
    """One kind of message.

    Args:
        topic: filter with `+` and `#` as in MQTT.
        device: address of the device: text with `{1}`, `{2}` … for levels of the topic and `{path}` for values of
            the payload.
        time: where the time stands; None: the instant of reception counts.
        readings: quantities at fixed places. With `points`, what their codes mean.
        points: a list of points.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    topic: str
    device: str
    time: TimeRule | None = None
    readings: tuple[ReadingRule, ...] = ()
    points: ListRule | None = None

    @model_validator(mode="after")
    def _some_content(self) -> TopicRule:
        if not self.readings and self.points is None:
            raise ValueError("a topic needs readings or points")
        return self

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The topic filter as a regular expression over whole topics."""
        parts = []
        for level in self.topic.split("/"):
            parts.append("[^/]*" if level == "+" else ".*" if level == "#" else re.escape(level))
        text = "/".join(parts)
        return re.compile(text.removesuffix("/.*") + "(?:/.*)?" if text.endswith("/.*") else text, re.DOTALL)

    def address(self, topic: str, payload: Any) -> str:
        """The device's address, empty where a part of it is missing."""
        levels = topic.split("/")
        missing = False

        def fill(found: re.Match[str]) -> str:
            nonlocal missing
            name = found[1]
            if name.isdigit() and 1 <= int(name) <= len(levels):
                return levels[int(name) - 1]
            value = find(payload, name)
            if isinstance(value, bool) or not isinstance(value, str | int):
                missing = True
                return ""
            return str(value)

        text = re.sub(r"\{([^{}]+)\}", fill, self.device)
        return "" if missing else text

    def read(self, payload: Any) -> Iterator[Reading | Deviation]:
        """Readings of a payload and what is irregular about it."""
        at: datetime | None = None
        if self.time is not None:
            at = instant(find(payload, self.time.path), self.time.form)
            if at is None:
                yield Deviation("time_invalid", f"no time of form {self.time.form} at {self.time.path}")
                return
        if self.points is not None:
            yield from self._points(payload, at)
            return
        for rule in self.readings:
            value = find(payload, rule.path)
            if value is _MISSING or value is None:
                yield Deviation("value_missing", f"nothing at {rule.path}")
                continue
            flag = find(payload, rule.quality) if rule.quality else ""
            yield _reading(rule.code, rule, value, at, flag if flag in tuple("NFMSDCTB") else "")

    def _points(self, payload: Any, at: datetime | None) -> Iterator[Reading | Deviation]:
        rule = self.points
        assert rule is not None
        points = find(payload, rule.path) if rule.path else payload
        if not isinstance(points, list):
            yield Deviation("value_missing", f"no list at {rule.path or 'the payload'}")
            return
        if len(points) > rule.most:
            yield Deviation("points_too_many", f"{len(points)} points, read {rule.most}")
        known = {r.code: r for r in self.readings}
        for point in points[: rule.most]:
            code, value = find(point, rule.code), find(point, rule.value)
            if not isinstance(code, str) or not re.fullmatch(r"[A-Za-z]\w{0,31}", code):
                yield Deviation("code_form", f"{str(code)[:40]!r} is no code")
                continue
            if value is _MISSING or value is None:
                yield Deviation("value_missing", f"{code} has no value")
                continue
            own = at
            if rule.time:
                own = instant(find(point, rule.time), self.time.form if self.time is not None else "epoch_ms")
                if own is None:
                    yield Deviation("time_invalid", f"{code} has no time at {rule.time}")
                    continue
            yield _reading(code, known.get(code), value, own, "")


def _reading(code: str, rule: ReadingRule | None, value: Any, at: datetime | None, flag: Any) -> Reading | Deviation:
    unit, scale = (rule.unit, rule.scale) if rule is not None else ("", 1.0)
    if isinstance(value, bool):
        return Reading(code, "rs", "moment", at, float(value), None, "", flag)
    number: float | None = None
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            number = None
    elif isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,30}(\.\d{1,30})?", value, re.ASCII):
        number = float(value)
    if number is None:
        return Deviation("value_form", f"{code}={str(value)[:40]!r} is no number")
    return Reading(code, "rtd", "moment", at, number if scale == 1.0 else round(number * scale, 9), None, unit, flag)


def find(payload: Any, path: str) -> Any:
    """The value at a path; a marker of its own where there is none."""
    for key in path.split("."):
        if isinstance(payload, Mapping) and key in payload:
            payload = payload[key]
        elif isinstance(payload, list) and key.isdigit() and len(key) < 7 and int(key) < len(payload):
            payload = payload[int(key)]
        else:
            return _MISSING
    return payload


def instant(value: Any, form: str) -> datetime | None:
    """Aware UTC instant of a payload's time, or None where it is none."""
    try:
        if form in ("epoch_s", "epoch_ms"):
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                return None
            number = float(value)
            return _EPOCH + timedelta(seconds=number if form == "epoch_s" else number / 1000)
        if not isinstance(value, str):
            return None
        at = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        return None
    if form == "local" or at.tzinfo is None:
        if form == "iso":
            return None
        at = at.replace(tzinfo=LOCAL_ZONE)
    return at.astimezone(UTC)
