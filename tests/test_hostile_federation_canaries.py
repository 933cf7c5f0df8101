"""Raw data never leaves: values planted in every raw and personal column of a real city hub are served nowhere."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
import re
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from dianhuan_federation.nodes import RequestAuth, origin_hash
from dianhuan_federation.policy import SHIPPED
from dianhuan_standards import TABLES

MARK = "Kanarienvogel7"
KW, KWH = 61803.40625, 314159.265625
RAW = {"load_curve": ("kw", "kwh"), "finding": ("reasons", "counter", "evidence", "exhibit", "context", "gates")}
"""Columns that hold readings or words about them, besides those that a contract calls personal."""

STORED = ("entity", "metering_point", "account_link", "load_curve", "filed_report", "outage", "finding", "outcome")
LOCAL_IDS = ("w430200-", "c430200-", "f430200-", "e430200-", "permit-430200-", "filed_report-430200-")


def planted() -> dict[tuple[str, str], Any]:
    """Every raw or personal column of the hub's tables → what stands in it."""
    found: dict[tuple[str, str], Any] = {
        (table.name, column.name): f"{MARK}{column.name}" for table in TABLES.values() for column in table.fields
        if column.personal
    }  # fmt: skip
    for table, columns in RAW.items():
        for column in columns:
            found[table, column] = json.dumps({"words": f"{MARK}{column}"})
    found |= {("load_curve", "kw"): KW, ("load_curve", "kwh"): KWH}
    found |= {("case_event", "note"): f"{MARK}note", ("case_event", "actor"): f"{MARK}actor"}
    return found


PLANTED = planted()
KEYS = {"account_no", "metering_point_id"}
"""Columns whose values must differ from row to row."""


def secret(table: str, column: str, i: int) -> Any:
    value = PLANTED.get((table, column))
    return f"{value}{i}" if column in KEYS else value


