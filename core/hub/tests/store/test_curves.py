"""One row per metering point and day; repeats, corrections, links that move, the cold tier."""

from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from dianhuan_hub.store import Query, Store, StoreError, dequantize, quantize, read_count, read_page, read_stream

DAY = date(2026, 3, 5)


def feature(store: Store, day: date, name: str = "kwh") -> dict[str, float]:
    block = store.city(day, 1, [name])
    values = block.feature(name)[:, 0]
    ids = block.entities.column("entity_id").to_pylist()
    return {i: round(float(v), 3) for i, v in zip(ids, values, strict=True)}


def test_entity_day_is_the_sum_over_accounts(city, curve_rows, put):
    put(city, curve_rows(DAY, {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}))
    assert feature(city, DAY) == pytest.approx({"E1": 72.0, "E2": 168.0, "E3": np.nan}, nan_ok=True)
    _, kw = city.entity_curves("E1", DAY, DAY)
    assert (kw == 3).all()


def test_links_are_dated(city, curve_rows, put):
    later = date(2026, 3, 10)
    put(city, curve_rows(later, {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}))
    assert feature(city, later) == pytest.approx({"E1": 72.0, "E2": 72.0, "E3": 96.0})


def test_entity_with_a_lost_account_is_missing_not_small(city, curve_rows, put):
    put(city, curve_rows(DAY, {0: 1.0, 2: 3.0, 3: 4.0}))
    assert np.isnan(feature(city, DAY)["E1"])
    put(city, curve_rows(DAY, {1: 2.0}))
    assert feature(city, DAY)["E1"] == pytest.approx(72.0)


def test_missing_points_stay_missing_in_the_sum(city, curve_rows, put):
    gap = np.full(96, 2.0, np.float32)
    gap[10:20] = np.nan
    put(city, curve_rows(DAY, {0: 1.0, 1: gap, 2: 3.0, 3: 4.0}))
    _, kw = city.entity_curves("E1", DAY, DAY)
    assert np.isnan(kw[0, 10:20]).all()
    assert (kw[0, 20:] == 3).all()
    assert feature(city, DAY, "points")["E1"] == 86


def test_repeat_changes_nothing(city, curve_rows, put):
    curves = curve_rows(DAY, {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0})
    put(city, curves)
    again = put(city, curves)
    assert (again.accepted, again.unchanged, again.corrected, again.days) == (0, 4, 0, ())
    assert read_count(city.engine, Query("load_curve")) == 4


def test_correction_replaces_the_row_keeps_the_old_one_and_recomputes_what_it_touches(city, curve_rows, put):
    first = put(city, curve_rows(DAY, {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}))
    before = feature(city, DAY)
    second = put(city, curve_rows(DAY, {1: 5.0}))
    assert (second.accepted, second.corrected) == (1, 1)
    after = feature(city, DAY)
    assert after["E1"] == pytest.approx(144.0)
    assert after["E2"] == before["E2"]
    with city.engine.cursor() as con:
        kept = con.execute("SELECT mp, kw[1], load_id, replaced_by FROM curve_history").fetchall()
    assert kept == [(1, 2.0, first.load_id, second.load_id)]
    assert read_count(city.engine, Query("load_curve")) == 4


def test_account_that_moves_takes_its_days_along(city, curve_rows, put, rows):
    put(city, curve_rows(DAY, {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}))
    put(
        city,
        registers=[
            rows(
                "account_link",
                account_no=["A3", "A3"],
                entity_id=["E2", "E3"],
                valid_from=[date(2026, 1, 1), date(2026, 3, 5)],
                valid_to=[date(2026, 3, 5), None],
            )
        ],
    )
    assert feature(city, DAY) == pytest.approx({"E1": 72.0, "E2": 96.0, "E3": 72.0})
    with city.engine.cursor() as con:
        history = con.execute("SELECT row->>'account_no' FROM register_history").fetchall()
    assert history == [("A3",)]


def test_shared_account_without_shares_belongs_to_nobody(city, curve_rows, put, rows):
    put(city, registers=[rows("account_link", account_no=["A3"], entity_id=["E3"], valid_from=[date(2026, 1, 1)])])
    put(city, curve_rows(DAY, {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}))
    assert np.isnan(feature(city, DAY)["E3"])
    assert np.isnan(feature(city, DAY)["E2"])
    shared = city.city(DAY, 1, ["kwh"]).entities.column("shared_meter").to_pylist()
    assert shared == [False, True, True]


