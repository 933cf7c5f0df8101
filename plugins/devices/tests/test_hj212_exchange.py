"""Both sides: commands, answers, split messages, readings and channels."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dianhuan_devices.hj212 import (
    Centre,
    Header,
    Hj212Frame,
    Sm4,
    Station,
    answer_to,
    encode,
    factor,
    profile,
    profiles,
)
from dianhuan_devices.hj212._centre import Answers
from dianhuan_sdk import ConfigError, Device, Due, InputError, Secret
from dianhuan_standards import TABLES

AT = datetime(2026, 3, 1, 1, 2, 3, 456000, tzinfo=UTC)
MN = "010000A8900016F000169DC0"
KEY = "0123456789ABCDEFFEDCBA9876543210"


def one(codec: Any, wire: bytes) -> Hj212Frame:
    (frame,) = codec.feed(wire)
    assert isinstance(frame, Hj212Frame)
    assert frame.valid
    assert frame.deviations == ()
    return frame


@pytest.mark.parametrize("edition", [2017, 2025])
def test_every_command_of_a_centre_is_read_as_it_was_written(make_codec: Any, edition: int) -> None:
    centre = Centre(Station(MN, edition=edition, st="44" if edition == 2025 else "32"))
    begin, end = AT - timedelta(hours=2), AT
    window = [("BeginTime", "20260301070203"), ("EndTime", "20260301090203")]
    sent = [
        (centre.set_timeout(AT, 5, 3), "1000", [("OverTime", "5"), ("ReCount", "3")]),
        (centre.get_time(AT), "1011", []),
        (centre.set_time(AT), "1012", [("SystemTime", "20260301090203")]),
        (centre.get_interval(AT), "1061", []),
        (centre.set_interval(AT, 30), "1062", [("RtdInterval", "30")]),
        (centre.get_interval(AT, minutes=True), "1063", []),
        (centre.set_minutes(AT, 10), "1064", [("MinInterval", "10")]),
        (centre.set_password(AT, "654321"), "1072", [("NewPW", "654321")]),
        (centre.fetch("2011", AT), "2011", []),
        (centre.stop("2012", AT), "2012", []),
        (centre.fetch("2021", AT), "2021", []),
        (centre.stop("2022", AT), "2022", []),
        (centre.fetch("2011", AT, begin, end), "2011", window),
        (centre.fetch("2051", AT, begin, end), "2051", window),
        (centre.fetch("2061", AT, begin, end), "2061", window),
        (centre.fetch("2031", AT, begin, end), "2031", window),
        (centre.assign_mn(AT, MN), "1002", [("MN", MN)]),
    ]
    for wire, cn, items in sent:
        frame = one(make_codec(), wire)
        assert (frame.kind, frame.items) == (cn, items)
        assert frame.header.flag == {2017: 5, 2025: 9}[edition]
        assert frame.header.qn == "20260301090203456"
        assert frame.readings == ()


def test_settings_out_of_range_are_refused() -> None:
    centre = Centre(Station(MN))
    for call in (
        lambda: centre.set_interval(AT, 29),
        lambda: centre.set_interval(AT, 3601),
        lambda: centre.set_minutes(AT, 7),
        lambda: centre.set_password(AT, "1234567"),
        lambda: centre.new_key(AT, KEY),
    ):
        with pytest.raises(InputError):
            call()


@given(st.integers(0, 10**17 - 1), st.sampled_from([4, 5, 7, 8, 9, 0, 1]), st.sampled_from(["2011", "9015", "1062"]))
@settings(deadline=None)
def test_answers_from_a_form_are_those_made_one_by_one(number: int, flag: int, cn: str) -> None:
    answers = Answers()
    for qn in ("20260301090203456", f"{number:017d}", "", "2026030109020345x"):
        header = Header(qn, "32", cn, "123456", MN, flag, 0, 0, False)
        assert answers.to(header) == answer_to(header)


@pytest.mark.parametrize(
    ("edition", "cn", "answer", "flag"),
    [(2017, "2011", "9014", 4), (2017, "2051", "9014", 4), (2025, "2013", "9014", 8), (2025, "3020", "9014", 8)],
)
def test_uploads_are_answered_with_their_qn(
    make_codec: Any, make_logger: Any, edition: int, cn: str, answer: str, flag: int
) -> None:
    codec = make_codec()
    (wire,) = make_logger(edition).upload(cn, AT, [[("w01018-Rtd", 1)]])
    reply = codec.reply(one(codec, wire))
    assert reply is not None
    back = one(make_codec(), reply)
    assert (back.kind, back.header.st, back.header.qn, back.header.flag) == (answer, "91", "20260301090203456", flag)
    assert back.area == ""
    assert make_codec().reply(back) is None
    (quiet,) = make_logger(edition).upload(cn, AT, [[("w01018-Rtd", 1)]], answer=False)
    assert codec.reply(one(codec, quiet)) is None


def test_notices_and_heartbeats_are_answered_by_9013(make_codec: Any, make_logger: Any) -> None:
    logger = make_logger(2025)
    for wire, cn in ((logger.heartbeat(AT), "9015"), (logger.ask_time(AT), "1013")):
        codec = make_codec()
        frame = one(codec, wire)
        assert frame.kind == cn
        assert frame.area == ""
        reply = codec.reply(frame)
        assert reply is not None
        assert one(make_codec(), reply).kind == "9013"


def test_logger_answers_requests(make_codec: Any, make_logger: Any) -> None:
    request = one(make_codec(), Centre(Station(MN)).set_interval(AT, 60)).header
    logger = make_logger()
    accepted, done = one(make_codec(), logger.accept(request)), one(make_codec(), logger.done(request, 5))
    assert (accepted.kind, accepted.items, accepted.header.qn) == ("9011", [("QnRtn", "1")], request.qn)
    assert (done.kind, done.items, done.header.st) == ("9012", [("ExeRtn", "5")], "91")
    assert one(make_codec(), logger.noted(request)).kind == "9013"


def test_2005_answers_carry_the_qn_in_the_data_area(make_codec: Any, make_logger: Any) -> None:
    codec = make_codec()
    logger = make_logger(2005, mn="88888880000001")
    (wire,) = logger.upload("2011", AT, [[("011-Rtd", 1.5), ("011-Flag", "N")]])
    frame = one(codec, wire)
    assert (frame.header.flag, frame.readings[0].unit) == (1, "mg/L")
    reply = codec.reply(frame)
    assert reply is not None
    assert b"CP=&&QN=20260301090203456&&" in reply


def test_hostile_header_is_never_echoed(make_codec: Any, seal: Any, run: Any) -> None:
    text = f"QN=20240520210700000;ST=32;CN=2011;PW=12\r\n##;MN={MN};Flag=5;CP=&&DataTime=20240520210600;a01011-Rtd=1&&"
    codec = make_codec()
    (frame,), _ = run(codec, seal(text))
    assert frame.valid
    assert codec.reply(frame) is None


def test_hardware_serials_and_start(make_codec: Any, make_logger: Any) -> None:
    logger = make_logger(2025)
    frame = one(make_codec(), logger.serials(AT, ["LG-1", "CPU-2", "00163E000001", "00163E000002"]))
    assert frame.kind == "1001"
    assert [name for name, _ in frame.items] == ["i23005-Info", "i23006-Info", "i23007-Info", "i23008-Info"]
    assert frame.readings == ()
    started = one(make_codec(), logger.started(AT, AT - timedelta(minutes=5)))
    assert (started.kind, started.items[1]) == ("2081", ("RestartTime", "20260301085703"))


def test_session_key_travels_encrypted_only(make_codec: Any, make_logger: Any) -> None:
    codec = make_codec(keys=[KEY], profile="hj212-2025")
    asked = one(codec, make_logger(2025, KEY).ask_key(AT, AT - timedelta(days=89)))
    assert (asked.kind, asked.encrypted) == ("1014", True)
    assert asked.items == [("SKCreateTime", "20251202090203")]
    assert codec.reply(asked) is None
    device = Device("d", MN, profile="hj212-2025", keys=(Secret(KEY),))
    new = "00112233445566778899AABBCCDDEEFF"
    (request,) = codec.plan(device, Due("key", AT, new_key=Secret(new)))
    assert new.encode() not in request.data
    given_key = one(make_codec(keys=[KEY]), request.data)
    assert given_key.encrypted
    assert dict(given_key.items) == {"SKCreateTime": "20260301090203", "NewSK": new}
    assert new not in repr(device)
    assert new not in repr(Due("key", AT, new_key=Secret(new)))


@pytest.mark.parametrize(
    ("profile_name", "kinds"),
    [
        ("hj212-2017", ["1012", "1000", "1062", "1064", "2011"]),
        ("hj212-2005", ["1012", "1000", "2011"]),
        ("", ["1012", "1000", "1062", "1064", "2011"]),
    ],
)
def test_first_contact(make_codec: Any, profile_name: str, kinds: list[str]) -> None:
    requests = make_codec().plan(Device("d", MN, profile=profile_name), Due("hello", AT))
    frames = [make_codec().feed(r.data)[0] for r in requests]
    assert [f.kind for f in frames] == kinds
    assert len({f.header.qn for f in frames}) == len(frames)
    assert all(r.timeout_s == 10 and r.retries == 3 for r in requests)


def test_history_after_a_gap_and_what_cannot_be_planned(make_codec: Any) -> None:
    codec = make_codec()
    device = Device("d", MN, profile="hj212-2025", options={"st": "44"})
    (request,) = codec.plan(device, Due("history", AT, AT - timedelta(hours=1), AT, stream="2011"))
    frame = one(make_codec(), request.data)
    assert (frame.kind, frame.header.st) == ("2011", "44")
    assert frame.items == [("BeginTime", "20260301080203"), ("EndTime", "20260301090203")]
    assert codec.plan(device, Due("poll", AT)) == []
    assert len(codec.plan(device, Due("time", AT))) == 1
    with pytest.raises(InputError):
        codec.plan(device, Due("history", AT))
    with pytest.raises(InputError):
        codec.plan(device, Due("key", AT))


def test_unknown_profile_of_a_device_is_a_config_error(make_codec: Any) -> None:
    with pytest.raises(ConfigError):
        make_codec().plan(Device("d", MN, profile="nobody"), Due("time", AT))


def test_electricity_of_2025_is_first_class(make_codec: Any, make_logger: Any) -> None:
    codec = make_codec(keys=[KEY], profile="hj212-2025")
    values = [("d20105", 220.2, "N"), ("d20405", 0.24, "N"), ("d30106", 220.2, "N"), ("d30406", 0.04, "D")]
    (wire,) = make_logger(2025, KEY).electricity(AT, values)
    frame = one(codec, wire)
    assert frame.encrypted
    assert [(r.code, r.value, r.unit, r.quality) for r in frame.readings] == [
        ("d20105", 220.2, "V", "N"),
        ("d20405", 0.24, "A", "N"),
        ("d30106", 220.2, "V", "N"),
        ("d30406", 0.04, "A", "D"),
    ]
    channels = codec.channels([frame]).rows
    assert TABLES["channel"].check(channels) == []
    rows = channels.to_pylist()
    assert [r["role"] for r in rows] == ["production", "production", "treatment", "treatment"]
    assert [r["facility"] for r in rows] == ["05", "05", "06", "06"]
    assert [(r["quantity"], r["phase"]) for r in rows[:2]] == [("voltage", "A"), ("current", "A")]
    assert all(r["inferred"] for r in rows)
    assert rows[1]["channel_id"] == "plant-1/logger/d20405-rtd"


def test_production_conditions_of_2025(make_codec: Any, seal: Any, segment: Any) -> None:
    codec = make_codec()
    wire = seal(segment("DataTime=20260301090200;p99101-Rtd=St;p99102-Rtd=N,p99102-Flag=N", st="45", flag="9"))
    frame = one(codec, wire)
    assert [(r.code, r.value, r.text) for r in frame.readings] == [("p99101", None, "St"), ("p99102", None, "N")]
    batch = codec.to_batch([frame], received_at=AT)
    assert TABLES["reading"].check(batch.rows) == []
    assert batch.rows.column("text").to_pylist() == ["St", "N"]
    assert codec.channels([frame]).rows.column("quantity").to_pylist() == ["condition", "condition"]


def test_equipment_state_and_hours(make_codec: Any, seal: Any, segment: Any) -> None:
    codec = make_codec()
    state = one(codec, seal(segment("DataTime=20260301090200;SB1-RS=1;SB2-RS=0", cn="2021")))
    hours = one(codec, seal(segment("DataTime=20260228000000;SB1-RT=23.5;SB2-RT=0", cn="2041")))
    rows = codec.channels([state, hours]).rows.to_pylist()
    assert [(r["code"], r["quantity"], r["interval"], r["unit"]) for r in rows] == [
        ("SB1", "state", "moment", None),
        ("SB2", "state", "moment", None),
        ("SB1", "run_time", "day", "h"),
        ("SB2", "run_time", "day", "h"),
    ]


def test_datatime_is_the_start_of_an_interval_and_the_moment_of_a_sample(make_codec: Any, make_logger: Any) -> None:
    codec, start = make_codec(), AT.replace(second=0, microsecond=0) - timedelta(minutes=10)
    sent = [
        *make_logger().upload("2051", AT, [[("a34013-Avg", 1), ("a34013-Cou", 2)]], data_time=start),
        *make_logger().upload("2011", AT, [[("a34013-Rtd", 3)]], data_time=AT),
    ]
    batch = codec.to_batch([one(codec, w) for w in sent], received_at=AT)
    ids, times = batch.rows.column("channel_id").to_pylist(), batch.rows.column("device_at").to_pylist()
    assert ids == [f"{MN}/a34013-avg.minute", f"{MN}/a34013-cou.minute", f"{MN}/a34013-rtd"]
    assert times == [start, start, AT.replace(microsecond=0)]


def test_clock_correction_stands_beside_the_device_time(make_codec: Any, make_logger: Any) -> None:
    codec = make_codec()
    (wire,) = make_logger().upload("2011", AT, [[("w01018-Rtd", 3), ("w01018-Flag", "N")]])
    batch = codec.to_batch([one(codec, wire)], received_at=AT, offsets={MN: timedelta(seconds=-95)})
    (row,) = batch.rows.to_pylist()
    assert row["device_at"] == AT.replace(microsecond=0)
    assert row["at"] == row["device_at"] - timedelta(seconds=95)
    assert row["received_at"] == AT
    assert (row["quality"], row["resent"]) == ("N", False)
    assert TABLES["reading"].check(batch.rows) == []


def test_resent_data_is_marked(make_codec: Any, make_logger: Any) -> None:
    codec = make_codec()
    (wire,) = make_logger(2025).upload("2051", AT, [[("a34013-Avg", 1)]], resent=True)
    assert b";RF=1;CP=" in wire
    assert codec.to_batch([one(codec, wire)], received_at=AT).rows.column("resent").to_pylist() == [True]


def test_standard_samples_never_look_like_process_values(make_codec: Any, make_logger: Any) -> None:
    codec = make_codec()
    (wire,) = make_logger(2025).upload("2062", AT, [[("a34013-Avg", 1)]])
    assert codec.to_batch([one(codec, wire)], received_at=AT).rows.column("channel_id").to_pylist() == [
        f"{MN}/a34013-avg.check"
    ]


@pytest.mark.parametrize(
    ("name", "code", "quantity", "unit", "facility"),
    [
        ("private-ele", "ele01", "current", "A", "01"),
        ("private-phase", "Ia2", "current", "A", "2"),
        ("private-phase", "Pt", "active_power", "kW", ""),
        ("hj212-2017", "e30103", "current", "A", "03"),
        ("hj212-2017", "g10201", "current", "A", "01"),
        ("hj212-2017", "i33202", "energy", "kWh", ""),
        ("hj212-2017", "w01018", "concentration", "mg/L", ""),
        ("hj212-2017", "zz9", "other", "", ""),
    ],
)
def test_codes_and_private_names(name: str, code: str, quantity: str, unit: str, facility: str) -> None:
    found = factor(code, profile(name))
    assert (found.quantity, found.unit, found.facility) == (quantity, unit, facility)


def test_shipped_profiles_are_sound() -> None:
    quantities = TABLES["channel"].field("quantity").codes
    assert quantities is not None
    for vendor in profiles().values():
        for rule in vendor.codes:
            assert rule.quantity in quantities


LONG = [[(f"e301{n:02d}-Rtd", 1.5 * n), (f"e301{n:02d}-Flag", "N")] for n in range(60)]


@pytest.mark.parametrize("key", ["", KEY])
def test_split_messages_are_joined_in_any_order(make_codec: Any, make_logger: Any, key: str) -> None:
    wires = make_logger(2025, key).upload("2011", AT, LONG)
    assert len(wires) == 2
    for order in (wires, wires[::-1], [wires[0], wires[0], wires[1]]):
        codec = make_codec(keys=[key] if key else [])
        frames = [one(codec, wire) for wire in order]
        assert [len(f.readings) for f in frames] == [0] * (len(order) - 1) + [60]
        assert [f.whole for f in frames] == [False] * (len(order) - 1) + [True]
        assert [r.value for r in frames[-1].readings] == [1.5 * n for n in range(60)]
        assert all(codec.reply(f) is not None for f in frames)
        assert codec.settle(end=True) == []


@pytest.mark.parametrize("cut", range(150, 171))
def test_split_inside_an_item_is_joined_too(make_codec: Any, seal: Any, cut: int) -> None:
    area = "DataTime=20260301090200;" + ";".join(f"e301{n:02d}-Rtd={n}2.5,e301{n:02d}-Flag=N" for n in range(10))
    head = f"QN=20260301090203456;ST=52;CN=2011;PW=123456;MN={MN};Flag=7;PNUM=2;PNO="
    codec = make_codec()
    found = codec.feed(seal(f"{head}1;CP=&&{area[:cut]}&&") + seal(f"{head}2;CP=&&{area[cut:]}&&"))
    assert [r.value for r in found[1].readings] == [float(f"{n}2.5") for n in range(10)]


def test_missing_packet_gives_what_is_certain(make_codec: Any, seal: Any) -> None:
    area = "DataTime=20260301090200;e30101-Rtd=12.5,e30101-Flag=N;e30102-Rtd=3"
    head = f"QN=20260301090203456;ST=52;CN=2011;PW=123456;MN={MN};Flag=7;PNUM=2;PNO="
    codec = make_codec()
    (first,) = codec.feed(seal(f"{head}1;CP=&&{area}&&"))
    assert first.readings == ()
    (again,) = codec.settle(end=True)
    assert again is first
    assert [d.code for d in first.deviations] == ["packets_missing"]
    assert [(r.code, r.value) for r in first.readings] == [("e30101", 12.5)]


def test_hostile_flood_of_first_packets_is_bounded(make_codec: Any, seal: Any) -> None:
    codec = make_codec()
    given_up = 0
    for n in range(300):
        head = f"QN=20260301090203{n:03d};ST=52;CN=2011;PW=123456;MN={MN};Flag=7;PNUM=9;PNO=1"
        found = codec.feed(seal(f"{head};CP=&&DataTime=20260301090200;" + "e30101-Rtd=1,e30101-Flag=N;" * 30 + "&&"))
        given_up += sum(any(d.code == "packets_missing" for d in f.deviations) for f in found)
    assert given_up == 300 - 16


CODES = st.from_regex(r"[a-z][0-9]{5}", fullmatch=True)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32).map(lambda x: round(x, 3))


@given(
    st.dictionaries(CODES, st.tuples(NUMBERS, st.sampled_from("NFMSDCTB")), min_size=1, max_size=40),
    st.sampled_from([2017, 2025]),
    st.booleans(),
    st.integers(0, 10**9),
)
@settings(deadline=None)
def test_decode_of_encode_is_the_same(
    make_codec: Any, values: dict[str, tuple[float, str]], edition: int, encrypted: bool, seconds: int
) -> None:
    at = datetime(2016, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    key = Sm4(bytes.fromhex(KEY)) if encrypted else None
    station = Station(MN, st="31", edition=edition, key=key)
    local = (at + timedelta(hours=8)).strftime("%Y%m%d%H%M%S")
    items: list[Any] = [[("DataTime", local)]]
    items += [[(f"{c}-Rtd", v), (f"{c}-Flag", f)] for c, (v, f) in values.items()]
    codec = make_codec(keys=[KEY] if encrypted else [])
    found = codec.feed(b"".join(encode(station, "2011", items, at=at, answer=True, encrypt=encrypted)))
    assert all(f.valid and not f.deviations for f in found)
    assert [(r.code, r.value, r.quality, r.at) for r in found[-1].readings] == [
        (c, v, f, at) for c, (v, f) in values.items()
    ]


def test_values_with_separators_are_refused_by_the_encoder() -> None:
    with pytest.raises(InputError):
        encode(Station(MN), "2011", [[("i12001-Info", "a;b")]], at=AT)
