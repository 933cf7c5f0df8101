"""The night of a city: read every source, screen the newest day, tidy up; once, or every day at a set time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

from dianhuan_hub.app import Hub
from dianhuan_hub.intake import Summary
from dianhuan_hub.screening import RunReport
from dianhuan_hub.store import curve_days, newest_day
from dianhuan_sdk import LOCAL_ZONE, DianhuanError

log = logging.getLogger(__name__)

Say = Callable[[str], None]


@dataclass
class NightReport:
    """What a night did; `errors` names the step that did not work, and the others went on."""

    loads: list[Summary] = field(default_factory=list)
    screening: RunReport | None = None
    sealed: list[date] = field(default_factory=list)
    raw_dropped: int = 0
    errors: dict[str, DianhuanError] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "loads": [s.as_dict() for s in self.loads],
            "screening": self.screening.as_dict() if self.screening else None,
            "sealed": [d.isoformat() for d in self.sealed],
            "raw_dropped": self.raw_dropped,
            "errors": {step: e.as_dict() for step, e in self.errors.items()},
        }


async def run_night(hub: Hub, say: Say = lambda _: None) -> NightReport:
    """Run one night. A source that fails is reported and does not keep the city from being screened."""
    report = NightReport()
    for name in hub.config.sources:
        try:
            for source in await hub.sources(name):
                say(f"{name} {source.stream}")
                summary = await hub.intake.run(source)
                report.loads.append(summary)
                if summary.error is not None:
                    report.errors[f"{name} {source.stream}"] = summary.error
        except DianhuanError as error:
            report.errors[name] = error
    newest = newest_day(hub.store.engine)
    if newest is not None:
        say(f"screening {newest}")
        try:
            report.screening = await asyncio.to_thread(hub.screening.run, newest)
        except DianhuanError as error:
            report.errors["screening"] = error
        say("sealing old days")
        report.sealed = await asyncio.to_thread(seal_old_days, hub, newest)
    report.raw_dropped = hub.intake.drop_old_raw()
    return report


def seal_old_days(hub: Hub, newest: date) -> list[date]:
    """Move days older than `store.hot_days` before the newest one into the cold tier."""
    last = newest - timedelta(days=hub.config.store.hot_days)
    with hub.store.engine.cursor() as con:
        days = curve_days(con, last=last)
    for day in days:
        hub.store.cold.seal(day)
    return days


async def every_night(hub: Hub, at: time) -> None:
    """Run a night every day at a local time until cancelled; a night that fails is logged and the next one comes."""
    while True:
        await asyncio.sleep(seconds_until(hub.clock.now(), at))
        try:
            report = await run_night(hub)
        except Exception:
            log.exception("the night failed")
            continue
        for step, error in report.errors.items():
            log.error("night: %s: %s", step, error)


def seconds_until(now: datetime, at: time) -> float:
    """Seconds from an instant to the next time that the clock in `LOCAL_ZONE` shows `at`."""
    local = now.astimezone(LOCAL_ZONE)
    due = local.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
    if due <= local:
        due += timedelta(days=1)
    return (due - local).total_seconds()
