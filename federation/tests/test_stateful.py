"""Whatever happens in whatever order, provinces that have been told the same end with the same verified replica."""

from __future__ import annotations

import copy
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from dianhuan_federation.config import FederationConfig, Peer
from dianhuan_federation.core import (
    load_trust,
    parse_checkpoint,
    parse_policy,
    prove_record,
    read_payload,
    verify_fork,
    verify_record,
)
from dianhuan_federation.replica import FEDERATED_TABLES, ReplicaLog, read_entry
from dianhuan_federation.sync import Subscriber, SyncReport
from dianhuan_sdk import PluginContext, Secret

CITIES = ("430200", "430300")
LIAR = "440300"
PROVINCES = ("430000", "440000")
OWN = {"received_at", "digest", "checkpoint_size", "witnesses", "witnessed_at", "last_pull_at", "last_ok_at", "via"}
"""What depends on when and how a delivery came: which head covered an entry first. States and rows must not."""

ORDERED = ("federated_warning", "federated_statement", "federated_dispute")


class Province:
    """A hub that follows every city; all it knows lies in a folder."""

    def __init__(self, machine: Federation, hub: str) -> None:
        self.machine, self.hub = machine, hub
        self.folder = machine.folder / f"province-{hub}"
        world = machine.world
        if not self.folder.exists():
            machine.parts.write(self.folder / "trust", machine.builder().build())
            (self.folder / "root.json").write_bytes(machine.builder().bootstrap())
            (self.folder / "policy.txt").write_bytes(world.policy_text())
        self.store = machine.parts.SqliteStore(self.folder / "hub.sqlite", FEDERATED_TABLES)

    def subscriber(self, *peers: Peer) -> Subscriber:
        """As each command makes one."""
        config = FederationConfig(
            origin=f"fed.example/{self.hub}/r1",
            roles=("subscriber",),
            guard=self.folder / "guard",
            trust=self.folder / "trust",
            root=self.folder / "root.json",
            witness_policy=self.folder / "policy.txt",
            folder=self.folder,
            peers=peers,
            allow_private=("127.0.0.0/8",),
        )
        context = PluginContext(
            plugin_id="federation",
            config=config,
            secret=lambda ref: Secret(ref.ref),
            clock=self.machine.parts.FixedClock(self.machine.world.NOW),
            log=logging.getLogger("federation-test"),
            metrics=None,  # type: ignore[arg-type]
            http=httpx.AsyncClient,
            storage=self.store,
            folder=self.folder,
        )
        return Subscriber(context, config, signer=self.machine.world.signer(f"transport-{self.hub}"))

    def sync(self, *peers: Peer) -> SyncReport:
        subscriber = self.subscriber(*peers)
        try:
            return subscriber.sync()
        finally:
            subscriber.close()

    def table(self, name: str, logs: tuple[str, ...] = CITIES) -> list[dict[str, Any]]:
        rows = [row for row in self.store.rows(name) if row["origin"].split("/")[1] in logs]
        return [{k: v for k, v in row.items() if k not in OWN} for row in rows]


