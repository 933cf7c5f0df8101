"""Who may report: waiting list, approval, credentials; clocks, gaps, split messages, replay."""

from __future__ import annotations

import contextlib
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dianhuan_hub.cli import main
from dianhuan_hub.gateway import Decision
from dianhuan_hub.store import LoadInfo, RegisterRows, Unit
from dianhuan_sdk import ConfigError, InputError
from dianhuan_standards import TABLES

NOW = datetime.now(UTC).replace(microsecond=0)
MINUTE = timedelta(minutes=1)
KEY = "0123456789ABCDEFFEDCBA9876543210"


def cli(folder: Path, *words: str) -> list[dict[str, Any]]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as done:
        main(["--hub", str(folder), "gateway", *words, "--json"])
    assert done.value.code == 0, err.getvalue()
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_an_unknown_device_waits_with_its_last_frames_and_is_not_answered(start: Any) -> None:
    city = start(waiting_frames=3)
    line = city.dial(7)
    frames = [line.upload(NOW - n * MINUTE)[0] for n in range(5)]
    line.send(*frames)
    assert city.until(lambda: city.metric("waiting_devices") == 1)
    assert line.answers(1, wait=0.3) == []
    (row,) = city.hub.devices.devices("waiting")
    assert (row.device_id, row.protocol, row.peer, row.frames_kept) == (line.logger.station.mn, "hj212", "127.0.0.1", 3)
    assert [raw for _, raw in city.hub.devices.frames(row.device_id)] == frames[-3:]
    assert city.query("SELECT count(*) FROM reading") == [(0,)]
    assert city.metric("bad_frames_total", reason="waiting") == 5
    # let in, the frames with which it has waited are read, and it is answered from now on
    city.hub.gateway.approve(row.device_id, Decision(note="known plant"), "someone")
    assert city.hub.store.readings.count() == 3
    line.send(*line.upload(NOW))
    assert len(line.answers(1)) == 1
    audit = city.query("SELECT actor, action, subject, detail FROM audit")
    assert audit == [("someone", "approve device", row.device_id, "note=known plant")]


def test_devices_are_managed_from_the_command_line_while_the_hub_serves(start: Any, tmp_path: Path) -> None:
    city = start()
    line, other = city.dial(7), city.dial(8)
    line.send(*line.upload(NOW))
    other.send(*other.upload(NOW))
    assert city.until(lambda: city.metric("waiting_devices") == 2)
    mns = [x.logger.station.mn for x in (line, other)]
    assert [d["device_id"] for d in cli(tmp_path, "devices", "--state", "waiting")] == mns
    (shown,) = cli(tmp_path, "show", mns[0])
    assert mns[0] in shown["frames"][0]["frame"]
    (row,) = cli(tmp_path, "approve", mns[0], "--profile", "hj212-2017", "--note", "ok")
    assert (row["state"], row["profile"]) == ("approved", "hj212-2017")
    assert cli(tmp_path, "refuse", mns[1])[0]["state"] == "refused"
    line.send(*line.upload(NOW))
    other.send(*other.upload(NOW))
    assert len(line.answers(1)) == 1
    assert city.until(lambda: city.metric("bad_frames_total", reason="refused") == 1)
    (status,) = cli(tmp_path, "status")
    assert (status["running"], status["connections"], status["waiting_devices"]) == (True, {"loggers": 2}, 0)
    # and without a running hub
    city.thread.stop()
    city.hub.close()
    assert [d["state"] for d in cli(tmp_path, "devices")] == ["approved", "refused"]


