"""A small city: a storage port over Arrow tables with its state in one SQLite file, a publisher, witnesses."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dianhuan_federation.bundle import FolderFiles
from dianhuan_federation.core import (
    PAYLOAD_TYPE,
    Grant,
    NoteSignature,
    PolicyRef,
    Report,
    Submission,
    build_statement,
    canonical,
    cosign,
    parse_checkpoint,
    parse_policy,
    seal,
)
from dianhuan_federation.guard import CheckpointGuard
from dianhuan_federation.log_store import TileLog
from dianhuan_federation.policy import SHIPPED, shipped_terms
from dianhuan_federation.publish import Publisher, Settings
from dianhuan_sdk import Batch, InputError, Receipt, TransientError
from dianhuan_standards.tables import TABLES

WORLD = Path(__file__).parents[3] / "conformance" / "federation" / "conformance_world.py"
KEY = b"a key of the city, random"
TODAY = date(2027, 1, 15)
"""The civil day of the small federation's present."""


@pytest.fixture(scope="session")
def world() -> ModuleType:
    """The small federation with fixed keys and times."""
    if "conformance_world" not in sys.modules:
        spec = importlib.util.spec_from_file_location("conformance_world", WORLD)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["conformance_world"] = module
        spec.loader.exec_module(module)
    return sys.modules["conformance_world"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of small files: a killed process loses nothing that it wrote, whatever fsync does."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


class Storage:
    """`StoragePort` over tables and state in one SQLite file; a commit is one transaction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as con:
            con.execute("CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value BLOB)")
            con.execute("CREATE TABLE IF NOT EXISTS rows (name TEXT PRIMARY KEY, value BLOB)")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path)) as con, con:
            yield con

    def put(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace a table."""
        table = pa.Table.from_pylist([dict(row) for row in rows], schema=TABLES[name].schema)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        with self._open() as con:
            con.execute("INSERT OR REPLACE INTO rows VALUES (?, ?)", (name, sink.getvalue().to_pybytes()))

    def rows(self, name: str) -> list[dict[str, Any]]:
        """A table as it stands."""
        rows: list[dict[str, Any]] = self._table(name).to_pylist()
        return rows

    def _table(self, name: str) -> pa.Table:
        with self._open() as con:
            found = con.execute("SELECT value FROM rows WHERE name = ?", (name,)).fetchone()
        return TABLES[name].schema.empty_table() if found is None else pa.ipc.open_stream(found[0]).read_all()

    def read(
        self,
        table: str,
        *,
        columns: Sequence[str] | None = None,
        equals: Mapping[str, object] | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> pa.RecordBatchReader:
        """See `StoragePort.read`."""
        data = self._table(table)
        for name, wanted in (equals or {}).items():
            values = wanted if isinstance(wanted, list) else [wanted]
            data = data.filter(pc.is_in(data[name], pa.array(values, data[name].type)))
        if start is not None:
            data = data.filter(pc.greater_equal(data["day"], pa.scalar(start)))
        if end is not None:
            data = data.filter(pc.less(data["day"], pa.scalar(end)))
        chosen = data.select(list(columns)) if columns else data
        return pa.RecordBatchReader.from_batches(chosen.schema, chosen.to_batches())

    def commit(self, batches: Sequence[Batch], state: Mapping[str, bytes] | None = None) -> Receipt:
        """See `StoragePort.commit`."""
        assert not batches
        with self._open() as con:
            con.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", list((state or {}).items()))
        return Receipt(0, 0, 0)

    def state(self, key: str) -> bytes | None:
        """See `StoragePort.state`."""
        with self._open() as con:
            found = con.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        return None if found is None else bytes(found[0])


@dataclass
class Clock:
    """A clock that stands still."""

    at: datetime

    def now(self) -> datetime:
        """The present."""
        return self.at

    def today(self) -> date:
        """The civil day."""
        return (self.at + timedelta(hours=8)).date()


@dataclass
class Witness:
    """A witness in this process: it keeps the newest checkpoint and cosigns."""

    world: ModuleType
    name: str
    at: int
    down: bool = False
    held: bytes | None = None
    hub: str = ""
    blobs: dict[str, Path] = field(default_factory=dict)

    def latest(self, origin: str) -> bytes | None:
        """See `WitnessClient.latest`."""
        if self.down:
            raise TransientError("no answer")
        return self.held

    def cosign(self, log: TileLog, blobs: Mapping[str, Path]) -> list[NoteSignature]:
        """See `WitnessClient.cosign`."""
        if self.down:
            raise TransientError("no answer")
        self.held = log.checkpoint()
        self.blobs = dict(blobs)
        text = parse_checkpoint(self.held)[1].text
        return [cosign(text, f"prov.example/{self.name}", self.world.signer(self.name), self.at)]


VALID = ("2026-12-21T00:00:00Z", "2027-12-01T00:00:00Z")


class City:
    """A hub with its tables, its publisher and three witnesses."""

    def __init__(self, world: ModuleType, folder: Path) -> None:
        self.world = world
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.storage = Storage(folder / "hub.sqlite")
        self.clock = Clock(datetime.fromtimestamp(world.NOW - 3600, UTC))
        self.witnesses = [Witness(world, name, world.NOW - 1800) for name in world.WITNESSES]
        self.settings = Settings(
            origin=world.ORIGIN,
            folder=folder / "federation",
            guard=folder / "guard.sqlite",
            log_key=world.signer("log-430200"),
            publisher_keys=[world.signer("publisher-430200")],
            pseudonym_key=KEY,
            quorum=parse_policy(world.policy_text()),
            patience=0.0,
        )

    @property
    def publisher(self) -> Publisher:
        """A publisher over what lies on the disk."""
        return Publisher(self.settings, self.storage, self.clock, self.witnesses)

    def use(self, *ids: str, **changes: Any) -> None:
        """Take these shipped policies."""
        found = []
        for id in ids:
            assignee = [self.world.READER] if SHIPPED[id]["class"] == "conditional" else []
            found.append((id, policy_file(id, assignee, **changes)))
        self.settings = replace(self.settings, policies=tuple(found))

    def grant(self, policy: str) -> bytes:
        """A grant to the reader under the logged policy, signed by both."""
        logged = self.publisher.ledger().policies[policy]
        grant = Grant(
            origin=self.settings.origin,
            stream=f"grant-{policy}",
            stream_seq=1,
            prev_statement_digest=None,
            issued_at=self.clock.now(),
            id=f"grant-{policy}",
            policy=PolicyRef(id=policy, digest=logged.digest),
            assigner=self.world.HUB,
            assignee=self.world.READER,
            purpose="joint enforcement",
            valid_from=datetime(2026, 12, 1, tzinfo=UTC),
            valid_until=datetime(2027, 12, 1, tzinfo=UTC),
        )
        signers = [self.world.signer(f"publisher-{hub}") for hub in (self.world.HUB, self.world.READER)]
        return seal(PAYLOAD_TYPE, build_statement(grant), signers)

    def fill(self, enterprises: int = 8, days: int = 14, per_day: int = 6) -> None:
        """Tables with warnings on the days before today, outcomes for every second case, and load curves."""
        last = TODAY - timedelta(1)
        self.storage.put("entity", [entity(i) for i in range(enterprises)])
        self.storage.put("account_link", [link(i) for i in range(enterprises)])
        self.storage.put("metering_point", [point(i) for i in range(enterprises)])
        span = [last - timedelta(n) for n in range(days)]
        pairs = [(day, i % enterprises) for n, day in enumerate(span) for i in range(n, n + per_day)]
        self.storage.put("finding", [finding(day, i) for day, i in pairs])
        self.storage.put("warning", [warning(day, i) for day, i in pairs])
        self.storage.put("outcome", [outcome(day, i) for day, i in pairs[::2]])
        self.storage.put(
            "load_curve", [curve(day, i) for day in span for i in range(enterprises) if (i, day) != (1, span[1])]
        )

    def change(self, table: str, which: Callable[[dict[str, Any]], bool], **fields: Any) -> int:
        """Change rows of a table; how many."""
        rows = self.storage.rows(table)
        hit = [row for row in rows if which(row)]
        for row in hit:
            row.update(fields)
        self.storage.put(table, rows)
        return len(hit)

    def remove(self, table: str, which: Callable[[dict[str, Any]], bool]) -> int:
        """Remove rows of a table; how many."""
        rows = self.storage.rows(table)
        kept = [row for row in rows if not which(row)]
        self.storage.put(table, kept)
        return len(rows) - len(kept)

    def start(self, *ids: str) -> None:
        """Begin the log, log these policies, and have grants for those that need one."""
        self.use(*ids)
        self.publisher.begin()
        self.publisher.publish(TODAY)
        for id in ids:
            if SHIPPED[id]["class"] == "conditional":
                self.publisher.log_grant(TODAY, self.grant(id))

    def submission(self) -> Submission:
        """What is served."""
        log = FolderFiles(self.settings.log)
        sizes = sorted((p for p in log if p.startswith("checkpoints/")), key=lambda p: int(p.partition("/")[2]))
        blobs = FolderFiles(self.settings.public / "blob" / "sha256")
        return Submission(self.settings.origin, log["checkpoint"], [log[p] for p in sizes], log, blobs)

    def verified(self, state: Any = None, **changes: Any) -> Report:
        """The verifier's answer about what is served."""
        report: Report = self.world.verifier(**changes).verify(self.submission(), state)
        return report

    def served(self) -> dict[str, bytes]:
        """Every file that is served."""
        return dict(FolderFiles(self.settings.public))

    def log(self) -> TileLog:
        """The log itself, opened for reading."""
        return TileLog(
            self.settings.log, self.settings.origin, self.settings.log_key, CheckpointGuard(self.settings.guard)
        )


def policy_file(id: str, assignee: Sequence[str] = (), **changes: Any) -> bytes:
    """A shipped policy as a file."""
    given = SHIPPED[id]
    terms = shipped_terms(id, "430200", assignee, VALID)
    document = {
        "id": id,
        "version": 1,
        "assigner": "430200",
        "assignee": list(assignee),
        "target": id,
        "purpose": "joint enforcement",
        "onward": False,
        "fields": sorted(terms.fields),
        "validFrom": VALID[0],
        "validUntil": VALID[1],
        **given,
        **changes,
    }
    return canonical(document)


def entity(i: int) -> dict[str, Any]:
    """An enterprise."""
    return {
        "entity_id": f"e{i}",
        "uscc": f"91430100MA4L16J{i:02d}X",
        "name": f"企业{i}",
        "division": "430201",
        "industry": "C2614" if i % 2 else "C2511",
        "phone": f"1380000{i:04d}",
    }


def link(i: int) -> dict[str, Any]:
    """Its account."""
    return {"account_no": f"a{i}", "entity_id": f"e{i}", "valid_from": date(2020, 1, 1)}


def point(i: int) -> dict[str, Any]:
    """Its metering point."""
    return {"metering_point_id": f"m{i}", "account_no": f"a{i}"}


def name(day: date, i: int) -> str:
    """Part of the ids of what is about that enterprise and day."""
    return f"{day:%Y%m%d}-{i}"


def finding(day: date, i: int) -> dict[str, Any]:
    """A finding."""
    empty = {"rule": "r", "verdict": "suspect", "score": 0.5, "reasons": "[]", "counter": "[]", "evidence": "{}"}
    return {
        **empty,
        "finding_id": f"f{name(day, i)}",
        "run_id": "run",
        "model_id": "m05-night-only",
        "model_version": "1.2",
        "entity_id": f"e{i}",
        "day": day,
        "context": "[]",
        "gates": "[]",
        "passed": True,
    }


def warning(day: date, i: int) -> dict[str, Any]:
    """A warning."""
    return {
        "warning_id": f"w{name(day, i)}",
        "finding_id": f"f{name(day, i)}",
        "case_id": f"c{name(day, i)}",
        "entity_id": f"e{i}",
        "day": day,
        "model_id": "m05-night-only",
        "score": 0.5,
        "raised_at": datetime(day.year, day.month, day.day, 22, tzinfo=UTC),
    }


def outcome(day: date, i: int) -> dict[str, Any]:
    """What a visit found on the day itself."""
    return {
        "case_id": f"c{name(day, i)}",
        "code": "verified",
        "at": datetime(day.year, day.month, day.day, 9, tzinfo=UTC),
        "actor": "张三",
        "note": "13900001111",
    }


def curve(day: date, i: int) -> dict[str, Any]:
    """A load curve with values that nothing else has."""
    return {
        "metering_point_id": f"m{i}",
        "day": day,
        "kw": [None, *(1000.125 + 10 * i + slot / 64 for slot in range(95))],
        "points": 96,
        "kwh": 24000.5 + i,
    }


@pytest.fixture
def city(world: ModuleType, tmp_path: Path) -> City:
    """A city that has not published yet."""
    made = City(world, tmp_path / "city")
    made.fill()
    return made


@pytest.fixture(scope="session")
def fresh(world: ModuleType) -> Callable[[Path], City]:
    """A city in an empty folder."""

    def make(folder: Path) -> City:
        made = City(world, folder)
        made.fill()
        return made

    return make


@pytest.fixture(scope="session")
def same(world: ModuleType) -> Callable[[City, Path], City]:
    """The city as it is, in a copy of its folder: the same bytes on another machine."""

    def make(city: City, folder: Path) -> City:
        shutil.copytree(city.folder, folder)
        made = City(world, folder)
        made.settings = replace(made.settings, policies=city.settings.policies)
        made.clock.at = city.clock.at
        for mine, theirs in zip(made.witnesses, city.witnesses, strict=True):
            mine.held = theirs.held
        return made

    return make


@pytest.fixture
def in_child() -> Callable[[Callable[[], object]], int]:
    """Run something in a child process; its exit status: 0, 1 where it raised, negative the signal."""

    def run(do: Callable[[], object]) -> int:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                do()
                status = 0
            except InputError:
                status = 2
            except TransientError:
                status = 3
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)

    return run


@pytest.fixture
def kill_at() -> Callable[[int], None]:
    """In a child: die by SIGKILL just before the n-th write of any kind."""

    def arm(number: int) -> None:
        count = 0

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                nonlocal count
                count += 1
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **kwargs)

            return wrapped

        for module, what in ((os, "fsync"), (os, "replace")):
            setattr(module, what, counted(getattr(module, what)))
        for kind, method in ((Storage, "commit"), (CheckpointGuard, "advance"), (Path, "unlink"), (Path, "chmod")):
            setattr(kind, method, counted(getattr(kind, method)))

    return arm


@pytest.fixture(scope="session")
def today() -> date:
    """The civil day of the present."""
    return TODAY
