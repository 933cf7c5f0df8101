"""The demo of the federation, by the commands that each party types; hubs that serve are real processes."""

from __future__ import annotations


def test_demo_of_two_cities_and_an_agency(tmp_path, new_hub):
    hub = new_hub()
    (facts,) = hub("federation", "demo", tmp_path / "federation")
    counts = facts["answer"]["warningCounts"]
    assert {g["key"] for g in counts["groups"]} == {"430200", "440300"}
    assert counts["coverage"] == {"covered": ["430200", "440300"], "stale": [], "missing": [], "complete": True}
    node = facts["answer"]["warnings"]["nodes"][0]
    assert sorted(node["provenance"]["witnesses"]) == ["guangdong", "hunan"]
    statistics = facts["answer"]["statistics"]["nodes"]
    assert statistics
    assert all((s["value"] is None) == (s["countPrecision"] == "suppressed") for s in statistics)
    assert facts["proof"]["state"] == "accepted"
    assert facts["proof"]["row"]["record_id"] == node["recordId"]
    tampered, rolled_back = facts["refused"]
    assert tampered["code"] in {"E-TREE", "E-DIGEST", "E-SIG"}
    assert tampered["rows"] == 0
    assert "is not the one the guard knows" in rolled_back["message"]
    assert not list((tmp_path / "federation" / "hunan" / "data").rglob("*.csv"))
