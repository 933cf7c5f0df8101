"""Gateways that publish JSON over MQTT 3.1.1 with QoS 1: a message counts as acknowledged at its PUBACK."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from dianhuan_simulator.emulator._devices import DeviceSpec
from dianhuan_simulator.emulator._feed import Feed, SimClock
from dianhuan_simulator.emulator._station import Tally

MAPPING = {
    "topic": "plants/+/up",
    "device": "{1}",
    "time": {"path": "ts", "form": "epoch_ms"},
    "points": {"path": "points", "code": "code", "value": "value"},
}
"""How a hub reads these messages: one topic rule of its MQTT mapping."""


class Publisher:
    """One gateway; samples that the broker has not taken are kept and published again after a new connection."""

    def __init__(self, spec: DeviceSpec, feed: Feed, clock: SimClock, host: str, port: int, tally: Tally) -> None:
        self.spec, self._feed, self._clock = spec, feed, clock
        self._host, self._port, self._tally = host, port, tally
        self._kept: list[int] = []
        self._next = feed.first

    async def run(self) -> None:
        """Publish every minute's sample of the run."""
        import aiomqtt

        pause = 0.2
        try:
            while self._next < self._feed.last or self._kept:
                try:
                    async with aiomqtt.Client(self._host, self._port, identifier=self.spec.device_id) as client:
                        self._tally.connects += 1
                        pause = 0.2
                        await self._publish(client)
                except aiomqtt.MqttError:
                    self._tally.refused += 1
                    if self._next >= self._feed.last and pause > 5:
                        return
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, 10.0)
        finally:
            self._tally.unacknowledged += len(self._kept)

    async def _publish(self, client: Any) -> None:
        for minute in list(self._kept):
            await self._one(client, minute, again=True)
        while self._next < self._feed.last:
            await self._clock.until(self._next + 1)
            minute, self._next = self._next, self._next + 1
            for start, end, arrives in self._feed.losses(self.spec.plant):
                if arrives == minute:
                    for late in range(max(start, self._feed.first), min(end, self._feed.last)):
                        self._tally.backfilled += await self._one(client, late)
            if not any(start <= minute < end for start, end, _ in self._feed.losses(self.spec.plant)):
                await self._one(client, minute)

    async def _one(self, client: Any, minute: int, *, again: bool = False) -> bool:
        points = [{"code": c.code, "value": v} for c, v in self._feed.sample(self.spec, minute)]
        if not points:
            return False
        if again:
            self._tally.resent += 1
        else:
            self._tally.sent += 1
            self._kept.append(minute)
        stamp = round(self._feed.world.instant(minute).timestamp() * 1000)
        await client.publish(self.spec.address, json.dumps({"ts": stamp, "points": points}), qos=1)
        self._tally.frames += 1
        with contextlib.suppress(ValueError):
            self._kept.remove(minute)
        self._tally.acknowledged += 1
        return True
