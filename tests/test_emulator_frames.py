"""Emulated devices against the hub's codecs, over real sockets: two independent readings of the same standards."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dianhuan_devices.dlt645 import Dlt645Codec, Dlt645Config
from dianhuan_devices.hj212 import Centre, Hj212Codec, Hj212Config, Hj212Frame, Sm4, Station, answer_to
from dianhuan_devices.modbus import ModbusCodec, ModbusConfig
from dianhuan_sdk import Deviation, Device, Due, Secret
from dianhuan_simulator._protocols import Protocol
from dianhuan_simulator.emulator import _hj212 as plant_side
from dianhuan_simulator.emulator._devices import PROFILES, DeviceSpec, devices
from dianhuan_simulator.emulator._feed import Feed
from dianhuan_simulator.emulator._registry import channel_rows, device_rows, link_rows
from dianhuan_simulator.emulator._run import Run, RunConfig
from dianhuan_simulator.emulator.world import Emulation

MN = "010000A8900016F000169DC0"
START = datetime(2026, 3, 3, 2, 0, tzinfo=UTC)  # 10:00 in China


@pytest.fixture(scope="session")
def vectors() -> dict[str, Any]:
    path = Path(__file__).parents[1] / "plugins/devices/tests/data/vectors_2025.json"
    loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return loaded


def test_check_sum_of_the_standards_example():
    fields = [("QN", "20160801085857223"), ("ST", "32"), ("CN", "1062"), ("PW", "100000"), ("MN", MN), ("Flag", "5")]
    frame = plant_side.seal(fields, b"RtdInterval=30")
    assert frame.endswith(b"&&1C80\r\n")
    assert frame.startswith(b"##0101QN=")


@pytest.mark.parametrize("name", ["sm4_A2_whole_groups", "sm4_A2_plain_tail"])
def test_cipher_vectors_of_2025(vectors, name):
    vector = vectors[name]
    plain = vector["plain_frame"].encode()
    head, _, rest = plain.partition(b"CP=&&")
    area = rest[: rest.rindex(b"&&")]
    fields = [tuple(pair.split("=")) for pair in head[6:].decode().rstrip(";").split(";")]
    assert plant_side.seal(fields, area) == plain
    key = bytes.fromhex(vector["key_hex"])
    sent = plant_side.seal(fields, area, key)
    cipher = bytes.fromhex(vector["data_area_encrypted_hex"]) + vector["plain_tail"].encode()
    assert sent == head + b"CP=&&" + cipher + plain[len(head) + 5 + len(area) :]
    (got,) = plant_side.Inbox().feed(sent, key)
    assert got.valid
    assert got.items["DataTime"] == "20240520210600"


class Hub:
    """A centre made of the hub's codec: answers 9014 where `acknowledges` says so."""

    def __init__(self, specs: list[DeviceSpec]) -> None:
        known = {
            row["address"]: Device(
                row["device_id"],
                row["address"],
                profile=row["profile"],
                keys=(Secret(row["key_hex"]),) if row["key_hex"] else (),
            )
            for row in device_rows(specs)
        }
        self.directory: Callable[[str], Device | None] = known.get
        self.frames: list[Hj212Frame] = []
        self.deviations: list[Deviation] = []
        self.acknowledges: Callable[[Hj212Frame], bool] = lambda frame: True
        self.writers: dict[str, asyncio.StreamWriter] = {}
        self.on_first: Callable[[Hj212Frame], list[bytes]] = lambda frame: []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        codec = Hj212Codec(Hj212Config(), self.directory)
        try:
            while data := await reader.read(65536):
                for found in codec.feed(data):
                    if isinstance(found, Deviation):
                        self.deviations.append(found)
                        continue
                    mn = found.header.mn
                    if mn not in self.writers:
                        writer.writelines(self.on_first(found))
                    self.writers[mn] = writer
                    self.frames.append(found)
                    self.deviations += found.deviations
                    answer = codec.reply(found)
                    if answer is not None and self.acknowledges(found):
                        writer.write(answer)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self.talk, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]

    def of(self, cn: str) -> list[Hj212Frame]:
        return [f for f in self.frames if f.header.cn == cn]


def _leave_alone(run: Run) -> None:
    """Nothing to prepare."""