class Federation(RuleBasedStateMachine):
    """Two honest cities, one liar, two provinces, and a model of what must be true of the honest ones' records."""

    world: ModuleType
    parts: ModuleType
    root: Path
    url: str

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=self.root))
        self.base = f"{self.url}/{self.folder.name}"
        world = self.world
        self.hubs = {hub: world.hub_file(hub) for hub in (*CITIES, LIAR, *PROVINCES)}
        self.version, self.time, self.number = 1, world.NOW - 50_000, 0
        self.logs = {hub: world.Log(hub) for hub in (*CITIES, LIAR)}
        self.keys = {hub: f"publisher-{hub}" for hub in self.logs}
        self.records: dict[str, dict[tuple[int, str], tuple[str, int | None]]] = {hub: {} for hub in CITIES}
        self.waiting = dict.fromkeys(self.logs, False)
        self.faces: tuple[Any, Any] | None = None

    @initialize()
    def begin(self) -> None:
        self.provinces = [Province(self, hub) for hub in PROVINCES]
        for hub, log in self.logs.items():
            log.add_policy()
            log.add_batch([self.world.warning_row(self.next(), division=hub)])
            if hub in CITIES:
                self.records[hub][1, f"w-{self.number:06d}"] = ("current", None)
            self.head(hub)

    def builder(self) -> Any:
        """The trust repository as it is now."""
        return self.world.TrustBuilder(hubs=self.hubs, version=self.version)

    def next(self) -> int:
        self.number += 1
        return self.number

    def share(self, hub: str) -> Path:
        return self.folder / f"share-{hub}"

    def head(self, hub: str, witnesses: tuple[str, ...] | None = None) -> None:
        """Sign a checkpoint, have it witnessed, and serve it, with the trust repository beside it."""
        self.time += 100
        log = self.logs[hub]
        log.publish(at=self.time, witnesses=self.world.WITNESSES if witnesses is None else witnesses)
        self.serve(hub)

    def serve(self, hub: str) -> None:
        shutil.rmtree(self.share(hub), ignore_errors=True)
        self.parts.tree(self.logs[hub], self.share(hub))
        self.parts.write(self.share(hub) / "trust", self.builder().build())

    def signed(self, hub: str, statement: bytes) -> int:
        index: int = self.logs[hub].add(statement, [self.keys[hub]])
        return index

    def batch(self, hub: str, rows: list[dict[str, Any]], **changes: Any) -> int:
        """As `Log.add_batch`, signed by the key of now."""
        log, key = self.logs[hub], self.keys[hub]
        add = log.add
        log.add = lambda statement: add(statement, [key])
        try:
            index: int = log.add_batch(rows, **changes)
        finally:
            del log.add
        return index

    def current(self, hub: str) -> list[tuple[int, str]]:
        return sorted(key for key, (state, _) in self.records[hub].items() if state == "current")

    # What cities do

    @rule(hub=st.sampled_from((*CITIES, LIAR)), rows=st.integers(1, 4), witnessed=st.booleans())
    def publish(self, hub: str, rows: int, witnessed: bool) -> None:
        """New rows; sometimes too few witnesses are there."""
        if hub == LIAR and self.faces is not None:
            return
        numbers = [self.next() for _ in range(rows)]
        index = self.batch(hub, [self.world.warning_row(n, division=hub) for n in numbers])
        if hub in CITIES:
            self.records[hub] |= {(index, f"w-{n:06d}"): ("current", None) for n in numbers}
        self.waiting[hub] = not witnessed
        self.head(hub, self.world.WITNESSES if witnessed else self.world.WITNESSES[:1])

    @rule(hub=st.sampled_from(CITIES), data=st.data())
    def correct(self, hub: str, data: Any) -> None:
        """A row is said again."""
        known = self.current(hub)
        if not known:
            return
        place = data.draw(st.sampled_from(known))
        number = int(place[1].removeprefix("w-"))
        target = {"index": place[0], "digest": self.logs[hub].digests[place[0]], "record_ids": [place[1]]}
        row = self.world.warning_row(number, division=hub, score="0.7000")
        index = self.batch(hub, [row], kind="correction", supersedes=[target], reason="wrong")
        self.records[hub][place] = ("superseded", index)
        self.records[hub] |= {
            key: ("superseded", index)
            for key, (state, _) in self.records[hub].items()
            if key[1] == place[1] and state == "superseded"
        }
        self.records[hub][index, place[1]] = ("current", None)
        self.waiting[hub] = False
        self.head(hub)

    @rule(hub=st.sampled_from(CITIES), data=st.data())
    def retract(self, hub: str, data: Any) -> None:
        """A row that was never corrected does not hold any more."""
        said_once = [key for key in self.current(hub) if sum(other[1] == key[1] for other in self.records[hub]) == 1]
        if not said_once:
            return
        place = data.draw(st.sampled_from(said_once))
        target = {"index": place[0], "digest": self.logs[hub].digests[place[0]], "record_ids": [place[1]]}
        fields = {"targets": [target], "reason": "wrong", "legal_basis": "Art. 1"}
        self.signed(hub, self.logs[hub].statement("retraction", "withdrawals", fields))
        self.records[hub][place] = ("retracted", None)
        self.waiting[hub] = False
        self.head(hub)

    @rule(data=st.data())
    def dispute(self, data: Any) -> None:
        """One city contests a row of the other."""
        mine, theirs = CITIES
        place = data.draw(st.sampled_from(sorted(self.records[theirs])))
        target = {"index": place[0], "digest": self.logs[theirs].digests[place[0]], "record_ids": [place[1]]}
        fields = {"disputed": self.logs[theirs].origin, "target": target, "reason": "not so"}
        self.signed(mine, self.logs[mine].statement("dispute", "disputes", fields))
        self.waiting[mine] = False
        self.head(mine)

    @precondition(lambda self: not any(self.waiting.values()))
    @rule(hub=st.sampled_from(CITIES), sharp=st.booleans())
    def rotate(self, hub: str, sharp: bool) -> None:
        """A new publisher key, vouched for by the province; the old one goes on, or counts for the past only."""
        self.version += 1
        name = f"publisher-{hub}-{self.version}"
        change = self.world.iso(self.time + 50)
        keys = list(self.hubs[hub]["keys"])
        if sharp:
            keys = [
                {**k, "valid_until": min(k["valid_until"], change)} if k["role"] == "publisher" else k for k in keys
            ]
        keys.append(self.world.key_entry("publisher", name))
        self.hubs[hub] = self.world.hub_file(hub, keys=keys)
        self.keys[hub] = name
        for city in self.logs:
            self.serve(city)

    @precondition(lambda self: self.faces is None and len(self.logs[LIAR].entries) > 1 and not self.waiting[LIAR])
    @rule(more=st.integers(1, 3))
    def fork(self, more: int) -> None:
        """The liar goes on with two histories, both of them witnessed, one for each province."""
        one, other = self.logs[LIAR], copy.deepcopy(self.logs[LIAR])
        one.add_batch([self.world.warning_row(self.next(), division=LIAR)])
        for _ in range(more):
            other.add_batch([self.world.warning_row(self.next(), division=LIAR)])
        self.time += 100
        for log, face in ((one, "a"), (other, "b")):
            log.publish(at=self.time)
            self.parts.tree(log, self.folder / f"face-{face}")
        self.faces = (self.folder / "face-a", self.folder / "face-b")

    # What provinces do

    @rule(who=st.sampled_from((0, 1)), hub=st.sampled_from(CITIES), http=st.booleans())
    def sync(self, who: int, hub: str, http: bool) -> None:
        """Pull one city over HTTP or from a folder."""
        origin = self.logs[hub].origin
        peer = (
            Peer(origin=origin, url=f"{self.base}/share-{hub}") if http else Peer(origin=origin, folder=self.share(hub))
        )
        merged = self.provinces[who].sync(peer).merged
        assert origin in {m.origin for m in merged}
        assert {m.code for m in merged} <= {"", "E-QUORUM", "E-FORK"}, merged

    @rule(who=st.sampled_from((0, 1)))
    def sync_liar(self, who: int) -> None:
        """Pull the liar, who shows each province its own face."""
        folder = self.share(LIAR) if self.faces is None else self.faces[who]
        self.provinces[who].sync(Peer(origin=self.logs[LIAR].origin, folder=folder))

    @rule(who=st.sampled_from((0, 1)), inbox=st.booleans())
    def relay(self, who: int, inbox: bool) -> None:
        """What one province has verified goes to the other on a stick, or lies in its inbox at the next pull."""
        place = self.folder / f"inbox-{self.next()}"
        place.mkdir()
        giver, taker = self.provinces[who], self.provinces[1 - who]
        giver.subscriber().export_bundle(place / "stick.tar")
        origins = [log.origin for log in self.logs.values()]
        if inbox:
            report = taker.sync(*(Peer(origin=origin, folder=place) for origin in origins))
        else:
            report = taker.subscriber().import_bundle(place / "stick.tar")
            assert report.verdict is not None
            assert report.verdict.code is None, report.verdict
        assert {m.code for m in report.merged} <= {"", "E-FORK"}, report.merged

    @rule(who=st.sampled_from((0, 1)))
    def restart(self, who: int) -> None:
        """The process ends; only what lies on the disk goes on."""
        self.provinces[who].store.close()
        self.provinces[who] = Province(self, PROVINCES[who])

    # What must hold

    def teardown(self) -> None:
        if hasattr(self, "provinces"):
            try:
                self.settle()
            finally:
                for province in self.provinces:
                    province.store.close()
        shutil.rmtree(self.folder)

    def settle(self) -> None:
        """Deliver everything, then compare."""
        for hub in CITIES:
            if self.waiting[hub]:
                self.head(hub)
        for province in self.provinces:
            self.deliver(province)
        late = Province(self, "430000-late")
        late.hub = PROVINCES[0]
        self.provinces.append(late)
        self.deliver(late)
        one, two, late = self.provinces
        for name in ORDERED:
            assert one.table(name) == two.table(name), name
            assert one.table(name) == late.table(name), f"{name}: verdicts depend on the order of arrival"
        self.as_the_model_says(one)
        self.every_row_is_proven(one)
        if self.faces is not None:
            self.gossip(one, two)

    def deliver(self, province: Province) -> None:
        peers = [Peer(origin=self.logs[hub].origin, folder=self.share(hub)) for hub in CITIES]
        report = province.sync(*peers)
        assert report.ok, report
        assert {(m.origin, m.size) for m in report.merged} >= {
            (self.logs[hub].origin, len(self.logs[hub].entries)) for hub in CITIES
        }

    def as_the_model_says(self, province: Province) -> None:
        rows = province.table("federated_warning")
        found = {(r["hub"], r["index"], r["record_id"]): (r["state"], r["superseded_by"]) for r in rows}
        assert found == {(hub, *key): said for hub in CITIES for key, said in self.records[hub].items()}
        assert {r["state"] for r in province.table("federated_statement")} == {"ACCEPTED"}

    def every_row_is_proven(self, province: Province) -> None:
        trust = load_trust(self.builder().bootstrap(), self.builder().build(), self.world.NOW)
        policy = parse_policy(self.world.policy_text())
        statements = province.store.rows("federated_statement")
        heads = {(s["origin"], s["index"]): s["checkpoint_size"] for s in statements}
        for row in province.table("federated_warning"):
            log = ReplicaLog(province.folder / "replica", row["origin"])
            files = log.files()
            read = read_entry(log.entry(row["index"], int(files["checkpoint"].split(b"\n")[1])))
            assert read is not None
            payload = read_payload(read[1].predicate, read[1].subject, log.blobs())
            seen = heads[row["origin"], row["index"]]
            proof = prove_record(files, row["index"], payload, row["record_id"], files.get(f"checkpoints/{seen}"))
            proven = verify_record(proof, trust, policy, self.world.NOW)
            assert json.loads(proven.row or b"")["record_id"] == row["record_id"]

    def gossip(self, one: Province, two: Province) -> None:
        """Who was shown both faces knows at once; provinces that hold one each know after one exchange of sticks."""
        assert self.faces is not None
        holds = []
        for province, face in zip((one, two), self.faces, strict=True):
            province.sync(Peer(origin=self.logs[LIAR].origin, folder=face))
            root = parse_checkpoint((face / "log" / "checkpoint").read_bytes())[0].root.hex()
            (row,) = [row for row in province.store.rows("federated_log") if row["hub"] == LIAR]
            holds.append(row["root"] == root)
            assert holds[-1] or row["state"] == "QUARANTINE"
        for giver in (one, two):
            giver.subscriber().export_bundle(self.folder / f"gossip-{giver.hub}.tar")
        for giver, taker in ((one, two), (two, one)):
            taker.subscriber().import_bundle(self.folder / f"gossip-{giver.hub}.tar")
        for province, other in ((one, two), (two, one)):
            if all(holds) or not holds[(one, two).index(province)]:
                (row,) = [row for row in province.store.rows("federated_log") if row["hub"] == LIAR]
                assert row["state"] == "QUARANTINE", (province.hub, other.hub, holds)
                keys = [key for key, _ in self.liar().log_keys(row["origin"])]
                evidence = next((province.folder / "replica").rglob(f"*{Path(row['evidence']).name}"))
                assert verify_fork(evidence.read_bytes(), keys) == row["origin"]
            rows = province.store.rows("federated_log")
            assert {row["state"] for row in rows if row["hub"] in CITIES} == {"FRESH"}

    def liar(self) -> Any:
        """The liar as the trust repository has it."""
        return load_trust(self.builder().bootstrap(), self.builder().build(), self.world.NOW).hubs[LIAR]


@pytest.fixture
def machine(
    world: ModuleType, sync_parts: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[type[Federation]]:
    """The machine, with one file server for all its runs."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # processes end here, not machines
    with sync_parts.served(tmp_path) as url:
        yield type("Federation", (Federation,), {"world": world, "parts": sync_parts, "root": tmp_path, "url": url})


def run(machine: type[Federation], examples: int, steps: int, **more: Any) -> None:
    found = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=[Phase.generate],
        **more,
    )
    run_state_machine_as_test(machine, settings=found)


def test_replicas_of_any_history_are_equal(machine: type[Federation]) -> None:
    run(machine, 8, 12, derandomize=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_replicas_of_many_histories_are_equal(machine: type[Federation]) -> None:
    run(machine, 150, 30)
