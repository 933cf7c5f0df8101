"""Frames of HJ 212 a second on one core: our codec beside a table CRC with a regular-expression parser.

    python -m benchmarks hj212 [--frames 20000] [--rounds 7] [--quick]

The frames are 370 bytes long with ten readings and their flags, all different in time and values. `CRC only` is the
framing and check sum alone; `parsed` gives numbers, flags, instants and deviations; `to Arrow rows` adds
the rows of `reading`. The named alternative in the same run is what HJ 212 servers in Python do: one table look-up a
byte for the CRC and a regular expression with `float` for the items. No HJ 212 parser stands on PyPI to compare with.
"""

from __future__ import annotations

import argparse
import random
import re
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from benchmarks._report import write
from dianhuan_devices.hj212 import Hj212Codec, Hj212Config, Hj212Frame, Sm4, crc16, encode_segment
from dianhuan_devices.hj212._crc import walk
from dianhuan_devices.hj212._framing import Cut, Cutter
from dianhuan_sdk import Device, Secret

KEY = "0123456789ABCDEFFEDCBA9876543210"
MN = "010000A8900016F000169DC0"
START = datetime(2026, 3, 1, tzinfo=UTC)
SIZE = 370
CHUNK = 1 << 16
BATCH = 4000


def frames(count: int, key: Sm4 | None) -> list[bytes]:
    """Frames of exactly `SIZE` bytes: three phase currents and a voltage by Min, Avg, Max with their flags."""
    rng = random.Random(212)
    made = []
    for number in range(count):
        at = (START + timedelta(seconds=5 * number)).strftime("%Y%m%d%H%M%S")
        groups = []
        for code in ("e30101", "e30102", "e30103"):
            low = rng.uniform(1, 40)
            values = f"{code}-Min={low:.3f},{code}-Avg={low * 1.1:.3f},{code}-Max={low * 1.2:.3f}"
            groups.append(f"{values},{code}-Flag={rng.choice('NNNNND')}")
        groups.append(f"i33202-Avg={rng.uniform(100, 999):.2f},i33202-Flag=N")
        area = f"DataTime={at};" + ";".join(groups)
        fields = [("QN", at + "123"), ("ST", "52"), ("CN", "2051"), ("PW", "123456"), ("MN", MN), ("Flag", "9")]
        short = SIZE - 12 - len("".join(f"{n}={v};" for n, v in fields)) - len("CP=&&&&") - len(area)
        area = area.replace("i33202-Avg=", "i33202-Avg=" + "1" * short) if short > 0 else area[:short]
        made.append(encode_segment(fields, area.encode("ascii"), key))
    assert {len(f) for f in made} == {SIZE}
    return made


class TableAndRegex:
    """The alternative: look for CR LF, table CRC, regular expressions."""

    item = re.compile(r"([A-Za-z]\w*)-(\w+)=([^;,]*)")
    head = re.compile(r"QN=(\d+);ST=(\d+);CN=(\d+);PW=(\w+);MN=(\w+);Flag=(\d+);CP=&&DataTime=(\d+)")

    def parse(self, frame: bytes) -> tuple[object, ...] | None:
        size = int(frame[2:6])
        segment = frame[6 : 6 + size]
        if walk(segment) != int(frame[6 + size : 10 + size], 16):
            return None
        text = segment.decode("ascii")
        found = self.head.match(text)
        assert found is not None
        values: dict[tuple[str, str], float] = {}
        flags: dict[str, str] = {}
        for code, suffix, value in self.item.findall(text, found.end()):
            if suffix == "Flag":
                flags[code] = value
            else:
                values[code, suffix] = float(value)
        return found.groups(), datetime.strptime(found[7], "%Y%m%d%H%M%S"), values, flags  # noqa: DTZ007

    def run(self, data: bytes) -> int:
        return sum(self.parse(frame + b"\r\n") is not None for frame in data.split(b"\r\n") if frame)


