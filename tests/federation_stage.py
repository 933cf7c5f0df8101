"""Real hubs that have joined one small federation: hub.toml, DuckDB, key files, uvicorn on loopback.

Trust data and keys come from the small federation of `conformance/federation`, with its present moved to now, since
hubs and their child processes go by the clock of the machine.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dianhuan_federation.config import FederationConfig
from dianhuan_federation.core import (
    COSIGNATURE,
    PAYLOAD_TYPE,
    Grant,
    Policy,
    PolicyRef,
    Trust,
    build_statement,
    load_trust,
    note_key,
    parse_policy,
    seal,
)
from dianhuan_federation.nodes import begin_node
from dianhuan_federation.policy import SHIPPED, shipped_document
from dianhuan_federation.publish import Publisher, publisher_of
from dianhuan_federation.sync import Subscriber, SyncReport
from dianhuan_hub.api import create_app
from dianhuan_hub.app import Hub, open_hub
from dianhuan_hub.kernel.config import load_config, write_template
from dianhuan_hub.store import CurveRows, LoadInfo, RegisterRows, Unit, day_number, put_case_event, put_results
from dianhuan_sdk import LOCAL_ZONE, PluginContext
from dianhuan_standards import TABLES

WORLD = Path(__file__).parents[1] / "conformance" / "federation" / "conformance_world.py"
AGENCY = "430000"
DAYS = 14
ENTERPRISES = 12


def present_world() -> ModuleType:
    """The builders of the small federation, whose present is now."""
    name = "conformance_world_now"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, WORLD)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        module.NOW = int(time.time())
    return sys.modules[name]


@dataclass
class Party:
    """One hub in a folder.

    Args:
        stage: the federation that it belongs to.
        hub: division code.
        socket: where it will serve.
    """

    stage: Stage
    hub: str
    socket: socket.socket
    policies: tuple[str, ...] = ()
    more: str = ""
    now: Hub | None = field(default=None, repr=False)
    _stack: ExitStack | None = field(default=None, repr=False)

    @property
    def folder(self) -> Path:
        return self.stage.folder / self.hub

    @property
    def origin(self) -> str:
        return f"fed.example/{self.hub}/r1"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    @property
    def context(self) -> PluginContext:
        assert self.now is not None
        return self.now.service("federation")[1]

    @property
    def publisher(self) -> Publisher:
        """A publisher over what is stored, as each command makes one."""
        return publisher_of(self.context)

    @property
    def public(self) -> Path:
        return self.folder / "data" / "plugins" / "federation" / "public"

    @property
    def subscriber(self) -> Subscriber:
        config = self.context.config
        assert isinstance(config, FederationConfig)
        return Subscriber.of(self.context, config)

    def sync(self) -> SyncReport:
        """One round."""
        subscriber = self.subscriber
        try:
            return subscriber.sync()
        finally:
            subscriber.close()

    def open(self, *, serve: bool = True) -> Party:
        """Open the hub and serve its API and its node, until `close`."""
        self._stack = ExitStack()
        self.now = self._stack.enter_context(open_hub(load_config(self.folder / "hub.toml", {})))
        if serve:
            self._stack.enter_context(_serving(create_app(self.now), self.socket))
        return self

    def close(self) -> None:
        """As a process that ends: only what lies on the disk is left."""
        if self._stack is not None:
            self._stack.close()
        self.now = self._stack = None

    def rows(self, table: str) -> list[dict[str, Any]]:
        """A table as the storage port gives it."""
        found: list[dict[str, Any]] = self.context.storage.read(table).read_all().to_pylist()
        return found

    def put(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write result rows."""
        assert self.now is not None
        self.now.store.write(lambda con: put_results(con, table, rows))

    def ask(self, query: str, key: str = "all", **variables: Any) -> dict[str, Any]:
        """A question over GraphQL to the running server; the whole body."""
        body = {"query": query, "variables": variables}
        headers = {"Authorization": f"Bearer secret-{key}"}
        answer = httpx.post(f"{self.url}/graphql", json=body, headers=headers, timeout=60, trust_env=False)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


