"""What the tests of several protocols share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dianhuan_devices.hj212 import Hj212Codec, Hj212Config, Hj212Frame, Logger, Sm4, Station, crc_text
from dianhuan_sdk import Deviation, Device, Secret

MN = "010000A8900016F000169DC0"


@pytest.fixture(scope="session")
def vectors() -> Mapping[str, Any]:
    """The published vectors of HJ 212-2025."""
    loaded: Mapping[str, Any] = json.loads((Path(__file__).parent / "data" / "vectors_2025.json").read_text("utf-8"))
    return loaded


@pytest.fixture(scope="session")
def seal() -> Callable[..., bytes]:
    """Makes a frame of a data segment: `seal(segment, declared=None, crc=None, end=b"\\r\\n")`."""

    def make(segment: bytes | str, declared: int | None = None, crc: str | None = None, end: bytes = b"\r\n") -> bytes:
        data = segment.encode("utf-8") if isinstance(segment, str) else segment
        size = len(data) if declared is None else declared
        return b"##%04d" % size + data + (crc or crc_text(data)).encode("ascii") + end

    return make


@pytest.fixture(scope="session")
def segment() -> Callable[..., str]:
    """Makes the text of a data segment: `segment(area, cn="2011", …)`."""

    def make(area: str, cn: str = "2011", st: str = "32", flag: str = "5", qn: str = "20240520210700000") -> str:
        return f"QN={qn};ST={st};CN={cn};PW=123456;MN={MN};Flag={flag};CP=&&{area}&&"

    return make


@pytest.fixture(scope="session")
def make_codec() -> Callable[..., Hj212Codec]:
    """Makes a codec whose directory knows one station: `make_codec(keys=(…), profile="", options={…})`."""

    def make(
        keys: Sequence[str] = (), profile: str = "", options: Mapping[str, Any] | None = None, mn: str | None = None
    ) -> Hj212Codec:
        device = Device(
            "plant-1/logger", MN, profile=profile, keys=tuple(Secret(k) for k in keys), options=options or {}
        )
        known = bool(keys or profile or options)
        return Hj212Codec(Hj212Config(), lambda address: device if known and address == (mn or MN) else None)

    return make


@pytest.fixture(scope="session")
def run() -> Callable[..., tuple[list[Hj212Frame], list[Deviation]]]:
    """Feeds bytes, whole or in chunks, to a codec up to the end of the stream; frames and stream deviations."""

    def feed(codec: Hj212Codec, data: bytes, cuts: Sequence[int] = ()) -> tuple[list[Hj212Frame], list[Deviation]]:
        edges = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
        found: list[Hj212Frame | Deviation] = []
        for low, high in pairwise(edges):
            found += codec.feed(data[low:high])
        found += codec.settle(end=True)
        frames: dict[int, Hj212Frame] = {id(f): f for f in found if isinstance(f, Hj212Frame)}
        return list(frames.values()), [d for d in found if isinstance(d, Deviation)]

    return feed


@pytest.fixture(scope="session")
def make_logger() -> Callable[..., Logger]:
    """Makes a logger: `make_logger(edition=2017, key_hex="")`."""

    def make(edition: int = 2017, key_hex: str = "", mn: str = MN) -> Logger:
        key = Sm4(bytes.fromhex(key_hex)) if key_hex else None
        return Logger(Station(mn=mn, edition=edition, key=key))

    return make
