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
from dianhuan_hub.store import backup, curve_days, newest_day, recent_days, screened_days
from dianhuan_sdk import LOCAL_ZONE, DianhuanError

log = logging.getLogger(__name__)

Say = Callable[[str], None]

REACH = 14
"""Days back from the newest one that a night may still screen."""


@dataclass
class NightReport:
    """What a night did; `errors` names the step that did not work, and the others went on.

    `published` is the digest of the list that was fixed, `backup` where the copy lies.
    """

    loads: list[Summary] = field(default_factory=list)
    screenings: list[RunReport] = field(default_factory=list)
    sealed: list[date] = field(default_factory=list)
    raw_dropped: int = 0
    backup: str = ""
    published: str = ""
    errors: dict[str, DianhuanError] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "loads": [s.as_dict() for s in self.loads],
            "screenings": [run.as_dict() for run in self.screenings],
            "sealed": [d.isoformat() for d in self.sealed],
            "raw_dropped": self.raw_dropped,
            "backup": self.backup,
            "published": self.published,
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
    for day in days_to_screen(hub, {d for summary in report.loads for d in summary.days}):
        say(f"screening {day}")
        try:
            report.screenings.append(await asyncio.to_thread(hub.screening.run, day))
        except DianhuanError as error:
            report.errors[f"screening {day}"] = error
    newest = newest_day(hub.store.engine)
    if report.screenings:
        say("list")
        try:
            await asyncio.to_thread(hub.lists.learn)
            published = await asyncio.to_thread(hub.lists.publish, report.screenings[-1].day)
            report.published = published.sha256
        except DianhuanError as error:
            report.errors["list"] = error
    if newest is not None:
        say("sealing old days")
        try:
            report.sealed = await asyncio.to_thread(seal_old_days, hub, newest)
        except DianhuanError as error:
            report.errors["sealing"] = error
    report.raw_dropped = hub.intake.drop_old_raw()
    try:
        await asyncio.to_thread(hub.gateway.tidy)
    except DianhuanError as error:
        report.errors["readings"] = error
    if hub.config.store.backup_to is not None:
        say("backup")
        target = hub.config.file.parent / hub.config.store.backup_to / f"{hub.clock.today():%Y%m%d}"
        try:
            await asyncio.to_thread(backup, hub.store.engine, hub.config.data_dir, target, hub.clock.now())
            report.backup = str(target)
        except DianhuanError as error:
            report.errors["backup"] = error
    return report


def days_to_screen(hub: Hub, changed: set[date]) -> list[date]:
    """Days of the last fortnight that hold at least half of a usual day and were never screened, or have changed.

    A handful of rows for a day (a stray correction, a delivery that has only begun) is not a day of the city.
    """
    with hub.store.engine.cursor() as con:
        counts, screened = recent_days(con, REACH), screened_days(con)
    usual = max(counts.values(), default=0)
    return sorted(d for d, n in counts.items() if 2 * n >= usual and (d not in screened or d in changed))


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