def forms(text: str) -> Iterator[bytes]:
    """A text as it could be hidden in bytes."""
    for data in (text.encode(), text.encode("utf-16-le"), text.encode("utf-16-be")):
        yield data
        yield data.hex().encode()
        for shift in range(3):
            # Whatever stands before: the characters that depend on this text alone.
            coded = base64.b64encode(b"\0" * shift + data)
            yield coded[-(-shift * 8 // 6) : len(coded) - 4]
        yield base64.b32encode(data)[: len(data) * 8 // 5 - 1]
    yield "".join(chr(ord(c) + 0xFEE0) for c in text).encode()
    yield "".join(f"\\u{ord(c):04x}" for c in text).encode()
    yield text[::-1].encode()


def needles() -> list[bytes]:
    texts = [MARK, "61803.4", "314159.26", "PRIVATE KEY", "pseudonyms of 430200", *LOCAL_IDS]
    found = {form.lower() for text in texts for form in forms(text)}
    for value in (KW, KWH):
        found |= {struct.pack(order + "d", value).lower() for order in "<>"}
        found |= {(2 * struct.pack(order + "f", value)).lower() for order in "<>"}
    return sorted(found)


NEEDLES = needles()


def leaks(data: bytes) -> list[bytes]:
    """Needles in bytes, also where they are packed."""
    low = data.lower()
    found = [needle for needle in NEEDLES if needle in low]
    for match in re.finditer(b"\x1f\x8b\x08", data):
        try:
            found += leaks(gzip.decompress(data[match.start() :]))
        except (OSError, EOFError):
            found += _part(data[match.start() :])
    return found


def _part(data: bytes) -> list[bytes]:
    """A member with other bytes after it."""
    try:
        return leaks(zlib.decompressobj(31).decompress(data))
    except zlib.error:
        return []


@pytest.fixture(scope="module")
def stage(federation: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A city whose every raw and personal column is planted shares by every shipped policy; the agency pulls."""
    stage = federation.Stage(tmp_path_factory.mktemp("canaries"), cities=("430200",))
    records: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(self.format(record))

    handler = Kept()
    logging.getLogger().addHandler(handler)
    try:
        federation.begin_agency(stage)
        (city,) = stage.cities
        city.open()
        stage.fill(city, secret)
        stage.begin(city)
        report = city.publisher.publish(stage.today)
        assert not report.refused
        assert set(city.publisher.ledger().policies) == set(SHIPPED)
        assert stage.agency.sync().ok
        row = city.rows("warning")[0]
        city.put("warning", [{**row, "score": 0.9375}])
        city.publisher.publish(stage.today)
        batch = next(d.index for d in report.drafts if d.stream == "warnings-to-grantees")
        city.publisher.retract(stage.today, batch, [], "wrong", "Art. 1")
        assert stage.agency.sync().ok
        stage.records = records
        yield stage
    finally:
        logging.getLogger().removeHandler(handler)
        stage.close()


def test_the_search_finds_what_is_there(stage: Any) -> None:
    """The canaries stand in the hub's tables, and the search sees them in every form."""
    (city,) = stage.cities
    personal = {(table, column) for table, column in PLANTED if table in TABLES}
    assert {table for table, _ in personal} <= set(STORED), "a table with raw or personal columns is not planted here"
    for table, column in personal:
        if table == "load_curve":
            value = city.rows(table)[0][column]
        else:  # most of them stand open to no part of the federation at all
            with city.now.store.engine.cursor() as con:
                value = con.sql(f'SELECT "{column}" FROM "{table}" LIMIT 1').fetchall()[0][0]
        text = repr(value[0] if isinstance(value, list) else value)
        assert MARK in text or text in {repr(KW), repr(KWH)}, (table, column, text)
    for form in forms(MARK):
        assert leaks(b"padding " + form + b" more"), form
    for data in (b"x" + MARK.encode(), b"xy" + MARK.encode() + b"z", f"61803.40625{MARK}".encode()):
        assert leaks(base64.b64encode(data))
        assert leaks(b"before" + gzip.compress(data) + b"after")
    assert leaks(struct.pack("<3f", 1.0, KW, KW))
    assert not leaks(b"nothing of it")


def addresses(party: Any) -> Iterator[str]:
    """Every file of the hub's federation folder by every door that could lead to it."""
    folder = party.folder / "data" / "plugins" / "federation"
    files = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    for file in files:
        inside = file.removeprefix("public/")
        yield f"/federation/{inside}"
        if file == inside and not file.startswith("replica/"):
            yield f"/federation/access/{file.rpartition('/')[2]}"
            for door in ("log", "trust", "blob/sha256"):
                yield f"/federation/{door}/{quote('../../' + file, safe='')}"
    outside = ("hub.toml", "keys/log_key", "keys/pseudonym_key", "data/hub.duckdb")
    for file in outside:
        for door in ("log", "trust", "blob/sha256", "access"):
            for ups in (2, 5, 6):
                yield f"/federation/{door}/" + "%2e%2e%2f" * ups + quote(file, safe="")
    for file in (party.folder / "trust").rglob("*.json"):
        yield f"/federation/trust/{file.relative_to(party.folder / 'trust').as_posix()}"
    for origin in ("fed.example/430200/r1", "fed.example/430000/r1"):
        name = origin_hash(origin)
        yield from (f"/federation/witness/{name}/checkpoint", f"/federation/mirror/{name}/checkpoint")
        yield from (f"/federation/mirror/{name}/{f.removeprefix('public/log/')}" for f in files)
        for grant in ("", "&grant=g-430200"):
            yield f"/federation/pack?origin={quote(origin, safe='')}&from=0{grant}"
    yield from (f"/federation/{door}" for door in ("", "log", "log/", "pack", "receipts", "access/checkpoint"))
    yield from ("/graphql", "/metrics", "/ready", "/health", "/arrow/warning", "/arrow/load_curve", "/docs", "/")


def answers(stage: Any, party: Any, auth: RequestAuth | None) -> Iterator[tuple[str, int, bytes]]:
    """Status and bytes (headers too) of everything that a hub answers to one asker."""

    async def run() -> list[tuple[str, int, bytes]]:
        found = []
        async with httpx.AsyncClient(base_url=party.url, trust_env=False, timeout=30) as client:
            for path in dict.fromkeys(addresses(party)):
                got = await client.get(path, auth=auth)
                found.append((path, got.status_code, repr(got.headers).encode() + got.content))
            for origin in ("fed.example/430200/r1", "fed.example/430000/r1"):
                for grant in ({}, {"grant": "g-430200"}):
                    body = json.dumps({"logs": [{"origin": origin, "from": 0, **grant}]}).encode()
                    got = await client.post("/federation/pack", content=body, auth=auth)
                    found.append((f"POST pack {origin}", got.status_code, repr(got.headers).encode() + got.content))
            wrong = [("witness/add-checkpoint", b"x"), ("mirror/add-checkpoint", b"x"), ("receipts", b"{}")]
            for path, body in wrong:
                got = await client.post(f"/federation/{path}", content=body, auth=auth)
                found.append((f"POST {path}", got.status_code, repr(got.headers).encode() + got.content))
        return found

    return iter(asyncio.run(run()))


@pytest.mark.parametrize("asker", ["a stranger", "the grantee", "the city itself"])
def test_hostile_no_endpoint_serves_a_canary(stage: Any, asker: str) -> None:
    name = {"the grantee": "430000", "the city itself": "430200"}.get(asker)
    seen = 0
    for party in (*stage.cities, stage.agency):
        auth = None
        if name is not None:
            signer = stage.world.signer(f"transport-{name}")
            auth = RequestAuth(signer, grant="g-430200" if name == "430000" else "", clock=time.time)
        statuses = set()
        for path, status, data in answers(stage, party, auth):
            assert not leaks(data), (path, leaks(data))
            assert status < 500, (path, status)
            private = "private" in path or "keys" in path or "guard" in path or "sqlite" in path
            assert not (private and status == 200), path
            statuses.add(status)
            seen += status == 200 and len(data)
        assert 200 in statuses
    assert seen > 50_000, "so little was served that the test says nothing"


QUESTIONS = (
    "warnings(first: 200, filter: {states: [CURRENT, SUPERSEDED, RETRACTED]}) { nodes { recordId enterprise division "
    "industry day modelId modelVersion score disputes { reason } provenance { origin index leafHash statementDigest "
    "witnesses issuedAt keyIds policy model } } endCursor }",
    "cases(first: 200) { nodes { recordId warningId division result closedAt } }",
    "statistics(first: 200) { nodes { recordId division industry periodStart measure unit value contributors } }",
    "models { nodes { modelId passports } } hubs { nodes { hub name origin detail evidence } }",
)


def test_hostile_no_answer_of_the_agency_holds_a_canary(stage: Any, tmp_path: Path) -> None:
    sizes = []
    for question in QUESTIONS:
        body = stage.agency.ask("{ federated { " + question + " } }")
        assert "errors" not in body, body
        data = json.dumps(body, ensure_ascii=False).encode()
        assert not leaks(data), leaks(data)
        sizes.append(len(data))
    assert sizes[0] > 10_000
    row = stage.agency.rows("federated_warning")[0]
    words = f'proof(origin: "{row["origin"]}", index: {row["index"]}, recordId: "{row["record_id"]}") {{ json }}'
    assert not leaks(json.dumps(stage.agency.ask("{ federated { " + words + " } }")).encode())
    for party in (*stage.cities, stage.agency):
        for receiver in ("", "430000", "440000"):
            path = tmp_path / f"{party.hub}-{receiver}.tar"
            party.subscriber.export_bundle(path, receiver=receiver)
            assert not leaks(path.read_bytes()), path


def test_hostile_nothing_that_the_agency_keeps_holds_a_canary(stage: Any) -> None:
    """All files of the agency: replica, evidence, mirror, receipts, access log; its tables; and what was logged."""
    files = [p for p in (stage.agency.folder / "data" / "plugins").rglob("*") if p.is_file()]
    assert {"replica", "node"} <= {
        p.relative_to(stage.agency.folder / "data/plugins/federation").parts[0] for p in files
    }
    for path in files:
        assert not leaks(path.read_bytes()), path
        assert not leaks(str(path).encode())
    for table in ("federated_log", "federated_statement", "federated_warning", "federated_outcome",
                  "federated_statistic", "federated_receipt"):  # fmt: skip
        assert not leaks(json.dumps(stage.agency.rows(table), default=str, ensure_ascii=False).encode()), table
    (city,) = stage.cities
    for path in [p for p in city.public.rglob("*") if p.is_file()]:
        assert not leaks(path.read_bytes()), path
    assert not leaks("\n".join(stage.records).encode())


WIDER: dict[str, dict[str, Any]] = {
    "names-of-enterprises": {"fields+": ["enterprise_name"]},
    "old-schema-with-names": {"schema": {"id": "warning", "version": "1.0"}, "fields+": ["enterprise_name"]},
    "phone": {"fields+": ["phone"]},
    "notes": {"fields+": ["note"]},
    "load-curves": {"source": "load_curve", "fields": ["record_id", "kw"]},
    "accounts": {"source": "metering_point", "fields": ["record_id", "account_no"]},
    "evidence": {"source": "finding", "fields": ["record_id", "evidence"]},
    "an-unknown-term": {"onlyForFriends": True},
    "for-everybody": {"class": "unconditional"},
    "column-of-a-table": {"fields+": ["entity.name"]},
}


def test_hostile_every_wider_policy_is_refused(stage: Any) -> None:
    (city,) = stage.cities
    shipped = (city.folder / "policies" / "warnings-to-grantees.json").read_text("utf-8")
    before = {p.relative_to(city.public): p.read_bytes() for p in city.public.rglob("*") if p.is_file()}
    publisher = city.publisher
    given = []
    for name, changes in WIDER.items():
        document = json.loads(shipped)
        document["fields"] = sorted({*document["fields"], *changes.get("fields+", [])})
        document |= {k: v for k, v in changes.items() if k != "fields+"}
        document |= {"id": name, "target": name}
        given.append((f"{name}.json", json.dumps(document, ensure_ascii=False, sort_keys=True).encode()))
    settings = replace(publisher.settings, policies=tuple(given))
    plan = type(publisher)(settings, city.context.storage, city.context.clock, []).publish(stage.today, dry_run=True)
    assert {refusal.policy for refusal in plan.refused} == {f"{name}.json" for name in WIDER}
    assert [d.kind for d in plan.drafts if d.payload is not None] == []
    after = {p.relative_to(city.public): p.read_bytes() for p in city.public.rglob("*") if p.is_file()}
    assert after == before