def test_shares_split_an_account(city, curve_rows, put, rows):
    put(
        city,
        registers=[
            rows(
                "account_link",
                account_no=["A3", "A3"],
                entity_id=["E2", "E3"],
                valid_from=[date(2026, 1, 1)] * 2,
                share=[0.75, 0.25],
            )
        ],
    )
    put(city, curve_rows(DAY, {0: 1.0, 1: 2.0, 2: 4.0, 3: 4.0}))
    assert feature(city, DAY) == pytest.approx({"E1": 72.0, "E2": 72.0 + 96.0, "E3": 24.0})


def test_block_days_without_data_are_nan_and_curves_agree_with_features(city, curve_rows, put):
    rng = np.random.default_rng(1)
    for day in (date(2026, 3, 3), date(2026, 3, 5)):
        put(city, curve_rows(day, {m: rng.random(96).round(3) for m in range(4)}))
    block = city.city(date(2026, 3, 5), 3, ["kwh", "max_kw"])
    assert np.isnan(block.feature("kwh")[:, 1]).all()
    curves = block.curves(np.array([1, 0]))
    np.testing.assert_allclose(curves[0, 2].sum() / 4, block.feature("kwh")[1, 2], rtol=1e-5)
    np.testing.assert_allclose(curves[1, 0].max(), block.feature("max_kw")[0, 0], rtol=1e-6)
    assert np.isnan(curves[:, 1]).all()


def test_sealed_day_reads_the_same_and_takes_corrections(city, curve_rows, put):
    rng = np.random.default_rng(2)
    gap = rng.random(96).round(3).astype(np.float32)
    gap[5] = np.nan
    put(city, curve_rows(DAY, {0: gap, 1: rng.random(96).round(3), 2: rng.random(96), 3: -4.25}))
    before = {e: city.entity_curves(e, DAY, DAY)[1] for e in ("E1", "E2")}
    path = city.cold.seal(DAY)
    assert path.is_file()
    assert read_count(city.engine, Query("load_curve")) == 0
    for entity, kw in before.items():
        np.testing.assert_array_equal(city.entity_curves(entity, DAY, DAY)[1], kw)
    receipt = put(city, curve_rows(DAY, {0: 9.0}))
    assert receipt.corrected == 1
    assert read_count(city.engine, Query("load_curve")) == 4
    assert read_count(city.engine, Query("cold_day")) == 0


def test_orphans_of_a_crash_are_collected_at_start(city, curve_rows, put, reopen):
    put(city, curve_rows(DAY, {0: 1.0}))
    kept = city.cold.seal(DAY)
    orphan, part = kept.with_name("curve_20260101_7.parquet"), kept.with_name("curve_20260102_8.part")
    orphan.write_bytes(b"x")
    part.write_bytes(b"x")
    city.close()
    again = reopen(city.data)
    assert sorted(p.name for p in kept.parent.iterdir() if p.is_file()) == [kept.name]
    assert (kept.parent / "orphans" / orphan.name).is_file()  # it may be the only copy of a day
    again.close()


def test_quantization_is_lossless_on_any_float():
    rng = np.random.default_rng(3)
    kw = np.concatenate(
        [
            rng.random((20, 96)),
            rng.integers(0, 5000, (20, 96)) * 0.12,
            rng.integers(0, 9, (20, 96)) * 160.0,
            np.zeros((1, 96)),
            rng.standard_normal((5, 96)) * 1e7,
        ]
    ).astype(np.float32)
    q = quantize(kw)
    np.testing.assert_array_equal(dequantize(q).view(np.int32), kw.view(np.int32))
    assert (q.factor[40:60] % 160 == 0).all()


def test_failed_transaction_leaves_nothing(city, curve_rows, info, rows):
    from dianhuan_hub.store import Unit

    curves = curve_rows(DAY, {0: 1.0})
    broken = pa.table({"table_name": pa.array(["x"]), "nonsense": pa.array([1])})
    with pytest.raises(StoreError):
        city.commit(Unit(info, curves=curves, refused=broken))
    assert read_count(city.engine, Query("load_curve")) == 0
    city.commit(Unit(info, curves=curves))
    assert read_count(city.engine, Query("load_curve")) == 1