class Stage:
    """Two cities and an agency that witnesses, mirrors and follows them.

    Args:
        folder: of everything.
        cities: division codes.
        policies: ids of shipped policies that each city has.
    """

    def __init__(
        self, folder: Path, cities: Sequence[str] = ("430200", "440300"), policies: Sequence[str] = tuple(SHIPPED)
    ) -> None:
        self.folder = folder
        self.world = present_world()
        self.version = 1
        self.start = self.today - timedelta(days=DAYS)
        self.parties = {hub: Party(self, hub, socket.create_server(("127.0.0.1", 0))) for hub in (*cities, AGENCY)}
        self.cities = [self.parties[hub] for hub in cities]
        self.agency = self.parties[AGENCY]
        self.hubs = {
            hub: self.world.hub_file(hub, endpoints=[f"{party.url}/federation"]) for hub, party in self.parties.items()
        }
        self.write_trust()
        (folder / "root.json").write_bytes(self.builder.bootstrap())
        key = note_key("fed.example/w43", COSIGNATURE, self.world.signer("witness-w43").public).vkey
        (folder / "witnesses.policy").write_text(f"witness w43 {key}\nquorum w43\n", "utf-8")
        for party in self.parties.values():
            party.policies = tuple(policies) if party is not self.agency else ()
            self._settle(party)

    @property
    def today(self) -> date:
        return datetime.now(LOCAL_ZONE).date()

    @property
    def builder(self) -> Any:
        return self.world.TrustBuilder(hubs=self.hubs, version=self.version)

    @property
    def trust(self) -> Trust:
        """The trust of now."""
        return load_trust(self.builder.bootstrap(), self.builder.build(), int(time.time()))

    @property
    def quorum(self) -> Policy:
        return parse_policy((self.folder / "witnesses.policy").read_bytes())

    def write_trust(self) -> None:
        """Hand the trust repository to everyone."""
        for party in self.parties.values():
            for path, data in self.builder.build().items():
                target = party.folder / "trust" / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)

    def grant(self, city: Party, policy: str) -> bytes:
        """A grant to the agency under a logged policy, signed by both."""
        logged = city.publisher.ledger().policies[policy]
        now = datetime.now(UTC).replace(microsecond=0)
        grant = Grant(
            origin=city.origin,
            stream=f"grant-{policy}",
            stream_seq=1,
            prev_statement_digest=None,
            issued_at=now,
            id=f"g-{city.hub}",
            policy=PolicyRef(id=policy, digest=logged.digest),
            assigner=city.hub,
            assignee=AGENCY,
            purpose="joint enforcement",
            valid_from=now - timedelta(days=60),
            valid_until=now + timedelta(days=200),
        )
        return seal(
            PAYLOAD_TYPE, build_statement(grant), [self.world.signer(f"publisher-{h}") for h in (city.hub, AGENCY)]
        )

    def begin(self, city: Party) -> None:
        """Begin a city's log, log its policies and grants."""
        city.publisher.begin()
        city.publisher.publish(self.today)
        for id in city.policies:
            if SHIPPED[id]["class"] == "conditional":
                city.publisher.log_grant(self.today, self.grant(city, id))

    def close(self) -> None:
        """End every hub and free every address."""
        for party in self.parties.values():
            party.close()
            party.socket.close()

    def _settle(self, party: Party) -> None:
        file = party.folder / "hub.toml"
        write_template(file, f"城市{party.hub}", party.hub)
        names = {f"{role}_key": f"{role}-{party.hub}" for role in ("log", "publisher", "transport")}
        roles = ["publisher"]
        if party is self.agency:
            names |= {"witness_key": "witness-w43", "mirror_key": "mirror-m43"}
            roles = ["witness", "mirror", "subscriber"]
        keys = party.folder / "keys"
        keys.mkdir()
        for setting, name in names.items():
            write_pem(keys / setting, self.world.seed(name))
        (keys / "pseudonym_key").write_text(f"pseudonyms of {party.hub}, as random as a test can be", "utf-8")
        lines = ["", "[plugins.federation.hub]", f"origin = {_toml(party.origin)}", f"roles = {_toml(roles)}"]
        paths = {
            "guard": keys / "guard.sqlite",
            "trust": party.folder / "trust",
            "root": self.folder / "root.json",
            "witness_policy": self.folder / "witnesses.policy",
        }
        lines += [f"{name} = {_toml(str(path))}" for name, path in paths.items()]
        lines += [f"{name} = {{ ref = {_toml(f'file:keys/{name}')} }}" for name in (*names, "pseudonym_key")]
        lines += ['allow_private = ["127.0.0.0/8"]']
        if party is not self.agency:
            lines += [f"witnesses = {_toml([f'{self.agency.url}/federation'])}"]
            lines += [f"mirrors = {_toml([f'{self.agency.url}/federation'])}"]
            lines += [f"policies = {_toml([str(self._policy(party, id)) for id in party.policies])}"]
        else:
            for city in self.cities:
                lines += ["[[plugins.federation.hub.peers]]", f"origin = {_toml(city.origin)}"]
                lines += [f"url = {_toml(f'{city.url}/federation')}", f"grant = {_toml(f'g-{city.hub}')}"]
        scopes = {"all": [party.hub[:2] + "0000", "440000"], "a": ["430200"], "district": ["430202"], "far": ["510000"]}
        for scope, divisions in scopes.items():
            digest = hashlib.sha256(f"secret-{scope}".encode()).hexdigest()
            lines += ["", f"[keys.{scope}]", f'sha256 = "{digest}"', 'role = "agency"', 'purpose = "执法"']
            lines += [f"divisions = {_toml(divisions)}"]
        with file.open("a", encoding="utf-8") as out:
            out.write("\n".join([*lines, ""]))

    def _policy(self, party: Party, id: str) -> Path:
        now = datetime.now(UTC).replace(microsecond=0)
        valid = [(now + timedelta(days=n)).strftime("%Y-%m-%dT%H:%M:%SZ") for n in (-40, 365)]
        path = party.folder / "policies" / f"{id}.json"
        path.parent.mkdir(exist_ok=True)
        assignee = [AGENCY] if SHIPPED[id]["class"] == "conditional" else []
        path.write_bytes(shipped_document(id, party.hub, assignee, (valid[0], valid[1])))
        return path

    # What a city knows -------------------------------------------------------------------------------------------

    def fill(self, city: Party, secret: Callable[[str, str, int], Any] = lambda table, column, i: None) -> None:
        """Enterprises, accounts, curves, and what a screening found on the days before today.

        Args:
            city: an open hub.
            secret: table, column, number → a value planted in a raw or personal column; None keeps the usual one.
        """
        assert city.now is not None
        fill(city.now, city.hub, self.start, secret)


