"""MQTT: JSON payloads by mapping."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dianhuan_devices.mqtt import MqttCodec, MqttConfig, MqttFrame, pack
from dianhuan_sdk import Deviation, Device, InputError
from dianhuan_standards import TABLES

AT = datetime(2026, 3, 1, 1, 2, 3, tzinfo=UTC)
MAPPING = """
topics:
  - topic: plants/+/circuits/+
    device: "{2}.{4}"
    time: {path: ts, form: epoch_ms}
    readings:
      - {path: data.ia, code: ia, zh: A相电流, quantity: current, unit: A, phase: A, role: production, facility: MF0001}
      - {path: data.p_w, code: p, zh: 有功功率, quantity: active_power, unit: kW, scale: 0.001, quality: q}
      - {path: data.on, code: run, quantity: state}
  - topic: gateways/#
    device: "{gw.sn}"
    points: {path: values, code: name, value: v, time: t}
    time: {path: sent, form: iso}
    readings:
      - {path: "-", code: ea, zh: 电能, quantity: energy, unit: kWh, scale: 0.01}
  - topic: bare
    device: fixed
    readings: [{path: "0", code: x}]
"""


def codec() -> MqttCodec:
    known = {"zz01.c7": Device("plant-1/c7", "zz01.c7")}
    return MqttCodec(MqttConfig.model_validate(yaml.safe_load(MAPPING)), known.get)


def one(topic: str, payload: bytes) -> MqttFrame:
    (frame,) = codec().feed(pack(topic, payload))
    assert isinstance(frame, MqttFrame)
    return frame


GOOD = b'{"ts": 1772326923000, "data": {"ia": 12.5, "p_w": "2500", "on": true}, "q": "N"}'


def test_values_at_fixed_places() -> None:
    frame = one("plants/zz01/circuits/c7", GOOD)
    assert frame.deviations == ()
    assert frame.device_id == "plant-1/c7"
    assert [(r.code, r.statistic, r.value, r.unit, r.quality, r.at) for r in frame.readings] == [
        ("ia", "rtd", 12.5, "A", "", AT),
        ("p", "rtd", 2.5, "kW", "N", AT),
        ("run", "rs", 1.0, "", "", AT),
    ]


def test_list_of_points() -> None:
    payload = (
        b'{"gw": {"sn": "G9"}, "sent": "2026-03-01T09:02:03+08:00", "values": [{"name": "ea", "v": 1234, '
        b'"t": "2026-03-01T09:00:00+08:00"}, {"name": "zz", "v": 1, "t": "2026-03-01T09:01:00+08:00"}, {"name": "no"}]}'
    )
    frame = one("gateways/north/3", payload)
    assert frame.device_id == "G9"
    assert [(r.code, r.value, r.unit, r.at and r.at.minute) for r in frame.readings] == [
        ("ea", 12.34, "kWh", 0),
        ("zz", 1.0, "", 1),
    ]
    assert [d.code for d in frame.deviations] == ["value_missing"]


def test_rows_and_channels_pass_their_contracts() -> None:
    frames = [one("plants/zz01/circuits/c7", GOOD), one("bare", b"[7]")]
    batch = codec().to_batch(frames, received_at=AT)
    assert TABLES["reading"].check(batch.rows) == []
    assert batch.rows.column("channel_id").to_pylist() == [
        "plant-1/c7/ia-rtd",
        "plant-1/c7/p-rtd",
        "plant-1/c7/run-rs",
        "fixed/x-rtd",
    ]
    channels = codec().channels(frames).rows
    assert TABLES["channel"].check(channels) == []
    assert channels.column("role").to_pylist() == ["production", None, None, None]
    assert channels.column("facility").to_pylist()[0] == "MF0001"


@pytest.mark.parametrize(
    ("topic", "payload", "code", "valid"),
    [
        ("elsewhere", GOOD, "topic_unknown", True),
        ("plants/zz01/circuits/c7", b"{", "json_wrong", False),
        ("plants/zz01/circuits/c7", b"\xff\xfe", "json_wrong", False),
        ("plants/zz01/circuits/c7", b"[" * 100_000, "json_wrong", False),
        ("plants/zz01/circuits/c7", b"[1, 2]", "time_invalid", True),
        ("plants/zz01/circuits/c7", b'{"ts": 1e300, "data": {}}', "time_invalid", True),
        ("plants/zz01/circuits/c7", b'{"ts": true}', "time_invalid", True),
        ("gateways/x", b'{"sent": "2026-03-01T09:02:03+08:00", "values": []}', "device_unknown", True),
        ("gateways/x", b'{"gw": {"sn": "G"}, "sent": "yesterday"}', "time_invalid", True),
        ("gateways/x", b'{"gw": {"sn": "G"}, "sent": "2026-03-01T09:02:03+08:00"}', "value_missing", True),
        ("bare", b'["\\u0000DROP"]', "value_form", True),
        ("bare", b"[null]", "value_missing", True),
        ("bare", b"[{}]", "value_form", True),
    ],
)
def test_hostile_and_irregular_payloads_are_said(topic: str, payload: bytes, code: str, valid: bool) -> None:
    frame = one(topic, payload)
    assert code in [d.code for d in frame.deviations]
    assert frame.valid is valid
    assert frame.readings == ()
    codec().to_batch([frame], received_at=AT)


def test_hostile_flood_of_points_is_cut() -> None:
    points = ",".join('{"name":"ea","v":1,"t":"2026-03-01T09:00:00+08:00"}' for _ in range(3000))
    payload = f'{{"gw":{{"sn":"G"}},"sent":"2026-03-01T09:00:00+08:00","values":[{points}]}}'.encode()
    frame = one("gateways/x", payload)
    assert len(frame.readings) == 1000
    assert [d.code for d in frame.deviations] == ["points_too_many"]


MESSAGES = b"".join(pack("plants/zz01/circuits/c7", GOOD) for _ in range(3)) + pack("bare", b"[1]")


@given(st.lists(st.integers(0, len(MESSAGES)), max_size=20))
@settings(deadline=None)
def test_any_chunking_gives_the_same_frames(cuts: list[int]) -> None:
    line, found = codec(), []
    for low, high in pairwise([0, *sorted(cuts), len(MESSAGES)]):
        found += line.feed(MESSAGES[low:high])
    assert line.settle(end=True) == []
    assert b"".join(f.raw for f in found if isinstance(f, MqttFrame)) == MESSAGES
    assert len(found) == 4


@given(st.lists(st.binary(max_size=100), max_size=20))
@settings(deadline=None)
def test_hostile_bytes_never_raise_and_the_buffer_is_bounded(chunks: list[bytes]) -> None:
    line = codec()
    for chunk in chunks:
        for item in line.feed(chunk):
            assert isinstance(item, MqttFrame | Deviation)
        assert line.kept <= 6 + 1024 + (1 << 18)
    line.settle(end=True)
    assert line.kept == 0


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["ts", "data", "ia", "gw", "sn"]), inner)
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from(["plants/zz01/circuits/c7", "gateways/a/b", "bare"]))
@settings(deadline=None)
def test_hostile_documents_never_raise(document: Any, topic: str) -> None:
    import json

    frame = one(topic, json.dumps(document).encode())
    batch = codec().to_batch([frame], received_at=AT)
    assert batch.rows.num_rows == len(frame.readings) or batch.rejects is not None


def test_too_long_messages_are_refused() -> None:
    with pytest.raises(InputError):
        pack("t" * 2000, b"{}")
    line = codec()
    assert [d.code for d in line.feed(b"\xff" * 10) if isinstance(d, Deviation)] == ["garbage"]


def test_subscriptions_and_wrong_mappings() -> None:
    assert codec().subscriptions == ("plants/+/circuits/+", "gateways/#", "bare")
    with pytest.raises(ValidationError):
        MqttConfig.model_validate({"topics": [{"topic": "a", "device": "b"}]})