def test_second_process_is_told_why_it_cannot_open(city):
    import subprocess
    import sys

    code = (
        "import sys\nfrom pathlib import Path\nfrom dianhuan_hub.store import Engine, StoreError\n"
        f"try:\n    Engine(Path({str(city.engine.path)!r}))\n"
        "except StoreError as e:\n    print(e); sys.exit(7)\n"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert child.returncode == 7
    assert "in use by another process" in child.stdout


def test_load_curve_stream_is_in_contract_form(city, curve_rows, put):
    gap = np.full(96, 2.0, np.float32)
    gap[:3] = np.nan
    put(city, curve_rows(DAY, {0: gap, 1: 1.0}))
    with read_stream(city.engine, Query("load_curve"), ["metering_point_id", "kw"]) as reader:
        table = reader.read_all()
    assert table.column("metering_point_id").to_pylist() == ["M1", "M2"]
    assert table.column("kw").to_pylist()[0][:4] == [None, None, None, 2.0]


def test_pages_follow_each_other_without_gap_or_repeat(city, put, rows):
    put(city, registers=[rows("entity", entity_id=[f"X{i:03d}" for i in range(25)], name=["n"] * 25)])
    seen: list[str] = []
    after = None
    while True:
        page = read_page(city.engine, Query("entity"), order=[("entity_id", True)], limit=10, after=after)
        seen += [r["entity_id"] for r in page.rows]
        if not page.more:
            break
        after = [seen[-1]]
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 28


def test_features_of_an_older_definition_are_recomputed_at_start(city, curve_rows, put, reopen):
    put(city, curve_rows(DAY, {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}))
    expected = feature(city, DAY)
    city.write(lambda con: con.execute("UPDATE meta SET value = '0' WHERE key = 'features_version'"))
    city.write(lambda con: con.execute("UPDATE feature_day SET kwh = -1"))
    city.close()
    again = reopen(city.data)
    assert feature(again, DAY) == pytest.approx(expected, nan_ok=True)
    again.close()


def test_parts_of_a_day_are_joined_and_a_contradiction_replaces(city, curve_rows, put):
    morning, evening = np.full(96, 1.0, np.float32), np.full(96, 2.0, np.float32)
    morning[32:], evening[:32] = np.nan, np.nan
    put(city, curve_rows(DAY, {2: evening}))
    put(city, curve_rows(DAY, {2: morning, 3: 4.0}))
    _, kw = city.entity_curves("E2", DAY, DAY)
    np.testing.assert_array_equal(kw[0], np.where(np.arange(96) < 32, 5.0, 6.0))
    put(city, curve_rows(DAY, {2: np.where(np.isnan(morning), np.nan, 9.0)}))
    _, kw = city.entity_curves("E2", DAY, DAY)
    assert (kw[0, :32] == 13).all()
    assert np.isnan(kw[0, 32:]).all()


def test_whoever_shares_an_account_is_recomputed_when_a_link_comes(city, curve_rows, put, rows):
    put(city, curve_rows(DAY, {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}))
    put(city, registers=[rows("account_link", account_no=["A1"], entity_id=["E3"], valid_from=[date(2026, 1, 1)])])
    assert np.isnan(feature(city, DAY)["E1"])
    assert np.isnan(feature(city, DAY)["E3"])


def test_link_whose_start_was_corrected_is_still_one_enterprise(city, curve_rows, put, rows):
    put(city, registers=[rows("account_link", account_no=["A1"], entity_id=["E1"], valid_from=[date(2025, 6, 1)])])
    put(city, curve_rows(DAY, {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}))
    assert feature(city, DAY)["E1"] == pytest.approx(72.0)


def test_sealed_days_follow_links_features_and_blocks(city, curve_rows, put, rows, reopen):
    put(city, curve_rows(DAY, {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}))
    city.cold.seal(DAY)
    block = city.city(DAY, 2, ["kwh"])
    assert (block.curves(np.array([0]))[0, 1] == 3).all()
    put(
        city,
        registers=[
            rows(
                "account_link",
                account_no=["A3", "A3"],
                entity_id=["E2", "E3"],
                valid_from=[date(2026, 1, 1), DAY],
                valid_to=[DAY, None],
            )
        ],
    )
    assert feature(city, DAY) == pytest.approx({"E1": 72.0, "E2": 96.0, "E3": 72.0})
    city.write(lambda con: con.execute("UPDATE meta SET value = '0' WHERE key = 'features_version'"))
    city.close()
    again = reopen(city.data)
    assert feature(again, DAY) == pytest.approx({"E1": 72.0, "E2": 96.0, "E3": 72.0})
    again.close()


def test_links_and_curves_of_one_unit_belong_together(city, curve_rows, put, rows):
    ended = rows(
        "account_link", account_no=["A3"], entity_id=["E2"], valid_from=[date(2026, 1, 1)], valid_to=[date(2026, 2, 1)]
    )
    put(city, curve_rows(DAY, {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}), registers=[ended])
    assert feature(city, DAY)["E2"] == pytest.approx(96.0)