def fill(hub: Hub, division: str, start: date, secret: Callable[[str, str, int], Any]) -> None:
    """See `Stage.fill`."""
    span = [start + timedelta(days=n) for n in range(DAYS)]
    info = LoadInfo("grid_generic", "1", "load_curve", "grid", "ab", "", datetime.now(UTC))

    def rows(table: str, made: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for i, row in enumerate(made):
            for column in TABLES[table].fields:
                planted = secret(table, column.name, i)
                if planted is not None:
                    row[column.name] = planted
        return made

    def register(table: str, made: list[dict[str, Any]]) -> RegisterRows:
        contract = TABLES[table]
        full = [{f.name: row.get(f.name) for f in contract.fields} for row in rows(table, made)]
        return RegisterRows(contract, pa.Table.from_pylist(full, schema=contract.schema), tuple(contract.schema.names))

    many = range(ENTERPRISES)
    accounts = [secret("account_link", "account_no", i) or f"N-{division}-{i}" for i in many]
    points = [secret("load_curve", "metering_point_id", i) or f"P-{division}-{i}" for i in many]
    noon = datetime(start.year, start.month, start.day, 4, tzinfo=UTC)
    registers = [register("entity", [_entity(division, i) for i in many])]
    for table, of in {
        "metering_point": lambda i: {"metering_point_id": points[i], "account_no": accounts[i]},
        "account_link": lambda i: {"account_no": accounts[i], "entity_id": _id(division, i), "valid_from": start},
        "permit": lambda i: {"permit_class": "key", "valid_from": start},
        "filed_report": lambda i: {"kind": "stop", "starts_at": noon, "filed_at": noon},
        "outage": lambda i: {"account_no": accounts[i], "kind": "planned", "starts_at": noon},
    }.items():
        key = TABLES[table].key[0]
        named = [{key: f"{table}-{division}-{i}", "entity_id": _id(division, i), **of(i)} for i in many]
        registers.append(register(table, named))
    hub.store.commit(Unit(info, registers=registers))
    ordinals = hub.store.topology().point_ordinals(pa.array(points))
    order = np.argsort(ordinals)
    for day in span:
        kw = np.array([[secret("load_curve", "kw", i) or 100.0 + i] * 96 for i in many], np.float32)
        kw[:, 5] = np.nan
        days = np.full(len(points), day_number(day), np.int32)
        counts = np.full(len(points), 96, np.uint8)
        kwh = np.array([secret("load_curve", "kwh", i) or np.nan for i in many])
        hub.store.commit(Unit(info, curves=CurveRows(ordinals[order], days, kw[order], counts, kwh[order], order)))
    pairs = [(day, i % ENTERPRISES) for n, day in enumerate(span) for i in range(n, n + 8)]
    found = {
        "finding": rows("finding", [_finding(division, day, i) for day, i in pairs]),
        "warning": [_warning(division, day, i) for day, i in pairs],
        "case": [_case(division, day, i) for day, i in pairs],
        "outcome": rows("outcome", [_outcome(division, day, i) for day, i in pairs]),
    }

    def write(con: Any) -> None:
        for table, some in found.items():
            put_results(con, table, some)
        for n, (day, i) in enumerate(pairs):
            note = secret("case_event", "note", n) or "seen"
            actor = secret("case_event", "actor", n) or "hub"
            put_case_event(con, _name("c", division, day, i), _at(day), actor, "found", note)

    hub.store.write(write)


def _id(division: str, i: int) -> str:
    return f"e{division}-{i}"


def _name(kind: str, division: str, day: date, i: int) -> str:
    return f"{kind}{division}-{day:%Y%m%d}-{i}"


def _at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 9, tzinfo=UTC)


