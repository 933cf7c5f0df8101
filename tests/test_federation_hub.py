"""Two city hubs and an agency, all of them real: hub.toml, DuckDB, the storage port, uvicorn, GraphQL."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import httpx
import pytest

from dianhuan_federation.core import Code, Refused, verify_record
from dianhuan_federation.evaluation import Counts, passport_bytes

COVERAGE = "coverage { covered stale missing quarantined complete }"
PROOF = (
    "query ($o: String!, $i: Int!, $r: String!) { federated { proof(origin: $o, index: $i, recordId: $r) { json } } }"
)
PASSPORT = passport_bytes(
    "m05-night-only", "1.2", 0.6, ("2026-01-01", "2026-07-01"), ("夜间", "night"), [Counts("43", 90, 10)]
)


@pytest.fixture(scope="module")
def stage(federation: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Both cities have published, the agency has pulled once."""
    stage = federation.Stage(tmp_path_factory.mktemp("federation"))
    try:
        federation.begin_agency(stage)
        for city in stage.cities:
            city.open()
            stage.fill(city)
            stage.begin(city)
            report = city.publisher.publish(stage.today)
            assert not report.refused
            assert report.witnessed is not None
            assert report.witnessed.quorum
        stage.cities[0].publisher.publish_model(stage.today, PASSPORT, "Apache-2.0")
        assert stage.agency.sync().ok
        yield stage
    finally:
        stage.close()


def federated(stage: Any, fields: str, key: str = "all", **variables: Any) -> dict[str, Any]:
    body = stage.agency.ask("{ federated { " + fields + " } }", key, **variables)
    assert "errors" not in body, body
    found: dict[str, Any] = body["data"]["federated"]
    return found


def rows_of(stage: Any, hub: str, states: str = "CURRENT, SUPERSEDED, RETRACTED") -> list[dict[str, Any]]:
    """All warnings of a hub, page by page."""
    fields = "nodes { recordId state score enterprise disputes { hub reason } provenance { origin index } }"
    after, found = "null", []
    while True:
        words = f'warnings(first: 50, after: {after}, filter: {{hubs: ["{hub}"], states: [{states}]}})'
        page = federated(stage, words + " { " + fields + " endCursor hasNextPage }")["warnings"]
        found += page["nodes"]
        if not page["hasNextPage"]:
            return found
        after = json.dumps(page["endCursor"])


def test_the_agency_answers_what_the_cities_know(stage: Any) -> None:
    found = federated(
        stage,
        f"warningCounts(by: HUB) {{ groups {{ key count }} {COVERAGE} }} "
        "warnings(first: 1) { nodes { hub division industry provenance { origin witnesses policy state } } }"
        "statistics(first: 200) { nodes { hub measure value contributors countPrecision industry } }"
        "cases(first: 1) { nodes { hub result provenance { policy } } }"
        "models { nodes { modelId publishers floor precision { province found wasted } } }"
        f"hubs {{ nodes {{ hub name state size witnesses code }} {COVERAGE} }}",
    )
    cities = [city.hub for city in stage.cities]
    expected = {city.hub: len(city.rows("warning")) for city in stage.cities}
    whole = {"covered": cities, "stale": [], "missing": [], "quarantined": [], "complete": True}
    assert {g["key"]: g["count"] for g in found["warningCounts"]["groups"]} == expected
    assert found["warningCounts"]["coverage"] == found["hubs"]["coverage"] == whole
    (warning,) = found["warnings"]["nodes"]
    assert warning["division"] == f"{warning['hub'][:4]}02"
    assert warning["provenance"] == {
        "origin": f"fed.example/{warning['hub']}/r1",
        "witnesses": ["w43"],
        "policy": "warnings-to-grantees",
        "state": "ACCEPTED",
    }
    assert found["cases"]["nodes"][0]["provenance"]["policy"] == "outcomes-to-grantees"
    cells = found["statistics"]["nodes"]
    assert {c["hub"] for c in cells} == set(cities)
    assert {c["measure"] for c in cells} == {"warnings", "outcomes", "verified_outcomes"}
    assert all((c["contributors"] is None) == (c["countPrecision"] == "suppressed") for c in cells)
    (total,) = {c["contributors"] for c in cells if c["industry"] is None and c["measure"] == "warnings"}
    assert total == len({row["entity_id"] for row in stage.cities[0].rows("warning")})
    (model,) = found["models"]["nodes"]
    assert (model["modelId"], model["publishers"], model["floor"]) == ("m05-night-only", [cities[0]], 0.6)
    assert {p["province"]: p["wasted"] for p in model["precision"]} == {"43": 0, "44": 0}, "verified rows count first"
    assert [(h["hub"], h["state"], h["code"]) for h in found["hubs"]["nodes"]] == [(c, "FRESH", None) for c in cities]


