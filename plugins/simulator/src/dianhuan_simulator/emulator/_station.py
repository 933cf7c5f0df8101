"""A logger on site: sends its samples, waits for the answer, sends again, obeys the centre."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
from collections import OrderedDict
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

from dianhuan_sdk import LOCAL_ZONE
from dianhuan_simulator.emulator import _hj212 as hj212
from dianhuan_simulator.emulator._devices import DeviceSpec
from dianhuan_simulator.emulator._feed import Feed, SimClock

MOST_WAITING = 10_000
"""Messages that a logger keeps while nobody acknowledges them; then the oldest is lost."""

_GAS = {"a": "31", "w": "32"}
_HEARTBEAT = 5
_JUMP = timedelta(hours=1)


@dataclass(slots=True)
class Tally:
    """Counts of a run. A message is one sample of one station, whatever number of packets it takes.

    `sent` counts messages that were made, also where nobody listened; each ends as acknowledged, unacknowledged or
    lost (its buffer was full). `resent` counts further attempts, `backfilled` and `history` messages made afterwards.
    For meters, `polls` are requests and `sent` the answers with values.
    """

    sent: int = 0
    acknowledged: int = 0
    unacknowledged: int = 0
    resent: int = 0
    backfilled: int = 0
    lost: int = 0
    frames: int = 0
    commands: int = 0
    history: int = 0
    connects: int = 0
    refused: int = 0
    polls: int = 0

    def as_dict(self) -> dict[str, int]:
        """For JSON."""
        return asdict(self)


@dataclass(slots=True)
class Waiting:
    """A message that waits for a 9014 to each of its packets."""

    minute: int
    st: str
    items: list[str]
    due: float
    tries: int = 0
    answers: int = 1


@dataclass(slots=True)
class Patience:
    """How long a logger waits for an answer, seconds, and how often it sends again (1000 changes both)."""

    timeout: float = 10.0
    resends: int = 3


@dataclass(slots=True)
class Station:
    """One logger. `run` returns at the end of the run, or when cancelled.

    Args:
        spec: who it is.
        feed: what it reads.
        clock: simulated time.
        host, port: of the centre.
        tally: counts, shared by all stations.
        patience: time-out and number of resends.
    """

    spec: DeviceSpec
    feed: Feed
    clock: SimClock
    host: str
    port: int
    tally: Tally
    patience: Patience = field(default_factory=Patience)
    waiting: OrderedDict[str, Waiting] = field(default_factory=OrderedDict)
    _header: hj212.Header = field(init=False)
    _ahead: timedelta = field(init=False)
    _writer: asyncio.StreamWriter | None = None
    _every: int = 1
    _streams: bool = True
    _last_qn: datetime = field(default=datetime(1970, 1, 1, tzinfo=LOCAL_ZONE))
    _chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._header = hj212.Header(self.spec.address, self.spec.edition, key=self.spec.key)
        self._ahead = timedelta(minutes=self.spec.ahead)
        self._chance = random.Random(self.spec.device_id)

    # -- the run -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Send every minute's sample of the run, then wait for what is not acknowledged."""
        listener = asyncio.create_task(self._stay_connected())
        try:
            phase = self._chance.random() * 0.8
            for minute in range(self.feed.first, self.feed.last):
                await self.clock.until(minute + 1 + phase)
                for start, end, arrives in self.feed.losses(self.spec.plant):
                    if arrives == minute:
                        await self._backfill(start, min(end, self.feed.last))
                if self._silent(minute):
                    self._hang_up()
                elif self._streams and minute % self._every == 0:
                    await self._send_sample(minute)
                if self.spec.edition == 2025 and minute % _HEARTBEAT == 0 and not self._silent(minute):
                    await self._write(hj212.message(self._header, "9015", "91", self._qn(), [""]))
                await self._send_again()
            await self._settle()
        finally:
            listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listener
            self._hang_up()
            self.tally.unacknowledged += len(self.waiting)

    async def _settle(self) -> None:
        """Wait for the last answers, and send again what is due."""
        loop = asyncio.get_running_loop()
        limit = loop.time() + self.patience.timeout * (self.patience.resends + 1)
        while self.waiting and loop.time() < limit:
            await self._send_again()
            if all(w.tries >= self.patience.resends and w.due <= loop.time() for w in self.waiting.values()):
                return
            await asyncio.sleep(min(0.2, self.patience.timeout / 4))

    def _silent(self, minute: int) -> bool:
        return any(start <= minute < end for start, end, _ in self.feed.losses(self.spec.plant))

    # -- sending -------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """What the logger's clock shows."""
        return self.clock.now() + self._ahead

    def _qn(self) -> str:
        """A number that was not used before."""
        self._last_qn = max(self.now(), self._last_qn + timedelta(milliseconds=1))
        return hj212.number(self._last_qn)

    def _messages(self, minute: int) -> list[tuple[str, list[str]]]:
        """(ST, items) of what is sent for a minute of the run: electricity, and concentrations under their own ST."""
        stamp = self.feed.world.instant(minute) + self._ahead
        by_st: dict[str, list[str]] = {}
        # Samples stand by the clock that the device started with.
        for channel, value in self.feed.sample(self.spec, minute + self.spec.ahead):
            st = "44" if self.spec.edition == 2025 else "32"
            if channel.quantity == "concentration":
                st = _GAS[channel.code[0]]
            by_st.setdefault(st, []).append(f"{channel.code}-Rtd={value},{channel.code}-Flag=N")
        return [(st, [f"DataTime={hj212.digits(stamp)}", *items]) for st, items in by_st.items()]

    async def _send_sample(self, minute: int, *, backfill: bool = False) -> int:
        count = 0
        for st, items in self._messages(minute):
            if len(self.waiting) >= MOST_WAITING:
                self.waiting.popitem(last=False)
                self.tally.lost += 1
            qn = self._qn()
            entry = Waiting(minute, st, items, asyncio.get_running_loop().time() + self.patience.timeout)
            self.waiting[qn] = entry
            self.tally.sent += 1
            await self._transmit(qn, entry, resent=backfill)
            count += 1
        return count

    async def _transmit(self, qn: str, entry: Waiting, *, resent: bool) -> None:
        encrypt = self._header.key is not None
        frames = hj212.message(self._header, "2011", entry.st, qn, entry.items, encrypt=encrypt, resent=resent)
        entry.answers = len(frames)
        await self._write(frames)

    async def _send_again(self) -> None:
        if self._writer is None:
            return
        now = asyncio.get_running_loop().time()
        for qn, entry in list(self.waiting.items()):
            if entry.due <= now and entry.tries < self.patience.resends and qn in self.waiting:
                entry.tries += 1
                entry.due = now + self.patience.timeout
                self.tally.resent += 1
                await self._transmit(qn, entry, resent=True)

    async def _backfill(self, start: int, end: int) -> None:
        for minute in range(max(start, self.feed.first), end):
            self.tally.backfilled += await self._send_sample(minute, backfill=True)

    async def _write(self, frames: list[bytes]) -> None:
        writer = self._writer
        if writer is None:
            return
        try:
            for frame in frames:
                self.tally.frames += 1
                at = 0
                while at < len(frame):
                    size = self._chance.randint(1, 200) if self.spec.chunked else len(frame)
                    writer.write(frame[at : at + size])
                    at += size
                    await writer.drain()
        except (ConnectionError, OSError):
            self._hang_up()

    # -- the connection --------------------------------------------------------------------------------------------

    def _hang_up(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def _stay_connected(self) -> None:
        pause = 0.2
        while True:
            if self._silent(int(self.clock.minutes()) - 1):
                await asyncio.sleep(0.2)
                continue
            try:
                reader, writer = await asyncio.open_connection(self.host, self.port)
            except OSError:
                self.tally.refused += 1
                await asyncio.sleep(pause)
                pause = min(2 * pause, 10.0)
                continue
            pause = 0.2
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._writer = writer
            self.tally.connects += 1
            # What was sent into a connection that died is due at once, and may be tried anew.
            for entry in self.waiting.values():
                entry.due, entry.tries = 0.0, 0
            try:
                await self._listen(reader)
            finally:
                self._hang_up()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        inbox = hj212.Inbox()
        with contextlib.suppress(ConnectionError, OSError):
            while data := await reader.read(65536):
                for got in inbox.feed(data, self._header.key):
                    if got.valid:
                        await self._take(got)

    # -- what the centre says --------------------------------------------------------------------------------------

    async def _take(self, got: hj212.Received) -> None:
        cn = got.fields.get("CN", "")
        if cn == "9014":
            entry = self.waiting.get(got.qn)
            if entry is not None:
                entry.answers -= 1
                if entry.answers == 0:
                    del self.waiting[got.qn]
                    self.tally.acknowledged += 1
            return
        if cn.startswith("90") or got.fields.get("MN") != self.spec.address:
            return
        self.tally.commands += 1
        flag = _number(got.fields.get("Flag"))
        wanted = flag is None or flag & 1 == 1
        if cn in ("2012", "2022"):
            self._streams = self._streams and cn != "2012"
            if wanted:
                await self._write([hj212.response(self._header, "9013", got.qn)])
            return
        right = got.fields.get("PW") == self._header.password
        if wanted:
            await self._write([hj212.response(self._header, "9011", got.qn, [f"QnRtn={1 if right else 3}"])])
        if right:
            result = await self._obey(cn, got)
            if result is not None and wanted:
                await self._write([hj212.response(self._header, "9012", got.qn, [f"ExeRtn={result}"])])

    async def _obey(self, cn: str, got: hj212.Received) -> int | None:
        """Carry a command out; the ExeRtn, None where 9011 is all that is due."""
        items = got.items
        seconds, count = _number(items.get("OverTime")), _number(items.get("ReCount"))
        if cn == "1000" and seconds is not None and count is not None:
            self.patience = Patience(max(1.0, float(seconds)), count)
            return 1
        if cn == "1011":
            await self._write(
                hj212.message(
                    self._header, "1011", "91", got.qn, [f"SystemTime={hj212.digits(self.now())}"], answer=False
                )
            )
            return 1
        if cn == "1012":
            return self._set_clock(items.get("SystemTime", ""))
        interval = _number(items.get("RtdInterval"))
        if cn == "1062" and interval is not None:
            self._every = max(1, interval // 60)
            return 1
        if cn in ("1064", "1002"):
            return 1
        if cn == "1072" and len(items.get("NewPW", "")) == 6:
            self._header = self._header._replace(password=items["NewPW"])
            return 1
        if cn == "1014" and self._header.key is not None:
            with contextlib.suppress(ValueError):
                key = bytes.fromhex(items.get("NewSK", ""))
                if len(key) == 16:
                    await self._write([hj212.response(self._header, "9012", got.qn, ["ExeRtn=1"])])
                    self._header = self._header._replace(key=key)
                    return None
            return 2
        if cn == "2011":
            if "BeginTime" in items:
                return await self._history(items.get("BeginTime", ""), items.get("EndTime", ""))
            self._streams = True
            return None
        return 2

    def _set_clock(self, text: str) -> int:
        told = hj212.instant(text)
        if told is None:
            return 2
        # A logger takes no jump of more than an hour; with a run that is faster than time its own clock counts.
        if self.clock.speed == 1 and abs(told - self.now()) < _JUMP:
            self._ahead = told - self.clock.now()
        elif self.spec.ahead and self.clock.speed != 1:
            self._ahead = timedelta()
        return 1

    async def _history(self, begin: str, end: str) -> int:
        first, last = hj212.instant(begin), hj212.instant(end)
        if first is None or last is None or last < first:
            return 2
        zero = self.feed.world.instant(0) + self._ahead
        found = 0
        minutes = range(
            max(0, -int((zero - first).total_seconds() // 60)), int((last - zero).total_seconds() // 60) + 1
        )
        limit = min(int(self.clock.minutes()), self.feed.last)
        for minute in minutes:
            if minute >= limit:
                break
            if self.feed.has(minute) and not self._never_kept(minute):
                found += await self._send_sample(minute, backfill=True)
        self.tally.history += found
        return 1 if found else 100

    def _never_kept(self, minute: int) -> bool:
        return any(a < 0 and start <= minute < end for start, end, a in self.feed.losses(self.spec.plant))


def _number(text: str | None) -> int | None:
    """The number of up to five digits; None where it is none."""
    return int(text) if text is not None and re.fullmatch("[0-9]{1,5}", text) else None
