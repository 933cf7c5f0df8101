"""What the field sends: the usable part is read, and every irregularity has its code."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dianhuan_devices.hj212 import Hj212Frame, crc_text
from dianhuan_devices.hj212._words import deviation_words

T = "DataTime=20240520210600"
OK = f"{T};w01018-Rtd=12.5,w01018-Flag=N"
AT = datetime(2024, 5, 20, 13, 6, tzinfo=UTC)
MN = "010000A8900016F000169DC0"


def head(**change: str) -> str:
    fields = {"QN": "20240520210700000", "ST": "32", "CN": "2011", "PW": "123456", "MN": MN, "Flag": "5"}
    fields |= change
    return ";".join(f"{k}={v}" for k, v in fields.items() if v)


AREAS = [
    pytest.param(OK + ";", ["separator_at_end"], [12.5], id="trailing ;"),
    pytest.param(OK + ",", ["separator_at_end"], [12.5], id="trailing ,"),
    pytest.param(f"{T};;w01018-Rtd=12.5", ["item_empty"], [12.5], id="empty item"),
    pytest.param(f"{T}123;w01018-Rtd=12.5", ["time_form"], [12.5], id="DataTime of 17 digits"),
    pytest.param("DataTime=2024-05-20 21:06:00;w01018-Rtd=12.5", ["time_form"], [12.5], id="DataTime with dashes"),
    pytest.param("DataTime=20241399999999;w01018-Rtd=1", ["time_invalid", "datatime_missing"], [1], id="no such time"),
    pytest.param("w01018-Rtd=12.5,w01018-Flag=N", ["datatime_missing"], [12.5], id="no DataTime"),
    pytest.param(f"{T};w01018-Rtd=,w01018-Flag=D", ["value_empty", "flag_without_value"], [], id="no value"),
    pytest.param(f"{T};w01018-Rtd=--,w01018-Flag=D", ["value_form"], [None], id="dashes for a value"),
    pytest.param(f"{T};w01018-Rtd=nan", ["value_form"], [None], id="nan"),
    pytest.param(f"{T};w01018-Rtd=1e999", ["value_form"], [None], id="infinite"),
    pytest.param(f"{T};w01018-Rtd=1_0", ["value_form"], [None], id="underscore"),
    pytest.param(f"{T};w01018-Rtd=+1.5", [], [1.5], id="plus sign"),
    pytest.param(f"{T};w01018-Rtd=.5", [], [0.5], id="no leading zero"),
    pytest.param(f"{T};w01018-Rtd= 12.5", ["spaces"], [12.5], id="space"),
    pytest.param(f"{T};w01018-rtd=12.5", ["key_case"], [12.5], id="suffix in lower case"),
    pytest.param("datatime=20240520210600;w01018-Rtd=12.5", ["key_case"], [12.5], id="DataTime in lower case"),
    pytest.param(f"{T};w01018-Rtd=12.5,w01018-Flag=n", ["flag_case"], [12.5], id="flag in lower case"),
    pytest.param(f"{T};w01018-Rtd=12.5,w01018-Flag=X", ["flag_unknown"], [12.5], id="flag unknown"),
    pytest.param(f"{T};w01018-Rtd=12.5,w01018-Flag=", ["flag_unknown"], [12.5], id="flag empty"),
    pytest.param(f"{T};w01018-Rtd=12.5,w01018-Flag=NN", ["flag_unknown"], [12.5], id="flag of two letters"),
    pytest.param(f"{T};w01018-Rtd=1,w01018-Rtd=2", ["item_twice"], [1], id="twice"),
    pytest.param(f"{T};w01018-Foo=1", ["suffix_unknown"], [1], id="suffix unknown"),
    pytest.param(f"{T};w01018-Rtd;w01019-Rtd=2", ["item_without_value"], [2], id="no ="),
    pytest.param(f"{T};=7;w01019-Rtd=2", ["item_without_name"], [2], id="no name"),
    pytest.param(f"{T};w01018-Rtd=1=2", ["value_form", "value_form"], [None], id="second ="),
    pytest.param(f"{T};w01018-Rtd=1\x00.5", ["control_characters"], [1.5], id="hostile NUL in a value"),
    pytest.param(f"{T};w01018-Rtd=1.5\x1f", ["control_characters"], [1.5], id="hostile control character"),
    pytest.param(
        f"{T}=w01018-Rtd;1.5", ["value_form", "item_without_value", "time_invalid"], [], id="mixed separators"
    ),
    pytest.param(f"{T};DROP TABLE-Rtd=1", ["code_form"], [], id="hostile code"),
]


@pytest.mark.parametrize(("area", "codes", "values"), AREAS)
def test_irregular_data_areas(
    make_codec: Any, run: Any, seal: Any, segment: Any, area: str, codes: list[str], values: list[float | None]
) -> None:
    (frame,), _ = run(make_codec(), seal(segment(area)))
    assert [d.code for d in frame.deviations] == codes
    assert [r.value for r in frame.readings] == values
    assert frame.valid


HEADERS = [
    pytest.param(head(Flag=""), ["field_missing"], id="no Flag"),
    pytest.param(head(QN=""), ["field_missing"], id="no QN"),
    pytest.param(head(Flag="", QN="", MN="88888880000001"), [], id="2005: neither Flag nor QN"),
    pytest.param(head(Flag="", QN=""), ["mn_form"], id="2005 with a MN of 2017"),
    pytest.param(head(QN="2024052021070000"), ["qn_form"], id="QN of 16 digits"),
    pytest.param(head(ST="99"), ["st_unknown"], id="ST unknown"),
    pytest.param(head(CN="2099"), ["cn_unknown"], id="CN unknown"),
    pytest.param(head(PW="12345678"), ["pw_form"], id="PW too long"),
    pytest.param(head(MN=MN.lower()), ["mn_form"], id="MN in lower case"),
    pytest.param(head() + f";MN={MN[::-1]}", ["field_twice"], id="hostile second MN"),
    pytest.param(head(Flag="7", PNO="1") + ";PNUM=1", ["field_order"], id="PNO before PNUM"),
    pytest.param(head(Flag="7"), ["packet_fields"], id="D without PNUM"),
    pytest.param(head(Flag="5", PNUM="1", PNO="1"), ["packet_fields"], id="PNUM without D"),
    pytest.param(head(Flag="7", PNUM="1", PNO="4"), ["packet_fields"], id="PNO above PNUM"),
    pytest.param(head(Flag="x"), ["field_value"], id="Flag no number"),
    pytest.param(head().replace("Flag", "flag"), ["key_case"], id="flag in lower case"),
    pytest.param(head() + ";Foo=1", ["field_unknown"], id="field unknown"),
    pytest.param(head(RF="1"), [], id="RF"),
    pytest.param(head(RF="2"), ["field_value"], id="RF=2"),
]


@pytest.mark.parametrize(("text", "codes"), HEADERS)
def test_irregular_headers(make_codec: Any, run: Any, seal: Any, text: str, codes: list[str]) -> None:
    (frame,), _ = run(make_codec(), seal(f"{text};CP=&&{OK}&&"))
    assert [d.code for d in frame.deviations] == codes
    if frame.header.cn == "2011":
        assert [r.value for r in frame.readings] == [12.5]
    assert frame.valid


def test_missing_flag_is_read_as_2005(make_codec: Any, run: Any, seal: Any) -> None:
    text = f"ST=32;CN=2051;PW=123456;MN=88888880000001;CP=&&{T};011-Min=1.5,011-Avg=2,011-Max=3&&"
    (frame,), _ = run(make_codec(), seal(text))
    assert frame.deviations == ()
    assert [(r.code, r.statistic, r.unit) for r in frame.readings] == [
        ("011", "min", "mg/L"),
        ("011", "avg", "mg/L"),
        ("011", "max", "mg/L"),
    ]
    assert make_codec().reply(frame) is None


def test_length_in_characters_is_found_and_said(make_codec: Any, run: Any, seal: Any, segment: Any) -> None:
    text = segment(f"{T};i12001-Info=设备运行正常", cn="3020")
    wire = seal(text, declared=len(text))
    (frame, after), _ = run(make_codec(), wire + seal(segment(OK)))
    assert [d.code for d in frame.deviations] == ["length_characters"]
    assert not frame.valid
    assert frame.readings[0].text == "设备运行正常"
    assert after.valid


@pytest.mark.parametrize("declared", [0, 9, 50, 400, 900])
def test_hostile_length_lies_cost_no_other_frame(
    make_codec: Any, run: Any, seal: Any, segment: Any, declared: int
) -> None:
    good = seal(segment(OK))
    frames, _ = run(make_codec(), seal(segment(OK), declared=declared) + good * 6)
    assert [f.raw for f in frames[-4:]] == [good] * 4
    liar = frames[0]
    assert not liar.valid
    assert [d.code for d in liar.deviations] == ["length_wrong"]
    assert liar.readings[0].value == 12.5


def test_hostile_declared_gigabyte_keeps_nothing(make_codec: Any, run: Any, seal: Any, segment: Any) -> None:
    codec = make_codec()
    good = seal(segment(OK))
    found = codec.feed(b"##1073741824QN=20240520210700000;" + good)
    assert [f.raw for f in found if isinstance(f, Hj212Frame)] == []
    found += codec.feed(good * 12)
    assert [f.raw for f in found if isinstance(f, Hj212Frame)] == [good] * 13
    found = codec.feed(b"##9999" + good)
    assert [f.raw for f in found if isinstance(f, Hj212Frame)] == [good]
    assert codec.kept == 0


def test_hostile_gbk_text_is_read_and_said(make_codec: Any, run: Any, seal: Any, segment: Any) -> None:
    data = segment(f"{T};i12001-Info=设备运行").encode("gbk")
    (frame,), _ = run(make_codec(), seal(data))
    assert frame.valid
    assert [d.code for d in frame.deviations] == ["text_gbk"]
    assert frame.readings[0].text == "设备运行"


def test_hostile_bytes_that_are_no_text_are_said(make_codec: Any, run: Any, seal: Any, segment: Any) -> None:
    data = segment(f"{T};w01018-Rtd=7,i12001-Info=??").encode().replace(b"??", b"\xff\xfe\x80")
    (frame,), _ = run(make_codec(), seal(data))
    assert frame.valid
    assert [d.code for d in frame.deviations] == ["text_unreadable"]
    assert frame.readings[0].value == 7


def test_hostile_flood_of_wrong_crcs_gives_no_reading_and_no_answer(
    make_codec: Any, run: Any, seal: Any, segment: Any
) -> None:
    codec = make_codec()
    bad = seal(segment(OK), crc="0000")
    frames, _ = run(codec, bad * 500 + seal(segment(OK)))
    assert len(frames) == 501
    assert all(codec.reply(f) is None for f in frames[:-1])
    batch = codec.to_batch(frames, received_at=AT)
    assert batch.rows.num_rows == 1
    assert batch.rejects is not None
    assert set(batch.rejects.column("code").to_pylist()) == {"crc_wrong"}
    assert batch.rejects.num_rows == 500
    assert codec.reply(frames[-1]) is not None


def test_strictness_is_a_policy_of_the_station(make_codec: Any, run: Any, seal: Any, segment: Any) -> None:
    bad = seal(segment(OK), crc="0000")
    lenient, strict = make_codec(options={"refuse": []}), make_codec(options={"refuse": ["separator_at_end"]})
    frames, _ = run(lenient, bad)
    assert lenient.to_batch(frames, received_at=AT).rows.num_rows == 1
    frames, _ = run(strict, seal(segment(OK + ";")))
    assert frames[0].valid
    assert strict.to_batch(frames, received_at=AT).rows.num_rows == 0


def test_hostile_two_stations_on_one_connection_stay_apart(make_codec: Any, run: Any, make_logger: Any) -> None:
    other = "A" * 24
    long = [[(f"e301{n:02d}-Rtd", 1.5 * n), (f"e301{n:02d}-Flag", "N")] for n in range(40)]
    mine, theirs = (make_logger(mn=mn).upload("2051", AT, long) for mn in (MN, other))
    assert len(mine) > 1
    mixed = [frame for pair in zip(mine, theirs, strict=True) for frame in pair]
    frames, _ = run(make_codec(), b"".join(mixed))
    whole = [f for f in frames if f.readings]
    assert [f.device_id for f in whole] == [MN, other]
    assert [len(f.readings) for f in whole] == [40, 40]


@pytest.mark.parametrize(("profile", "flag", "codes"), [("hj212-2017", "9", ["edition"]), ("hj212-2025", "9", [])])
def test_the_profile_decides_the_edition(
    make_codec: Any, run: Any, seal: Any, segment: Any, profile: str, flag: str, codes: list[str]
) -> None:
    (frame,), _ = run(make_codec(profile=profile), seal(segment(OK, flag=flag)))
    assert [d.code for d in frame.deviations] == codes


def test_unknown_profile_is_said_and_the_frame_still_read(make_codec: Any, run: Any, seal: Any, segment: Any) -> None:
    (frame,), _ = run(make_codec(profile="nobody"), seal(segment(OK)))
    assert [d.code for d in frame.deviations] == ["profile_unknown"]
    assert len(frame.readings) == 1


@pytest.mark.parametrize("end", [b"", b"\n", b"\r"])
def test_line_end_missing(make_codec: Any, run: Any, seal: Any, segment: Any, end: bytes) -> None:
    frames, _ = run(make_codec(), seal(segment(OK), end=end) + seal(segment(OK)) + seal(segment(OK), end=b""))
    assert [[d.code for d in f.deviations] for f in frames] == [["line_end_missing"], [], ["line_end_missing"]]
    assert all(f.valid for f in frames)


def test_area_not_closed(make_codec: Any, run: Any, seal: Any, segment: Any) -> None:
    (frame,), _ = run(make_codec(), seal(segment(OK).removesuffix("&&")))
    assert frame.valid
    assert [d.code for d in frame.deviations] == ["area_not_closed"]
    assert frame.readings[0].value == 12.5


def test_no_area_at_all(make_codec: Any, run: Any, seal: Any) -> None:
    (frame,), _ = run(make_codec(), seal(head()))
    assert [d.code for d in frame.deviations] == ["area_not_closed", "area_missing", "separator_missing"]
    assert frame.header.mn == MN


def test_crc_in_lower_case_is_valid(make_codec: Any, run: Any, seal: Any, segment: Any) -> None:
    text = next(t for n in range(99) if (t := segment(f"{T};w01018-Rtd={n}")) and not crc_text(t.encode()).isdigit())
    (frame,), _ = run(make_codec(), seal(text, crc=crc_text(text.encode()).lower()))
    assert frame.valid
    assert [d.code for d in frame.deviations] == ["crc_case"]


def test_several_times_in_one_data_area(make_codec: Any, run: Any, seal: Any, segment: Any) -> None:
    area = f"{T};w01018-Avg=1,w01018-Flag=N;DataTime=20240520211600;w01018-Avg=2,w01018-Flag=M"
    codec = make_codec()
    (frame,), _ = run(codec, seal(segment(area, cn="2051")))
    assert [(r.at.minute, r.value, r.quality) for r in frame.readings] == [(6, 1, "N"), (16, 2, "M")]
    assert codec.to_batch([frame], received_at=AT).rows.num_rows == 2


def test_every_deviation_has_words() -> None:
    import re
    from pathlib import Path

    import dianhuan_devices.hj212 as package

    folder = Path(str(package.__file__)).parent
    code = "".join(p.read_text("utf-8") for p in folder.glob("*.py"))
    used = set(re.findall(r'Deviation\(\s*"(\w+)"', code)) | {"line_end_missing", "area_not_closed"}
    used |= {"key_previous", "cipher_printed"}
    assert used - {"time_missing"} <= set(deviation_words())
    assert set(deviation_words()) <= used
