"""The demo is the product's main job in real processes: files in, list out, precision against the truth, API up."""


def test_demo_from_files_to_graphql(tmp_path, new_hub):
    hub = new_hub()
    (facts,) = hub("demo", tmp_path / "demo", "--entities", 1500, "--days", 30, "--base-rate", 0.02)
    assert facts["rows"] > 40_000
    assert facts["warnings"] > 0
    assert facts["hits"] + sum(facts["wasted"].values()) == facts["listed"]
    # 2 % of the city are violators: a list that is no better than chance would hold 2 %.
    assert facts["precision"] > 0.2
    data = facts["graphql"]["data"]
    assert len(data["todaysList"]["visits"]) == 3
    assert data["todaysList"]["bound"]["en"].startswith("no bound yet")
    assert sum(g["count"] for g in data["counts"]["groups"]) == facts["warnings"]
    assert (tmp_path / "demo" / "evidence.png").exists() is False  # --json draws nothing
    assert hub.raw("demo", tmp_path).returncode == 1  # a folder that holds something else is left alone