def _entity(division: str, i: int) -> dict[str, Any]:
    return {
        "entity_id": _id(division, i),
        "uscc": f"91{division}MA4L16J{i:02d}X",
        "name": f"企业{i}",
        "division": f"{division[:4]}02",
        "industry": "C2614" if i % 2 else "C2511",
    }


def _finding(division: str, day: date, i: int) -> dict[str, Any]:
    return {
        "finding_id": _name("f", division, day, i),
        "run_id": "run",
        "model_id": "m05-night-only",
        "model_version": "1.2",
        "rule": "r",
        "entity_id": _id(division, i),
        "day": day,
        "verdict": "suspect",
        "score": 0.5,
        "reasons": "[]",
        "counter": "[]",
        "evidence": "{}",
        "exhibit": "{}",
        "context": "[]",
        "gates": "[]",
        "passed": True,
    }


def _warning(division: str, day: date, i: int) -> dict[str, Any]:
    return {
        "warning_id": _name("w", division, day, i),
        "finding_id": _name("f", division, day, i),
        "case_id": _name("c", division, day, i),
        "entity_id": _id(division, i),
        "day": day,
        "model_id": "m05-night-only",
        "score": 0.5,
        "raised_at": _at(day),
    }


def _case(division: str, day: date, i: int) -> dict[str, Any]:
    return {
        "case_id": _name("c", division, day, i),
        "entity_id": _id(division, i),
        "day": day,
        "state": "found",
        "priority": 0.5,
        "opened_at": _at(day),
        "updated_at": _at(day),
    }


def _outcome(division: str, day: date, i: int) -> dict[str, Any]:
    return {
        "case_id": _name("c", division, day, i),
        "code": "verified",
        "at": _at(day),
        "actor": "王",
        "note": "seen",
    }


def write_pem(path: Path, seed: bytes) -> None:
    """A key file."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    os.chmod(path, 0o600)


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


@contextmanager
def _serving(app: Any, listening: socket.socket) -> Iterator[None]:
    config = uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    # uvicorn closes the sockets that it is given; the address stays ours while hubs come and go.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening.dup()]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(20)


def begin_agency(stage: Stage) -> None:
    """Begin the state of the agency's witness and mirror, then serve."""
    agency = stage.agency.open(serve=False)
    begin_node(agency.context)
    agency.close()
    agency.open()
