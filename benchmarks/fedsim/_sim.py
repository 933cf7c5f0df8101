"""Ninety days of a country with all that goes wrong in it, and a register of what was done and what was noticed."""

from __future__ import annotations

import base64
import copy
import gzip
import json
import random
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fedsim._city import DAY, City, draw_rows, world
from benchmarks.fedsim._nodes import Nodes
from benchmarks.fedsim._reader import Reader
from dianhuan_federation.bundle import export_bundle, log_files, log_hash
from dianhuan_federation.core import NAMELESS_WARNING_ROWS
from dianhuan_federation.policy import EgressGate
from dianhuan_sdk import InputError

HOUR = 3600
SILENCE = 26 * HOUR
CANARY = "CANARY-7f3a91c2"
TAMPER = frozenset({"E-DIGEST", "E-TREE", "E-ROWS", "E-SIG", "E-CP", "E-CAP"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens when; days count from 0.

    Args:
        days: simulated.
        median: rows a hub and day.
        hourly: days with a head every hour.
        offline: share of hubs that publish nothing on a day.
        airgapped: hubs whose logs come by weekly tar only.
        fork, rollback, silent, tampered: (day, hub number) of each.
        partition: province and first day; ten days long.
    """

    days: int
    median: int
    hourly: tuple[int, ...]
    offline: float
    airgapped: tuple[int, ...]
    fork: tuple[int, int]
    rollback: tuple[int, int]
    silent: tuple[tuple[int, int], ...]
    tampered: tuple[int, int]
    partition: tuple[str, int]


@dataclass
class Noticed:
    """What was done, when it was noticed, and alarms without a cause.

    Args:
        done: what → simulated hour.
        seen: what → hours until the first alarm.
        false: alarms about a hub to which nothing was done.
        canaries: planted, refused.
        clean: honest payloads shown to the gate, and refused by it.
    """

    done: dict[str, float] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    false: list[str] = field(default_factory=list)
    canaries: list[int] = field(default_factory=lambda: [0, 0])
    clean: list[int] = field(default_factory=lambda: [0, 0])
    silences: Counter[str] = field(default_factory=Counter)
    silence_hours: list[float] = field(default_factory=list)
    looks: int = 0


class Simulation:
    """A country over time.

    Args:
        folder: for everything.
        cities: with a first head each.
        plan: what happens.
        seed: of what is drawn.
    """

    def __init__(self, folder: Path, cities: list[City], plan: Plan, seed: int) -> None:
        self.folder = folder
        self.cities = cities
        self.plan = plan
        self.rng = random.Random(seed)
        self.start = world().NOW - (plan.days + 3) * DAY
        self.now = self.start
        self.noticed = Noticed()
        self.air = {cities[n].code for n in plan.airgapped}
        self.gone: set[str] = set()
        self.hostile: set[str] = set()
        self.tampering: dict[str, float] = {}
        self.delivered: dict[str, int] = {}
        self.silent_since: dict[str, float] = {}
        self.nodes = Nodes(folder / "country", cities)
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        for city in cities:
            city.add_heartbeat(self.now)
            city.publish(self.now)
            city.write(self._place(city))
        self.nodes.set_time(self.now + 600)
        self.nodes.start()
        peers = [
            {"origin": c.origin, **({"folder": str(self.inbox)} if c.code in self.air else {"url": self.nodes.url(c)})}
            for c in cities
        ]
        self.reader = Reader(folder / "reader", self.nodes.folder, peers, self.now + 600)

    def _place(self, city: City) -> Path:
        return self.folder / "air" / city.code if city.code in self.air else self.nodes.place(city)

    @property
    def hour(self) -> float:
        """Simulated hours since the start."""
        return (self.now - self.start) / HOUR

    def run(self) -> None:
        """All days."""
        for day in range(self.plan.days):
            self.now = self.start + (day + 1) * DAY
            self._before(day)
            self._publish(day)
            self._canaries(day)
            self._look(sync=True)
            if day % 7 == 6 or day == self.plan.days - 1:
                self._stick(day)
            if day in self.plan.hourly:
                for _ in range(23):
                    self.now += HOUR
                    for city in self.cities:
                        if city.code not in self.gone | self.air | self.hostile:
                            city.add_heartbeat(self.now)
                            self._send(city)
                    self._look(sync=True)
            else:
                self.now += 2 * HOUR + 1800
                self._look(sync=False)

    def _before(self, day: int) -> None:
        province, first = self.plan.partition
        if day in (first, first + 10):
            self.nodes.cut(province, day == first)
        for when, number in self.plan.silent:
            if when == day:
                self.gone.add(self.cities[number].code)
        if self.plan.fork[0] == day:
            self._twist(self.cities[self.plan.fork[1]], "fork", back=1)
        if self.plan.rollback[0] == day:
            self._twist(self.cities[self.plan.rollback[1]], "rollback", back=4)

    def _twist(self, city: City, what: str, back: int) -> None:
        """The hub signs another history: of the same length (fork), or from an old backup on (rollback)."""
        size = len(city.log.entries)
        kept = copy.copy(city.log)
        city.log.entries, city.log.digests = list(kept.entries[: size - back]), list(kept.digests[: size - back])
        city.log.heads, city._written = [], 0
        payload = draw_rows(random.Random(what), city.code, 9000, 50, self.now)
        city.log.streams = {**kept.streams}
        city.add_day(self.now, payload=payload)
        city.publish(self.now, ())  # honest witnesses do not cosign it
        city.write(self._place(city))
        self.hostile.add(city.code)
        self.noticed.done[what] = self.hour

    def _publish(self, day: int) -> None:
        when, number = self.plan.tampered
        for city in self.cities:
            if city.code in self.gone | self.hostile:
                continue
            city.add_day(self.now)
            if city.code not in self.air and self.rng.random() < self.plan.offline:
                continue  # it comes with the next head
            self._send(city)
            if when == day and city is self.cities[number]:
                self._spoil(self._place(city), city)

    def _send(self, city: City) -> None:
        city.publish(self.now)
        city.write(self._place(city))
        if city.code not in self.air and city.code[:2] != self._cut():
            self.delivered[city.code] = self.now

    def _cut(self) -> str:
        province, first = self.plan.partition
        day = int((self.now - self.start) // DAY) - 1
        return province if first <= day < first + 10 else ""

    def _spoil(self, place: Path, city: City) -> None:
        """A mirror changes one byte of the newest payload."""
        newest = place / "blob" / "sha256" / self._newest(city)
        data = bytearray(newest.read_bytes())
        data[len(data) // 2] ^= 1
        newest.write_bytes(bytes(data))
        self.tampering[city.code] = self.hour
        self.noticed.done["tampered mirror"] = self.hour

    @staticmethod
    def _newest(city: City) -> str:
        """Name of the payload of a city's newest batch."""
        for entry in reversed(city.log.entries):
            said = json.loads(base64.b64decode(json.loads(entry)["payload"]))["predicate"]
            if "encodings" in said:
                return str(said["encodings"][0]["digest"]["sha256"])
        raise AssertionError("no batch")

    def _canaries(self, day: int) -> None:
        """A few hubs' rows at the gate: as they are, and with a value in them that was planted in a raw column."""
        gate = EgressGate(canaries=(CANARY,))
        today = self.reader.clock.today()
        for city in self.rng.sample(self.cities, 3):
            payload = draw_rows(self.rng, city.code, day, 40, self.now).replace(b'"enterprise_name":null,', b"")
            for planted, data in ((False, payload), (True, _plant(payload, self.rng))):
                counts = self.noticed.canaries if planted else self.noticed.clean
                counts[0] += 1
                try:
                    gate.check(NAMELESS_WARNING_ROWS, data, ["440000"], today)
                except InputError:
                    counts[1] += 1

    def _stick(self, day: int) -> None:
        """The week's tar of each hub without a network; the courier of the second week damages one."""
        week = day // 7
        for city in self.cities:
            if city.code not in self.air:
                continue
            place = self._place(city)
            log = place / "mirror" / "logs" / log_hash(city.origin)
            files = {str(p.relative_to(log)): p.read_bytes() for p in log.rglob("*") if p.is_file()}
            contents = dict(log_files(city.origin, files))
            contents |= {f"blobs/sha256/{p.name}": p.read_bytes() for p in (place / "blob" / "sha256").iterdir()}
            trust = self.nodes.folder / "trust"
            contents |= {f"trust/{p.relative_to(trust)}": p.read_bytes() for p in trust.rglob("*.json")}
            target = self.folder / f"{city.code}-{week}.tar"
            export_bundle(
                target,
                contents.items(),
                exporter=city.code,
                signer=world().signer(f"transport-{city.code}"),
                created_at=self.now,
            )
            if week == 1 and city.code == min(self.air):
                self._courier(target, city)
            report = self.reader.subscriber.import_bundle(target)
            target.unlink()
            if not report.ok:
                self.noticed.false.append(f"day {day} {city.code} intact tar: {report.verdict} {report.merged}"[:400])
            else:
                self.delivered[city.code] = city.published_at

    def _courier(self, target: Path, city: City) -> None:
        damaged = target.with_suffix(".damaged.tar")
        data = bytearray(target.read_bytes())
        newest = self._newest(city)
        place = data.rfind(f"blobs/sha256/{newest}".encode())
        data[place + 512 + 60] ^= 1  # behind the header of 512 bytes
        damaged.write_bytes(bytes(data))
        self.noticed.done["tampered stick"] = self.hour
        report = self.reader.subscriber.import_bundle(damaged)
        damaged.unlink()
        refused = not report.ok or any(m.statements.get("REJECTED") for m in report.merged)
        if refused:
            self.noticed.seen["tampered stick"] = 0.0

    def _look(self, *, sync: bool) -> None:
        """Pull and see what the hub says about each log, against what was done to it."""
        self.reader.clock.time = self.now + 600
        self.nodes.set_time(self.now + 600)
        self.noticed.looks += 1
        if sync:
            for merged in self.reader.subscriber.sync().merged:
                code = merged.origin.split("/")[1]
                if merged.code or merged.statements.get("REJECTED"):
                    self._alarm(code, merged.code or "REJECTED", merged.detail)
        for row in self.reader.subscriber.show():
            code = row["hub"]
            last = self.delivered.get(code, self.start if code not in self.air else 0)
            silent = self.now + 600 - last > SILENCE
            if silent and code not in self.silent_since:
                self.silent_since[code] = last / HOUR + 24
            if row["state"] in ("STALE", "MISSING"):
                if silent or code in self.hostile:
                    if code not in self.air and self.silent_since.get(code, -1) > 0:
                        self.noticed.silence_hours.append((self.now + 600) / HOUR - self.silent_since[code])
                        self.noticed.silences["noticed"] += 1
                        self.silent_since[code] = -1
                else:
                    self.noticed.false.append(f"hour {self.hour:.0f} {code} {row['state']}")
            elif silent and row["state"] == "FRESH":
                self.noticed.silences["shown as fresh"] += 1
            if not silent:
                self.silent_since.pop(code, None)

    def _alarm(self, code: str, reason: str, detail: str) -> None:
        first = self.noticed
        if reason == "E-FORK" and code in self.hostile:
            what = "fork" if code == self.cities[self.plan.fork[1]].code else "rollback"
            first.seen.setdefault(what, self.hour - first.done[what])
        elif code in self.tampering and (reason in TAMPER or reason == "REJECTED"):
            first.seen.setdefault("tampered mirror", self.hour - self.tampering[code])
        elif reason == "E-NET" and code[:2] == self._cut():
            first.silences["unreachable"] += 1
        elif code in self.hostile or (reason == "E-NET" and code in self.air):
            pass  # known already; or nothing lies in the inbox
        else:
            first.false.append(f"hour {self.hour:.0f} {code} {reason} {detail}"[:300])

    def leaked(self) -> int:
        """Files of all that is served in which a canary stands, also within compressed payloads."""
        found = 0
        for path in (self.folder / "country" / "nodes").rglob("*"):
            if path.is_file() and "/blob/" in str(path):
                try:
                    found += CANARY.encode() in gzip.decompress(path.read_bytes())
                except (OSError, EOFError, ValueError, zlib.error):
                    continue
        return found

    def totals(self) -> dict[str, Any]:
        """What the reader holds in the end against what was published."""
        heads = {c.code: c.size for c in self.cities}
        rows = {row["hub"]: row for row in self.reader.subscriber.show()}
        behind = [c for c in heads if rows[c]["size"] != heads[c] and c not in self.hostile | self.gone]
        return {
            "logs": len(heads),
            "logs_not_caught_up_at_the_end": len(behind),
            "heads_published": sum(len(c.log.heads) for c in self.cities),
            "statements": self.reader.count("federated_statement"),
            "rows_in_replica": self.reader.count("federated_warning"),
            "rejected_statements": self.reader.count("federated_statement", state="REJECTED"),
        }

    def close(self) -> None:
        """End reader and nodes."""
        self.reader.close()
        self.nodes.stop()


def _plant(payload: bytes, rng: random.Random) -> bytes:
    lines = payload.split(b"\n")
    line = rng.randrange(len(lines) - 1)
    lines[line] = lines[line].replace(b'"model_version":"1.2"', f'"model_version":"{CANARY}"'.encode())
    return b"\n".join(lines)


def standard_plan(hubs: int, days: int, median: int, provinces: list[str], hourly: int) -> Plan:
    """The plan for so many hubs and days; hubs that are hostile, silent or without a network are all different ones."""
    third = days // 3
    air = tuple(range(5, 5 + max(1, hubs // 100)))
    return Plan(
        days=days,
        median=median,
        hourly=tuple(range(days // 2, days // 2 + hourly)),
        offline=0.05,
        airgapped=air,
        fork=(third, 0),
        rollback=(third + 2, 1),
        silent=((third + 1, 2), (2 * third, 3)),
        tampered=(third + 1, 4),
        partition=(provinces[len(provinces) // 2], max(1, days // 6)),
    )
