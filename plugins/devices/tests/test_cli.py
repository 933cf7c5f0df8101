"""`dianhuan device decode`."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dianhuan_devices.cli import app

AT = datetime(2026, 3, 1, 1, 2, 3, tzinfo=UTC)
KEY = "30" * 16
GOLDEN = (
    b"##0101QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;"
    b"CP=&&RtdInterval=30&&1C80\r\n"
)


def decode(*arguments: str, data: bytes | None = None) -> Any:
    return CliRunner().invoke(app, ["decode", *arguments], input=data)


def objects(result: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_json_of_the_golden_frame(tmp_path: Path) -> None:
    file = tmp_path / "capture.bin"
    file.write_bytes(GOLDEN)
    result = decode("--protocol", "hj212", "--json", str(file))
    assert result.exit_code == 0
    (frame,) = objects(result)
    assert frame["valid"] is True
    assert frame["crc_expected"] == "1C80"
    assert frame["deviations"] == []
    assert frame["readings"] == []
    assert (frame["MN"], frame["CN"], frame["Flag"]) == ("010000A8900016F000169DC0", "1062", 5)


def test_lower_case_crc_is_valid_and_a_deviation() -> None:
    result = decode("--json", "-", data=GOLDEN.replace(b"1C80", b"1c80"))
    (frame,) = objects(result)
    assert frame["valid"] is True
    assert frame["crc_expected"] == "1C80"
    assert [d["code"] for d in frame["deviations"]] == ["crc_case"]


def test_misprint_of_the_standard_is_invalid_but_shown() -> None:
    result = decode("--json", "-", data=GOLDEN.replace(b"1C80", b"1C08"))
    (frame,) = objects(result)
    assert result.exit_code == 0
    assert frame["valid"] is False
    assert frame["crc_expected"] == "1C80"
    assert frame["items"] == [["RtdInterval", "30"]]


def test_garbage_is_reported_and_never_fatal() -> None:
    result = decode("--json", "-", data=b"\x00\xffrubbish" + GOLDEN + b"more ## rubbish" + GOLDEN + b"tail")
    assert result.exit_code == 0
    first, second = objects(result)
    assert [d["code"] for d in first["deviations"]] == ["garbage"]
    assert [d["code"] for d in second["deviations"]] == ["garbage"]
    assert first["valid"]
    assert second["valid"]
    assert result.stderr.count("帧间无效字节") == 3


def test_words_for_people(make_logger: Any) -> None:
    (wire,) = make_logger(2025, KEY).electricity(AT, [("d20405", 0.24, "N"), ("d30106", 220.2, "D")])
    result = decode("-", "--key", KEY, data=wire)
    assert result.exit_code == 0
    assert "产污设施A相电流" in result.stdout
    assert "0.24 A  [N]" in result.stdout
    assert "2026-03-01 09:02:03" in result.stdout
    assert "123456" not in result.stdout  # the station's password


@pytest.mark.parametrize("form", ["hex", "env", "file"])
def test_keys_and_secret_references(
    make_logger: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str
) -> None:
    (wire,) = make_logger(2025, KEY).electricity(AT, [("d20405", 0.24, "N")])
    monkeypatch.setenv("STATION_KEY", KEY)
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    key = {"hex": KEY, "env": "env:STATION_KEY", "file": f"file:{file}"}[form]
    (frame,) = objects(decode("--json", "-", "--key", key, data=wire))
    assert frame["valid"]
    assert frame["encrypted"]
    assert frame["readings"] == [
        {
            "code": "d20405",
            "name": "产污设施A相电流",
            "statistic": "rtd",
            "interval": "moment",
            "at": "2026-03-01T09:02:03+08:00",
            "value": 0.24,
            "text": None,
            "unit": "A",
            "flag": "N",
        }
    ]


def test_without_the_key_the_exit_code_says_so(make_logger: Any) -> None:
    (wire,) = make_logger(2025, KEY).electricity(AT, [("d20405", 0.24, "N")])
    result = decode("--json", "-", data=wire + GOLDEN)
    assert result.exit_code == 1
    closed, open_ = objects(result)
    assert [d["code"] for d in closed["deviations"]] == ["key_missing"]
    assert open_["valid"]
    wrong = decode("--json", "-", "--key", "31" * 16, "--key", "32" * 16, data=wire)
    assert wrong.exit_code == 1
    assert [d["code"] for d in objects(wrong)[0]["deviations"]] == ["key_wrong"]


def test_previous_key_may_be_given_too(make_logger: Any) -> None:
    (wire,) = make_logger(2025, KEY).electricity(AT, [("d20405", 0.24, "N")])
    result = decode("--json", "-", "--key", "31" * 16, "--key", KEY, data=wire)
    assert result.exit_code == 0
    assert [d["code"] for d in objects(result)[0]["deviations"]] == ["key_previous"]


def test_split_message_of_which_a_packet_is_missing_has_one_line(make_logger: Any) -> None:
    long = [[(f"e301{n:02d}-Rtd", 1.5 * n), (f"e301{n:02d}-Flag", "N")] for n in range(60)]
    first, second = make_logger().upload("2011", AT, long)
    both = objects(decode("--json", "-", data=first + second))
    assert [len(f["readings"]) for f in both] == [0, 60]
    (alone,) = objects(decode("--json", "-", data=first))
    assert [d["code"] for d in alone["deviations"]] == ["packets_missing"]
    assert 20 < len(alone["readings"]) < 40


@pytest.mark.parametrize("data", [b"", b"no frame at all", GOLDEN + GOLDEN[:50]])
def test_exit_code_where_something_could_not_be_decoded(data: bytes) -> None:
    assert decode("--json", "-", data=data).exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["/nowhere/at/all"],
        ["-", "--key", "abc"],
        ["-", "--key", "env:NOT_SET_ANYWHERE"],
        ["-", "--key", "file:/nowhere"],
        ["-", "--protocol", "morse"],
        ["-", "--profile", "nobody"],
    ],
)
def test_wrong_use_says_what_to_do(arguments: list[str]) -> None:
    result = decode(*arguments, data=GOLDEN)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.strip()


def test_wrong_key_is_not_repeated_in_the_message() -> None:
    assert "secretsecret" not in decode("-", "--key", "secretsecret", data=GOLDEN).stderr


def test_as_a_process_on_stdin() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dianhuan_devices.cli", "decode", "--protocol", "hj212", "--json", "-"],
        input=GOLDEN * 3,
        capture_output=True,
        check=True,
        timeout=60,
    )
    lines = [json.loads(line) for line in done.stdout.decode("utf-8").splitlines()]
    assert [line["crc_expected"] for line in lines] == ["1C80"] * 3
    assert [line["offset"] for line in lines] == [0, len(GOLDEN), 2 * len(GOLDEN)]