async def _run(
    hub_of: Callable[[Run], Hub], prepare: Callable[[Run], None] = _leave_alone, **choices: Any
) -> tuple[Run, Hub]:
    """A run against a hub on loopback."""
    run = Run(RunConfig(**{"hours": 0.1, "speed": 480.0, "timeout": 0.5, "start": START, "plants": 12, **choices}))
    hub = hub_of(run)
    prepare(run)
    async with hub.listen() as port:
        run.config = replace(run.config, port=port)
        await run.run(lambda passed, tally: None)
    return run, hub


@pytest.mark.parametrize("protocol", [Protocol.hj212_2017, Protocol.hj212_2005, Protocol.hj212_2025, Protocol.mixed])
async def test_frames_are_accepted_without_a_deviation(protocol):
    run, hub = await _run(lambda run: Hub(run.specs), protocol=protocol)
    assert hub.frames
    assert not hub.deviations, Counter(d.code for d in hub.deviations)
    assert all(f.valid for f in hub.frames)
    assert run.tally.sent == run.tally.acknowledged > 0
    assert run.tally.unacknowledged == run.tally.resent == 0
    feed = Feed(run.world, run.first, run.last)
    by_mn = {s.address: s for s in run.specs}
    expected = {
        (spec.channel_id(c), run.world.instant(minute + spec.ahead).timestamp()): value
        for spec in by_mn.values()
        for minute in range(run.first, run.last)
        if not any(a <= minute < b for a, b, _ in feed.losses(spec.plant))
        for c, value in feed.sample(spec, minute + spec.ahead)
    }
    seen = {
        (r.channel_id(f.device_id), r.at.timestamp()): r.value
        for f in hub.of("2011")
        for r in f.readings
        if r.at is not None
    }
    assert seen == expected


async def test_encrypted_stations_send_nothing_plain():
    run, hub = await _run(lambda run: Hub(run.specs), protocol=Protocol.hj212_2025, plants=10)
    secret = {s.address for s in run.specs if s.key is not None}
    assert secret
    for frame in hub.of("2011"):
        assert (b"DataTime=" in frame.raw) == (frame.header.mn not in secret)


async def test_unacknowledged_messages_are_sent_again_and_then_counted():
    refused: Counter[str] = Counter()

    def hub_of(run: Run) -> Hub:
        hub = Hub(run.specs)
        deaf = {s.address for s in run.specs[:3]}

        def acknowledges(frame: Hj212Frame) -> bool:
            if frame.header.mn in deaf:
                return False
            refused[frame.header.qn + frame.header.mn] += 1
            return refused[frame.header.qn + frame.header.mn] > 1  # the first time it is not answered

        hub.acknowledges = acknowledges
        return hub

    run, hub = await _run(hub_of, protocol=Protocol.hj212_2025, hours=0.05, timeout=0.6)
    deaf = {s.address for s in run.specs[:3]}
    copies = Counter((f.header.mn, f.header.qn) for f in hub.of("2011"))
    assert copies
    # Three resends, or the second one is answered; on a busy machine an answer may come after one more, and the end
    # of the run before the last.
    assert max(count for (mn, _), count in copies.items() if mn in deaf) == 4
    assert all(2 <= count <= 4 for count in copies.values())
    assert run.tally.unacknowledged == sum(mn in deaf for mn, _ in copies) > 0
    assert run.tally.acknowledged == sum(mn not in deaf for mn, _ in copies) > 0
    assert run.tally.resent >= sum(copies.values()) - len(copies)  # what was sent at the very end may not arrive
    again = Counter((f.header.mn, f.header.qn, f.header.resent) for f in hub.of("2011"))
    assert all(again[mn, qn, False] == 1 for mn, qn in copies)  # RF=1 stands in all but the first
    assert not hub.deviations


async def test_commands_are_answered_and_history_is_sent():
    asked: set[str] = set()

    def hub_of(run: Run) -> Hub:
        hub = Hub(run.specs)

        def on_first(frame: Hj212Frame) -> list[bytes]:
            device = hub.directory(frame.header.mn)
            assert device is not None
            codec = Hj212Codec(Hj212Config(), hub.directory)
            hello = codec.plan(device, Due("hello", START))
            gap = codec.plan(
                device, Due("history", START + timedelta(hours=1), START, START + timedelta(minutes=1), "2011")
            )
            asked.add(frame.header.mn)
            key = device.keys[0].reveal() if device.keys else None
            centre = Centre(Station(device.address, edition=2025, key=Sm4(bytes.fromhex(key)) if key else None))
            return [*(r.data for r in hello), gap[0].data, centre.get_time(START + timedelta(minutes=2))]

        hub.on_first = on_first
        return hub

    run, hub = await _run(hub_of, protocol=Protocol.hj212_2025, plants=4, hours=0.15)
    assert not hub.deviations, Counter(d.code for d in hub.deviations)
    assert len(asked) == len(run.specs)
    for spec in run.specs:
        mine = [f for f in hub.frames if f.header.mn == spec.address]
        results = [f for f in mine if f.header.cn == "9012"]
        assert len([f for f in mine if f.header.cn == "9011"]) >= len(results) >= 5
        assert any(f.header.cn == "1011" for f in mine)
        zero = run.world.instant(run.first + spec.ahead)
        twice = Counter(
            r.at
            for f in mine
            if f.header.cn == "2011"
            for r in f.readings
            if r.code == spec.channels[0].code and r.at is not None and r.at <= zero + timedelta(minutes=1)
        )
        if spec.ahead == 0 and twice:
            assert max(twice.values()) >= 2  # once live, once from the history
    assert run.tally.commands >= 7 * len(run.specs)
    assert run.tally.history > 0
    assert run.tally.unacknowledged == 0