def test_wrong_decisions_are_said(city: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    approve = city.hub.devices.approve
    for decision, error in (
        (Decision(), InputError),
        (Decision(protocol="nonsense"), InputError),
        (Decision(protocol="hj212", profile="nonsense"), InputError),
        (Decision(protocol="hj212", entity_id="nobody"), InputError),
        (Decision(protocol="hj212", keys=[KEY]), InputError),
        (Decision(protocol="hj212", keys=["env:NO_SUCH_KEY"]), ConfigError),
        (Decision(protocol="hj212", address="other"), InputError),
    ):
        with pytest.raises(error):
            approve("010000A8900016F0000000FF", decision, "test")
    with pytest.raises(InputError):
        city.hub.devices.refuse("010000A8900016F0000000FF", "test")


def test_an_encrypted_station_is_read_with_its_key_and_plain_text_wins_no_device(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATION_KEY", KEY)
    city = start()
    city.approve(0, keys=["env:STATION_KEY"], profile="hj212-2025")
    line = city.dial(0, key=KEY, edition=2025)
    line.send(*line.upload(NOW))
    assert len(line.answers(1)) == 1
    assert city.until(lambda: city.hub.gateway.device_status(line.logger.station.mn)["connected_from"])
    rival = city.dial(0, edition=2025)
    rival.send(*rival.upload(NOW + MINUTE))
    assert city.until(lambda: city.metric("rivals_total", result="refused") == 1)
    assert len(city.said("rival")) == 1
    line.send(*line.upload(NOW + 2 * MINUTE))
    assert len(line.answers(1)) == 1


def test_clock_drift_is_corrected_in_a_column_of_its_own_and_the_clock_is_set(start: Any) -> None:
    city = start(future_s=60)
    city.approve(0)
    city.hub.gateway.clocks.EVERY_S = 0
    line = city.dial(0)
    ahead = timedelta(minutes=20)
    for n in range(6):
        line.send(*line.upload(datetime.now(UTC) + ahead + timedelta(milliseconds=n)))
        assert len(line.answers(1)) == 1
    drift = city.hub.gateway.device_status(line.logger.station.mn)["clock_behind_s"]
    assert drift == pytest.approx(-1200, abs=30)
    line.send(*line.upload(datetime.now(UTC) + ahead + MINUTE))
    assert len(line.answers(1)) == 1
    rows = city.query("""SELECT epoch("at" - device_at) FROM reading""")
    assert {round(float(r[0]) / 60) for r in rows} == {-20}  # before it was known they were too far in the future
    assert city.until(lambda: any(f.kind == "1012" for f in line.frames) or line.answers(1, "1012", wait=1))
    assert len(city.said("clock")) == 1


def test_a_gap_is_asked_for_when_it_is_seen(city: Any) -> None:
    line = city.dial(0)
    start = NOW.replace(second=0) - timedelta(hours=3)
    for n in (0, 1, 2, 3, 10):
        line.send(*line.upload(start + n * MINUTE, "2051"))
        assert len(line.answers(1)) == 1
    assert city.metric("gaps_total") == 1
    line.answers(1, "nothing", wait=0.5)
    (asked,) = [f for f in line.frames if f.kind == "2051"]
    missing = (start + 4 * MINUTE, start + 9 * MINUTE)
    assert [text for _, text in asked.items] == [f"{at + timedelta(hours=8):%Y%m%d%H%M%S}" for at in missing]
    # the history that comes fills it, and no second gap is seen in it
    line.send(line.logger.done(asked.header), *(line.upload(start + n * MINUTE, "2051")[0] for n in range(4, 10)))
    assert len(line.answers(6)) == 6
    assert city.hub.store.readings.count() == 11
    assert city.metric("gaps_total") == 1
    assert city.metric("requests_total", task="history", result="answered") == 1


def test_history_that_was_not_answered_is_asked_for_again_on_the_next_connection(city: Any) -> None:
    line = city.dial(0)
    start = NOW.replace(second=0) - timedelta(hours=3)
    for n in (0, 1, 2, 9):
        line.send(*line.upload(start + n * MINUTE, "2051"))
        assert len(line.answers(1)) == 1
    assert len(line.answers(1, "2051")) == 1
    mn = line.logger.station.mn
    line.close()
    assert city.until(lambda: city.hub.gateway.device_status(mn)["gaps"] != [])
    line = city.dial(0)
    line.send(*line.upload(start + 10 * MINUTE, "2051"))
    assert len(line.answers(1, "2051")) == 1
    assert city.until(lambda: city.hub.gateway.device_status(mn)["gaps"] == [])


def test_a_gap_while_the_hub_was_away_is_asked_for(start: Any) -> None:
    city = start()
    city.approve(0)
    begin = NOW.replace(second=0) - timedelta(hours=3)
    line = city.dial(0)
    line.send(*line.upload(begin, "2051"))
    assert len(line.answers(1)) == 1
    city.thread.stop()
    city.hub.close()
    city = start()
    line = city.dial(0)
    for n in (30, 31, 32):
        line.send(*line.upload(begin + n * MINUTE, "2051"))
        assert len(line.answers(1)) == 1
    line.answers(1, "nothing", wait=1.0)
    (asked,) = [f for f in line.frames if f.kind == "2051"]
    local = {"BeginTime": begin + MINUTE, "EndTime": begin + 29 * MINUTE}
    assert [name for name, _ in asked.items] == list(local)
    for name, text in asked.items:
        assert text == f"{local[name] + timedelta(hours=8):%Y%m%d%H%M%S}"


def test_first_contact_sets_clock_and_intervals_one_request_after_the_other(start: Any) -> None:
    city = start(hello=True)
    city.approve(0)
    line = city.dial(0)
    line.send(*line.upload(NOW))
    assert len(line.answers(1)) == 1
    seen = []
    while len(seen) < 5:
        fresh = [f for f in line.frames if f.kind not in ("9014",)]
        if not fresh:
            line.answers(1, "nothing", wait=0.2)
            continue
        (frame,) = fresh  # the next one only after the answer
        seen.append(frame.kind)
        line.frames.clear()
        answer = line.logger.accept if frame.kind == "2011" else line.logger.done
        line.send(answer(frame.header))
    assert seen == ["1012", "1000", "1062", "1064", "2011"]
    assert city.until(lambda: city.metric("requests_total", task="hello", result="answered") == 5)


def test_a_split_message_is_whole_even_if_its_packets_come_by_two_connections_and_a_restart(start: Any) -> None:
    city = start()
    city.approve(0)
    line = city.dial(0)
    values = {f"w{n:05d}": n + 0.5 for n in range(80)}
    packets = line.upload(NOW, values=values)
    assert len(packets) == 3
    line.send(packets[0])
    assert len(line.answers(1)) == 1
    assert city.query("SELECT state FROM raw_frame") == [("part",)]
    line.close()
    line = city.dial(0)
    line.send(packets[1])
    assert len(line.answers(1)) == 1
    city.thread.stop()
    city.hub.close()
    city = start()
    line = city.dial(0)
    line.send(packets[2])
    assert len(line.answers(1)) == 1
    assert sorted(r[0] for r in city.query("SELECT value FROM reading")) == sorted(values.values())


def test_replay_reads_raw_frames_with_what_is_known_now(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATION_KEY", KEY)
    city = start()
    city.approve(0, profile="hj212-2025")
    line = city.dial(0, key=KEY, edition=2025)
    line.send(*line.upload(NOW))
    assert line.answers(1, wait=0.5) == []  # nobody can read it yet
    assert city.query("SELECT state FROM raw_frame") == [("refused",)]
    city.approve(0, keys=["env:STATION_KEY"])
    receipt = city.hub.gateway.replay(line.logger.station.mn, NOW - MINUTE, datetime.now(UTC) + MINUTE)
    assert (receipt.accepted, receipt.corrected) == (1, 0)
    # a value that an earlier decoder got wrong is corrected, and the old one kept
    city.hub.store.write(lambda con: con.execute("UPDATE reading SET value = 99"))
    receipt = city.hub.gateway.replay(line.logger.station.mn, NOW - MINUTE, datetime.now(UTC) + MINUTE)
    assert (receipt.accepted, receipt.corrected) == (0, 1)
    assert city.query("SELECT value FROM reading") == [(1.5,)]
    ((old,),) = city.query("SELECT row::JSON->>'value' FROM register_history WHERE table_name = 'reading'")
    assert float(old) == 99
    with pytest.raises(InputError):
        city.hub.gateway.replay(line.logger.station.mn, NOW - 9 * MINUTE, NOW - 8 * MINUTE)


def test_channels_of_a_bound_device_carry_its_enterprise(city: Any) -> None:
    contract = TABLES["entity"]
    row = {f.name: None for f in contract.fields} | {"entity_id": "E1", "name": "厂", "division": "430202"}
    rows = RegisterRows(contract, pa.Table.from_pylist([row], schema=contract.schema), tuple(contract.schema.names))
    city.hub.store.commit(Unit(LoadInfo("t", "1", "entity", "s", "", "", NOW), registers=[rows]))
    line = city.dial(0)
    line.send(*line.upload(NOW, values={"i33200": 1.0}))
    assert len(line.answers(1)) == 1
    city.approve(0, entity_id="E1")
    line.send(*line.upload(NOW, values={"e30101": 1.0}))
    assert len(line.answers(1)) == 1
    assert city.query("SELECT code, entity_id FROM channel ORDER BY code") == [("e30101", "E1"), ("i33200", "E1")]