def once(run: Callable[[], int]) -> float:
    """Frames a second of one run."""
    start = time.perf_counter()
    count = run()
    return count / (time.perf_counter() - start)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--frames", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--quick", action="store_true", help="2,000 frames, three rounds")
    chosen = options.parse_args()
    if chosen.quick:
        chosen.frames, chosen.rounds = 2_000, 3
    plain = frames(chosen.frames, None)
    sealed = frames(chosen.frames, Sm4(bytes.fromhex(KEY)))
    streams = {"plain": b"".join(plain), "sealed": b"".join(sealed)}
    device = Device(MN, MN, keys=(Secret(KEY),))

    def codec(keyed: bool) -> Hj212Codec:
        return Hj212Codec(Hj212Config(), lambda mn: device if keyed else None)

    def crc_only() -> int:
        cutter, good, data = Cutter(), 0, streams["plain"]
        for place in range(0, len(data), CHUNK):
            for cut in cutter.feed(data[place : place + CHUNK]):
                good += isinstance(cut, Cut) and crc16(cut.segment) == int(cut.crc, 16)
        return good

    def parsed(name: str, keyed: bool) -> int:
        feed, count, data = codec(keyed).feed, 0, streams[name]
        for place in range(0, len(data), CHUNK):
            count += len(feed(data[place : place + CHUNK]))
        return count

    def to_rows(name: str, keyed: bool) -> int:
        line, rows, data, waiting = codec(keyed), 0, streams[name], []
        for place in range(0, len(data), CHUNK):
            waiting += [f for f in line.feed(data[place : place + CHUNK]) if isinstance(f, Hj212Frame)]
            if len(waiting) >= BATCH or place + CHUNK >= len(data):
                rows += line.to_batch(waiting, received_at=START).rows.num_rows
                waiting.clear()
        return rows // 10

    def one_by_one(wires: list[bytes], keyed: bool) -> int:
        feed = codec(keyed).feed
        return sum(len(feed(wire)) for wire in wires)

    for name, keyed in (("plain", False), ("sealed", True)):
        found = [f for f in codec(keyed).feed(streams[name]) if isinstance(f, Hj212Frame)]
        assert len(found) == chosen.frames
        assert all(f.valid and not f.deviations and len(f.readings) == 10 for f in found)

    alternative = TableAndRegex()
    runs: list[tuple[str, Callable[[], int]]] = [
        ("alternative: table CRC + regex", lambda: alternative.run(streams["plain"])),
        ("framing and CRC only", crc_only),
        ("parsed, 64 KiB a read", lambda: parsed("plain", False)),
        ("parsed, one frame a read", lambda: one_by_one(plain, False)),
        ("parsed, to Arrow rows", lambda: to_rows("plain", False)),
        ("encrypted, 64 KiB a read", lambda: parsed("sealed", True)),
        ("encrypted, one frame a read", lambda: one_by_one(sealed, True)),
        ("encrypted, to Arrow rows", lambda: to_rows("sealed", True)),
    ]
    print(f"HJ 212, {SIZE}-byte frames with ten readings: frames/s on one core")
    print(f"{chosen.rounds} runs over {chosen.frames} frames each")
    for name, run in runs:
        assert run() == chosen.frames, name  # warm-up, and every frame must come through
    # Rounds go over all variants in turn, so that other work on the machine disturbs all of them alike.
    measured: dict[str, list[float]] = {name: [] for name, _ in runs}
    for _ in range(chosen.rounds):
        for name, run in runs:
            measured[name].append(once(run))
    base = statistics.median(measured[runs[0][0]])
    print(f"{'':34s} {'median':>10s} {'best':>10s}  ratio of medians")
    facts = {}
    for name, rates in measured.items():
        median = statistics.median(rates)
        facts[name] = {"median": round(median), "best": round(max(rates)), "ratio": round(median / base, 2)}
        print(f"{name:34s} {median:10,.0f} {max(rates):10,.0f} {median / base:6.2f}")
    aims = {"parsed, one frame a read": 75_000, "encrypted, one frame a read": 45_000}
    met = {name: facts[name]["median"] >= aim for name, aim in aims.items()}
    write("hj212", {"frames": chosen.frames, "rounds": chosen.rounds, "frames_per_s": facts, "aims": aims, "met": met})


if __name__ == "__main__":
    main()