def test_the_proof_of_a_row_verifies_with_no_hub(stage: Any) -> None:
    row = rows_of(stage, "440300")[0]
    place = {"o": row["provenance"]["origin"], "i": row["provenance"]["index"], "r": row["recordId"]}
    proof = stage.agency.ask(PROOF, **place)["data"]["federated"]["proof"]["json"].encode()
    proven = verify_record(proof, stage.trust, stage.quorum, int(time.time()))
    assert proven.origin == place["o"]
    assert json.loads(proven.row)["record_id"] == row["recordId"]
    broken = json.loads(proof)
    broken["row"]["line"] = broken["row"]["line"].replace("440302", "440303")
    assert broken != json.loads(proof)
    with pytest.raises(Refused) as refused:
        verify_record(json.dumps(broken).encode(), stage.trust, stage.quorum, int(time.time()))
    assert refused.value.code is Code.ROWS


def test_correction_retraction_and_dispute_arrive(stage: Any) -> None:
    zhuzhou, shenzhen = stage.cities
    before = {(r["recordId"], r["provenance"]["index"]): r for r in rows_of(stage, zhuzhou.hub)}
    warnings = zhuzhou.rows("warning")
    zhuzhou.put("warning", [{**warnings[0], "score": 0.9375}])
    corrected = zhuzhou.publisher.publish(stage.today)
    assert "correction" in {d.kind for d in corrected.drafts}
    (index,) = {index for _, index in before}
    gone = sorted(record for record, _ in before)[0]
    zhuzhou.publisher.retract(stage.today, index, [gone], "wrong enterprise", "Art. 1")
    foreign = rows_of(stage, zhuzhou.hub)[3]
    statement = next(
        s for s in stage.agency.rows("federated_statement") if (s["hub"], s["index"]) == (zhuzhou.hub, index)
    )
    shenzhen.publisher.dispute(
        stage.today, zhuzhou.origin, index, statement["statement_digest"], [foreign["recordId"]], "moved to Shenzhen"
    )
    assert stage.agency.sync().ok
    after = rows_of(stage, zhuzhou.hub)
    new = {(r["recordId"], r["provenance"]["index"]): r for r in after}
    fresh = [r for key, r in new.items() if key not in before]
    assert [r["score"] for r in fresh] == [0.9375]
    changed = {key: new[key]["state"] for key in before if new[key]["state"] != "CURRENT"}
    assert changed == {(fresh[0]["recordId"], index): "SUPERSEDED", (gone, index): "RETRACTED"}
    disputed = {r["recordId"]: r["disputes"] for r in after if r["disputes"]}
    assert disputed == {foreign["recordId"]: [{"hub": shenzhen.hub, "reason": "moved to Shenzhen"}]}
    assert new[foreign["recordId"], index]["state"] == "CURRENT", "a dispute changes nothing in the log it is about"
    report = stage.agency.subscriber.rebuild()
    assert report.ok
    assert rows_of(stage, zhuzhou.hub) == after, "a replay from entry 0 gives the same"


def test_what_the_agency_bundles_brings_another_hub_to_the_same_rows(stage: Any, tmp_path: Any) -> None:
    """The stick is for one receiver: without a grant it holds the open payloads only."""
    stage.agency.subscriber.export_bundle(tmp_path / "stick.tar", receiver=stage.cities[1].hub)
    other = stage.cities[1]
    report = other.subscriber.import_bundle(tmp_path / "stick.tar")
    assert report.verdict is not None
    assert report.verdict.code is None, report.verdict
    assert {m.origin for m in report.merged} == {stage.cities[0].origin}
    mine = {(r["record_id"], r["index"]) for r in other.rows("federated_statistic")}
    theirs = {
        (r["record_id"], r["index"])
        for r in stage.agency.rows("federated_statistic")
        if r["hub"] == stage.cities[0].hub
    }
    assert mine == theirs
    assert other.rows("federated_warning") == []


