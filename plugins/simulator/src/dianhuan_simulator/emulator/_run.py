"""Runs the devices of emulated plants against a hub for some simulated hours, and writes what is true."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from dianhuan_sdk import LOCAL_ZONE, InputError
from dianhuan_simulator._protocols import Protocol
from dianhuan_simulator.emulator._devices import DeviceSpec, devices
from dianhuan_simulator.emulator._feed import Feed, SimClock
from dianhuan_simulator.emulator._meters import Dlt645Line, ModbusLine
from dianhuan_simulator.emulator._mqtt import Publisher
from dianhuan_simulator.emulator._shifts import DAY
from dianhuan_simulator.emulator._station import Patience, Station, Tally
from dianhuan_simulator.emulator.world import Emulation

MOST_HOURS = 168


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What a person chooses.

    Args:
        plants: how many.
        hours: simulated length.
        speed: simulated seconds in a second.
        host, port: the hub's, or for meters the address to listen on.
        protocol: what the devices speak.
        seed: of the plants.
        offenders: share of offending plants.
        timeout: seconds that a logger waits for an answer.
        start: instant of the first minute, aware; None: so that the run's last minute is the present one.
    """

    plants: int = 300
    hours: float = 1.0
    speed: float = 60.0
    host: str = "127.0.0.1"
    port: int = 9212
    protocol: Protocol = Protocol.mixed
    seed: int = 1
    offenders: float = 0.05
    timeout: float = 10.0
    start: datetime | None = None


class Run:
    """One run: its plants, its devices, its counts.

    Raises:
        InputError: the choices cannot be met; the message says which.
    """

    def __init__(self, config: RunConfig) -> None:
        if not 0 < config.hours <= MOST_HOURS or config.speed <= 0:
            raise InputError(
                f"{config.hours} hours at speed {config.speed}", expected=f"up to {MOST_HOURS} hours, a speed above 0"
            )
        self.config = config
        length = max(1, round(config.hours * 60))
        now = (config.start or datetime.now(LOCAL_ZONE) - timedelta(minutes=length)).astimezone(LOCAL_ZONE)
        self.first = now.hour * 60 + now.minute
        self.last = self.first + length
        days = -(-(self.last + 10) // DAY)
        self.world = Emulation(config.plants, days, config.seed, config.offenders, start=now.date())
        self.specs: list[DeviceSpec] = devices(self.world, config.protocol)
        self.tally = Tally()
        self.clock: SimClock | None = None
        self._stop = asyncio.Event()

    def write_truth(self, path: Path) -> int:
        """Write the stories that this run touches as JSON lines; their number."""
        rows = [row for row in self.world.truth().to_pylist() if row["start"] < self.last and self.first < row["end"]]
        with path.open("w", encoding="utf-8") as out:
            for row in rows:
                row |= {k: row[k].isoformat() for k in ("starts_at", "ends_at")}
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
        return len(rows)

    def stop(self) -> None:
        """End the run soon: devices hang up, counts stay."""
        self._stop.set()

    async def run(self, progress: Callable[[float, Tally], None]) -> None:
        """Run to the end, or until `stop` or SIGINT.

        Args:
            progress: called about twice a second with the share of the run that has passed.
        """
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(signal.SIGINT, self.stop)
        try:
            feed = await asyncio.to_thread(Feed, self.world, self.first, self.last)
            self.clock = SimClock(self.world.instant(self.first), self.first, self.config.speed)
            work = asyncio.ensure_future(self._work(feed, self.clock))
            stop = asyncio.ensure_future(self._stop.wait())
            while not work.done() and not stop.done():
                await asyncio.wait({work, stop}, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
                passed = (self.clock.minutes() - self.first) / (self.last - self.first)
                progress(min(1.0, passed), self.tally)
            stop.cancel()
            if not work.done():
                work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
        finally:
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.remove_signal_handler(signal.SIGINT)

    async def _work(self, feed: Feed, clock: SimClock) -> None:
        c = self.config
        if c.protocol is Protocol.dlt645:
            line = Dlt645Line(self.specs, feed, clock, self.tally)
            server = await line.serve(c.host, c.port)
            try:
                await clock.until(self.last)
            finally:
                server.close()
                line.hang_up()
        elif c.protocol is Protocol.modbus:
            units = ModbusLine(self.specs, feed, clock, self.tally)
            await units.serve(c.host, c.port)
            try:
                await clock.until(self.last)
            finally:
                await units.close()
        else:
            await self._speak(feed, clock)

    async def _speak(self, feed: Feed, clock: SimClock) -> None:
        c = self.config
        runs: list[Any] = []
        for spec in self.specs:
            if spec.protocol == "mqtt":
                runs.append(Publisher(spec, feed, clock, c.host, c.port, self.tally).run())
            else:
                patience = Patience(c.timeout)
                runs.append(Station(spec, feed, clock, c.host, c.port, self.tally, patience).run())
        async with asyncio.TaskGroup() as group:
            for one in runs:
                group.create_task(one)