async def test_change_of_keys():
    new = "000102030405060708090A0B0C0D0E0F"
    changed: set[str] = set()

    def hub_of(run: Run) -> Hub:
        hub = Hub(run.specs)
        old = {s.address: s.key for s in run.specs if s.key is not None}
        plain = hub.directory

        def directory(mn: str) -> Device | None:
            device = plain(mn)
            if device is None or mn not in old:
                return device
            return Device(mn, mn, profile=device.profile, keys=(Secret(new), *device.keys))

        def on_first(frame: Hj212Frame) -> list[bytes]:
            key = old.get(frame.header.mn)
            if key is None:
                return []
            changed.add(frame.header.mn)
            return [Centre(Station(frame.header.mn, edition=2025, key=Sm4(key))).new_key(START, new)]

        hub.directory, hub.on_first = directory, on_first
        return hub

    run, hub = await _run(hub_of, protocol=Protocol.hj212_2025, plants=8, hours=0.1)
    assert changed
    last = {f.header.mn: f for f in hub.of("2011")}
    for mn in changed:
        assert not last[mn].deviations  # the last frames stand under the new key
        assert any(d.code == "key_previous" for f in hub.of("2011") if f.header.mn == mn for d in f.deviations)
    assert {d.code for d in hub.deviations} == {"key_previous"}
    assert run.tally.unacknowledged == 0


def _with_loss(run: Run, plant: int, start: int, end: int, arrives: int) -> None:
    from dianhuan_simulator.emulator._stories import Effect, Story

    plot = run.world.plots[0]
    plot.stories[:] = [s for s in plot.stories if s.plant != plant]
    effect = Effect("lost", plant, start, end, 1.0, arrives=arrives)
    plot.stories.append(Story(plant, "comm_loss_backfilled", "", start, end, effects=(effect,)))


async def test_loss_of_communication_is_back_filled():
    def prepare(run: Run) -> None:
        _with_loss(run, 0, run.first + 3, run.first + 8, run.first + 10)

    run, hub = await _run(lambda run: Hub(run.specs), prepare, protocol=Protocol.hj212_2025, plants=2, hours=0.25)
    mine = next(s for s in run.specs if s.plant == 0)
    minutes = [
        (f.readings[0].at - run.world.instant(run.first)) // timedelta(minutes=1)
        for f in hub.of("2011")
        if f.header.mn == mine.address and f.header.st == "44" and f.readings and f.readings[0].at
    ]
    live = minutes[: minutes.index(3)]
    assert {4, 5, 6, 7} <= set(minutes)
    assert not {3, 4, 5, 6, 7} & set(live)
    assert minutes.index(3) > minutes.index(8)  # what was kept comes after what is live again
    assert run.tally.backfilled > 0
    assert any(f.header.resent for f in hub.of("2011"))
    assert run.tally.unacknowledged == 0


async def test_hub_that_goes_away_gets_everything_after_it_comes_back():
    run = Run(RunConfig(plants=4, hours=0.2, speed=240.0, timeout=0.4, start=START, protocol=Protocol.hj212_2017))
    hub = Hub(run.specs)
    first = await asyncio.start_server(hub.talk, "127.0.0.1", 0)
    port = first.sockets[0].getsockname()[1]
    run.config = replace(run.config, port=port)
    work = asyncio.ensure_future(run.run(lambda passed, tally: None))
    while len(hub.frames) < 8:
        await asyncio.sleep(0.02)
    first.close()
    for writer in hub.writers.values():
        writer.transport.abort()
    await asyncio.sleep(0.8)
    second = await asyncio.start_server(hub.talk, "127.0.0.1", port)
    await work
    second.close()
    assert run.tally.connects > len(run.specs)
    assert run.tally.unacknowledged == 0
    got = {(f.header.mn, f.header.qn) for f in hub.of("2011")}
    assert len(got) == run.tally.sent == run.tally.acknowledged


