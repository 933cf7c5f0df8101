"""Channels of devices on site: latest values at once, and readings in buckets for plots."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

import strawberry

from dianhuan_hub.api._access import Right
from dianhuan_hub.api._context import Info
from dianhuan_hub.api._words import Problem, attempt, described
from dianhuan_sdk import InputError

MAX_BUCKETS = 2_000


@strawberry.type(description="Readings of one stretch of time.")
class ReadingBucket:
    at: datetime = strawberry.field(description="start, in the corrected time of the device")
    least: float
    mean: float
    greatest: float
    values: int = strawberry.field(description="readings in it")


@strawberry.type(description="Buckets in order of time; a stretch without any number is left out.")
class Readings:
    buckets: list[ReadingBucket]


ReadingsResult = Annotated[Readings | Problem, strawberry.union("ReadingsResult")]


@strawberry.type(description="One series of one device, with its latest value.")
class Channel:
    channel_id: str
    device_id: str
    protocol: str
    code: str = strawberry.field(description="the protocol's own code, e.g. d20405")
    statistic: str
    interval: str
    quantity: str | None
    unit: str | None
    role: str | None = strawberry.field(description="plant_total, production, treatment, combined, indirect")
    facility: str | None
    latest_at: datetime | None
    latest_value: float | None
    latest_text: str | None
    latest_quality: str | None = strawberry.field(description="the device's own mark, e.g. N, M, D, B")

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Channel:
        """From a stored row."""
        return cls(**{name: row[name] for name in cls.__annotations__})

    @described(f"Readings of [start, end) in buckets of so many minutes, at most {MAX_BUCKETS} of them.")
    async def readings(self, info: Info, start: datetime, end: datetime, minutes: int = 15) -> ReadingsResult:
        return await attempt(self._readings(info, start, end, minutes))

    async def _readings(self, info: Info, start: datetime, end: datetime, minutes: int) -> Readings:
        if start.tzinfo is None or end.tzinfo is None:
            raise InputError("an instant without a zone", expected="e.g. 2026-03-01T00:00:00+08:00")
        span = end - start
        if minutes < 1 or not 0 < span / timedelta(minutes=minutes) <= MAX_BUCKETS:
            raise InputError(
                f"{span} in buckets of {minutes} min", expected=f"1 … {MAX_BUCKETS} buckets of at least one minute"
            )
        reader = info.context.reader
        days = reader.hub.store.reading_days
        found = await reader.run(days.buckets, [self.channel_id], start, end, timedelta(minutes=minutes))
        columns = ("at", "least", "mean", "greatest", "values")
        return Readings(buckets=[ReadingBucket(**{c: row[c] for c in columns}) for row in found.to_pylist()])


@strawberry.type(description="Channels in order of their ids.")
class Channels:
    nodes: list[Channel]


ChannelsResult = Annotated[Channels | Problem, strawberry.union("ChannelsResult")]


async def channels_of(info: Info, entity_id: str) -> list[Channel]:
    """Channels of an enterprise that has been read in scope before."""
    reader = info.context.reader
    reader.grant.need(Right.CURVES)
    await reader.audit("read channels", entity_id)
    return [Channel.of(row) for row in await reader.run(reader.hub.store.readings.of_entity, entity_id)]