def test_rows_of_a_key_that_was_changed_stay_and_are_proven(federation: ModuleType, stage: Any) -> None:
    city = stage.cities[1]
    before = rows_of(stage, city.hub)
    change = int(time.time()) + 1
    at = stage.world.iso(change)
    keys = [{**k, "valid_until": at} if k["role"] == "publisher" else k for k in stage.hubs[city.hub]["keys"]]
    keys.append(stage.world.key_entry("publisher", "publisher-440300-2", valid_from=at))
    stage.hubs[city.hub] = {**stage.hubs[city.hub], "keys": keys}
    stage.version += 1
    stage.write_trust()
    city.close()
    federation.write_pem(city.folder / "keys" / "publisher_key", stage.world.seed("publisher-440300-2"))
    city.open()
    while time.time() < change + 1:
        time.sleep(0.1)
    city.put("warning", [{**city.rows("warning")[0], "score": 0.8125}])
    assert "correction" in {d.kind for d in city.publisher.publish(stage.today).drafts}
    assert stage.agency.sync().ok
    after = rows_of(stage, city.hub)
    assert len(after) == len(before) + 1
    assert sorted(r["state"] for r in after if r["state"] != "CURRENT") == ["SUPERSEDED"]
    for row in (after[0], next(r for r in after if r["score"] == 0.8125)):
        place = {"o": row["provenance"]["origin"], "i": row["provenance"]["index"], "r": row["recordId"]}
        proof = stage.agency.ask(PROOF, **place)["data"]["federated"]["proof"]["json"].encode()
        assert verify_record(proof, stage.trust, stage.quorum, int(time.time())).index == place["i"]


EVERYTHING = (
    "warnings { nodes { recordId hub } coverage { covered stale missing } } cases { nodes { recordId hub } }"
    "statistics { nodes { recordId hub } } models { nodes { modelId publishers passports } }"
    "hubs { nodes { hub } } warningCounts(by: HUB) { groups { key count } }"
)


def test_hostile_scope_sees_nothing_it_should_not(stage: Any) -> None:
    """Keys of one city, of one district, and of another province, over HTTP."""

    def hubs(part: dict[str, Any]) -> set[str]:
        return {node["hub"] for name in ("warnings", "cases", "statistics", "hubs") for node in part[name]["nodes"]}

    mine = federated(stage, EVERYTHING, "a")
    assert hubs(mine) == {"430200"}
    assert mine["warnings"]["coverage"]["covered"] == ["430200"]
    assert {g["key"] for g in mine["warningCounts"]["groups"]} == {"430200"}
    nothing = {"warnings", "cases", "statistics", "hubs"}
    for key in ("district", "far"):
        found = federated(stage, EVERYTHING, key)
        assert {name: found[name]["nodes"] for name in nothing} == {name: [] for name in nothing}
        assert found["models"]["nodes"] == []
        assert found["warningCounts"]["groups"] == []
        assert found["warnings"]["coverage"] == {"covered": [], "stale": [], "missing": []}
    row = rows_of(stage, "440300")[0]
    place = {"o": row["provenance"]["origin"], "i": row["provenance"]["index"], "r": row["recordId"]}
    for key in ("a", "district", "far"):
        body = stage.agency.ask(PROOF, key, **place)
        assert body["errors"], key
        assert row["recordId"] not in json.dumps(body.get("data"))
        for words in ('hubs: ["440300"]', 'provinces: ["44"]', 'hubs: ["44"]', 'hubs: [""]'):
            found = federated(stage, "warnings(filter: {" + words + "}) { nodes { hub } coverage { covered } }", key)
            assert {n["hub"] for n in found["warnings"]["nodes"]} <= {"430200"} - ({"430200"} if key != "a" else set())
            assert "440300" not in found["warnings"]["coverage"]["covered"]
    for table in ("federated_warning", "federated_log", "federated_statement"):
        answer = httpx.get(
            f"{stage.agency.url}/arrow/{table}", headers={"Authorization": "Bearer secret-a"}, trust_env=False
        )
        assert answer.status_code >= 400
        assert b"440300" not in answer.content
    assert stage.agency.ask("{ federated { hubs { nodes { hub } } } }", "all")["data"]["federated"]["hubs"]["nodes"]