def test_split_messages_are_joined():
    header = plant_side.Header(MN, 2017)
    items = ["DataTime=20260303100000", *(f"P{i}-Rtd={i}.125,P{i}-Flag=N" for i in range(1, 90))]
    frames = plant_side.message(header, "2011", "32", "20260303100001000", items)
    assert len(frames) > 1
    device = Device(MN, MN, profile=PROFILES["hj212-2017"])
    codec = Hj212Codec(Hj212Config(), lambda address: device)
    found = [f for piece in frames for f in codec.feed(piece)]
    assert not any(f.deviations for f in found)
    values = {r.code: r.value for f in found for r in f.readings}
    assert values == {f"P{i}": i + 0.125 for i in range(1, 90)}
    assert answer_to(found[0].header) is not None


# -- meters -----------------------------------------------------------------------------------------------------


async def _ask(port: int, codec: Any, device: Device) -> list[Any]:
    for _ in range(100):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            break
        except OSError:
            await asyncio.sleep(0.02)
    else:
        raise AssertionError("nobody listens")
    frames: list[Any] = []
    for request in codec.plan(device, Due("poll", START)):
        writer.write(request.data)
        codec.sent(request)
        before = len(frames)
        while len(frames) == before:
            frames += codec.feed(await asyncio.wait_for(reader.read(4096), 5))
    writer.close()
    return frames


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _line(protocol: Protocol) -> RunConfig:
    return RunConfig(plants=3, hours=0.5, speed=1.0, start=START, protocol=protocol, port=_free_port(), offenders=0)


async def test_dlt645_line_answers_the_hub():
    config = _line(Protocol.dlt645)
    run = Run(config)
    work = asyncio.ensure_future(run.run(lambda passed, tally: None))
    spec = run.specs[1]
    device = Device(spec.device_id, spec.address, options={"dis": ["02030000", "00010000", "02020100", "02800002"]})
    frames = await _ask(config.port, Dlt645Codec(Dlt645Config(), lambda address: device), device)
    run.stop()
    await work
    values = {r.code: r.value for f in frames for r in f.readings}
    feed = Feed(run.world, run.first, run.last)
    wanted = {c.code: feed.value(c, run.first) for c in spec.channels}
    assert values == pytest.approx(wanted)
    assert [d.code for f in frames for d in f.deviations] == ["refused"]  # the frequency is not among its data
    assert run.tally.polls == 4


async def test_modbus_line_answers_the_hub():
    pytest.importorskip("pymodbus")
    config = _line(Protocol.modbus)
    run = Run(config)
    work = asyncio.ensure_future(run.run(lambda passed, tally: None))
    spec = run.specs[2]
    device = Device(spec.device_id, spec.address, profile=PROFILES["modbus"])
    frames = await _ask(config.port, ModbusCodec(ModbusConfig()), device)
    run.stop()
    await work
    values = {r.code: r.value for f in frames for r in f.readings}
    feed = Feed(run.world, run.first, run.last)
    for channel in spec.channels:
        assert values[channel.code] == pytest.approx(feed.value(channel, run.first), rel=1e-6)
    assert values["ua"] == 220


# -- registry ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", list(Protocol))
def test_registry_is_what_the_standard_table_takes(protocol):
    import pyarrow as pa

    from dianhuan_standards import TABLES

    world = Emulation(20, 1, 3, 0.0)
    specs = devices(world, protocol)
    rows = channel_rows(world, specs)
    assert len({r["channel_id"] for r in rows}) == len(rows)
    assert {r["device_id"] for r in rows} == {s.device_id for s in specs}
    contract = TABLES["channel"]
    filled = [{name: row.get(name) for name in contract.schema.names} for row in rows]
    assert contract.check(pa.RecordBatch.from_pylist(filled, schema=contract.schema)) == []
    ids = {r["channel_id"] for r in rows}
    links = link_rows(world, specs)
    assert len(links) == world.links().num_rows
    for link in links:
        assert link["production"]
        assert link["treatment"]
        assert ids >= {*link["production"], *link["treatment"], *link["combined"]}
    assert np.isfinite([r["rated"] for r in rows if r["rated"] is not None]).all()
