"""A city's night at full size, beside DuckDB, polars and chdb in the same run.

The simulator writes a city's grid files; the hub ingests every day of them and screens the last one. Compared:

* intake of one GB18030 day file until it is committed with features ÷ `CREATE TABLE AS` of its UTF-8 twin by DuckDB
  into a new file;
* the whole screening (all models) ÷ one night/day aggregate by DuckDB, polars and chdb over Parquet files of the same
  curves, and by chdb over its own MergeTree table;
* bytes of a cold day ÷ the same readings as float32 Parquet with zstd;
* peak memory of the screening process, and growth with the city's size and with the days of history.

`--quick`: a ninth of the city and 10 days.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks._report import summary, table, write
from dianhuan_hub.app import Hub, open_hub
from dianhuan_hub.kernel.config import load_config, write_template
from dianhuan_hub.store import Query, read_stream
from dianhuan_sdk.features import DAY, NIGHT
from dianhuan_simulator import City, CityConfig, write_hunan

START = date(2026, 3, 2)
FULL = 313_000
RUNS = 3
SEED = 41
REGISTERS = ("entity", "account_link", "permit", "acceptance", "filed_report", "order", "weather")


def make_city(entities: int, days: int, folder: Path, base_rate: float, seed: int) -> list[date]:
    """Write the city's files; answers the days."""
    city = City(CityConfig(entities=entities, days=days, start=START, base_rate=base_rate), seed)
    write_hunan(city, folder)
    return [START + timedelta(days=i) for i in range(days)]


def new_hub(folder: Path) -> Hub:
    folder.mkdir(parents=True)
    write_template(folder / "hub.toml", "株洲市", "430200")
    return open_hub(load_config(folder, {"DIANHUAN_STORE__RAW_DAYS": "0", "DIANHUAN_STORE__HOT_DAYS": "400"}))


def ingest(hub: Hub, adapter: str, stream: str, file: Path) -> float:
    began = time.perf_counter()
    done = asyncio.run(hub.intake.run(hub.file_source(adapter, stream, file, None)))
    assert done.error is None, done.error
    return time.perf_counter() - began


def fill(
    hub: Hub, entities: int, days: int, folder: Path, *, keep: bool, base_rate: float = 0.002, seed: int = SEED
) -> tuple[list[float], Path]:
    """Ingest a city; answers seconds of each day's curve file and the last curve file."""
    seconds = []
    last = folder
    for number, day in enumerate(make_city(entities, days, folder, base_rate, seed)):
        grid = folder / "grid"
        stamp = f"{day:%Y%m%d}"
        if (archive := grid / f"archive_{stamp}.csv").exists():
            ingest(hub, "grid_hunan", "archive", archive)
        if number == 0:
            for name in REGISTERS:
                ingest(hub, "grid_generic", name, folder / "registers" / f"{name}.csv")
        curve = grid / f"curve_{stamp}.csv"
        seconds.append(ingest(hub, "grid_hunan", "curve", curve))
        for stream, prefix in (("correction", "correct"), ("outage", "outage")):
            if (file := grid / f"{prefix}_{stamp}.csv").exists():
                ingest(hub, "grid_hunan", stream, file)
        if number < days - 1:
            curve.unlink()
        last = curve
    if not keep:
        last.unlink()
    return seconds, last


def screen(hub_folder: Path, day: date) -> dict[str, Any]:
    """One screening in a process of its own, with its peak memory."""
    code = (
        "import json, sys, time\nfrom datetime import date\nfrom pathlib import Path\n"
        "from dianhuan_hub.app import open_hub\nfrom dianhuan_hub.kernel.config import load_config\n"
        f"hub = open_hub(load_config(Path({str(hub_folder)!r})))\n"
        f"t = time.perf_counter(); r = hub.screening.run(date.fromisoformat({day.isoformat()!r}))\n"
        "s = time.perf_counter() - t\n"
        "hub.close()\n"
        # VmHWM begins anew with this process; ru_maxrss would hold the parent's peak.
        "peak = next(l for l in open('/proc/self/status') if l.startswith('VmHWM'))\n"
        "print(json.dumps({**r.as_dict(), 'total': s, 'peak_mib': int(peak.split()[1]) / 1024}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def intake_ratio(hub_folder: Path, curve: Path, folder: Path) -> dict[str, Any]:
    """One new day: the hub's intake and DuckDB's CREATE TABLE AS of the UTF-8 twin, in turn."""
    twin = folder / "twin.csv"
    twin.write_bytes(curve.read_bytes().decode("gb18030").encode())
    ours, theirs = [], []
    source = folder / "again.csv"
    old = curve.stem.removeprefix("curve_")
    with open_hub(load_config(hub_folder, {"DIANHUAN_STORE__RAW_DAYS": "0"})) as hub:
        for run in range(RUNS):
            new = f"{START - timedelta(days=30 * (run + 1)):%Y%m%d}"
            text = curve.read_bytes()
            for form in ("{0}-{1}-{2}", "{0}{1}{2}"):
                text = text.replace(
                    form.format(old[:4], old[4:6], old[6:]).encode(), form.format(new[:4], new[4:6], new[6:]).encode()
                )
            source.write_bytes(text)
            ours.append(ingest(hub, "grid_hunan", "curve", source))
            file = folder / f"peer{run}.duckdb"
            began = time.perf_counter()
            con = duckdb.connect(str(file), config={"threads": 2})
            con.execute(f"CREATE TABLE t AS SELECT * FROM read_csv('{twin}', header=true)")
            con.close()
            theirs.append(time.perf_counter() - began)
            file.unlink()
    twin.unlink()
    source.unlink()
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "file_mb": round(curve.stat().st_size / 1e6),
        "hub_s": summary(ours),
        "duckdb_create_table_as_s": summary(theirs),
        "ratio_median": round(statistics.median(ratios), 2),
        "target": "≤ 2",
    }


def export(hub: Hub, folder: Path, days: int) -> list[Path]:
    """One Parquet file a day of the stored curves: metering point ordinal, kw as 96 float32, zstd, not nullable."""
    folder.mkdir()
    files = []
    points = hub.store.topology()
    for i in range(days):
        day = START + timedelta(days=i)
        query = Query("load_curve", start=day, end=day + timedelta(days=1))
        with read_stream(hub.store.engine, query, ["metering_point_id", "kw"]) as reader:
            rows = reader.read_all().combine_chunks()
        mp = points.point_ordinals(rows.column("metering_point_id").combine_chunks())
        flat = np.nan_to_num(rows.column("kw").combine_chunks().flatten().to_numpy(zero_copy_only=False)).astype("f4")
        kind = pa.list_(pa.field("element", pa.float32(), nullable=False), 96)
        kw = pa.FixedSizeListArray.from_arrays(pa.array(flat), type=kind)
        schema = pa.schema([pa.field("mp", pa.int32(), nullable=False), pa.field("kw", kind, nullable=False)])
        files.append(folder / f"{day:%Y%m%d}.parquet")
        pq.write_table(
            pa.table([pa.array(mp), kw], schema=schema),
            files[-1],
            compression="zstd",
            compression_level=6,  # as the cold tier
            use_dictionary=False,
            row_group_size=20_000,
        )
    return files


def peers(files: list[Path], folder: Path) -> dict[str, list[float]]:
    """Seconds of one night/day aggregate per metering point over the files, top 130 by ratio, by each peer."""
    import chdb.session
    import polars as pl

    pattern = str(files[0].parent / "*.parquet")
    night, day = (m.astype(np.float32) for m in (NIGHT, DAY))
    seconds: dict[str, list[float]] = {}

    def lap(name: str, work: Any) -> None:
        began = time.perf_counter()
        work()
        seconds.setdefault(name, []).append(time.perf_counter() - began)

    con = duckdb.connect(config={"threads": 2})
    lists = {n: "[" + ",".join(f"{v:.0f}" for v in m) + "]::FLOAT[96]" for n, m in (("n", night), ("d", day))}

    def by_duckdb() -> None:
        con.execute(
            f"""SELECT mp, sum(array_inner_product(kw::FLOAT[96], {lists["n"]})) AS n,
            sum(array_inner_product(kw::FLOAT[96], {lists["d"]})) AS d
            FROM read_parquet('{pattern}') GROUP BY mp HAVING d > 0 ORDER BY n / d DESC LIMIT 130"""
        ).fetchall()

    def by_polars() -> None:
        def total(a: int, b: int) -> pl.Expr:
            return pl.col("kw").arr.to_list().list.slice(a, b - a).list.sum()

        rows = pl.scan_parquet(pattern).select(
            "mp", n=total(88, 96) + total(0, 24), d=total(32, 72)
        ).group_by("mp").agg(pl.col("n").sum(), pl.col("d").sum())  # fmt: skip
        rows.filter(pl.col("d") > 0).sort(pl.col("n") / pl.col("d"), descending=True).head(130).collect(
            engine="streaming"
        )

    session = chdb.session.Session(str(folder / "chdb"))
    aggregate = """SELECT mp, sum(arraySum(arraySlice(kw, 89, 8)) + arraySum(arraySlice(kw, 1, 24))) AS n,
        sum(arraySum(arraySlice(kw, 33, 40))) AS d FROM {} GROUP BY mp HAVING d > 0 ORDER BY n / d DESC LIMIT 130
        SETTINGS max_threads = 2"""

    def by_chdb_parquet() -> None:
        session.query(aggregate.format(f"file('{pattern}', Parquet)"))

    session.query("CREATE DATABASE IF NOT EXISTS b")
    session.query("CREATE TABLE b.c (mp Int32, kw Array(Float32)) ENGINE = MergeTree ORDER BY mp")
    session.query(f"INSERT INTO b.c SELECT mp, kw FROM file('{pattern}', Parquet)")

    def by_chdb_table() -> None:
        session.query(aggregate.format("b.c"))

    for _ in range(RUNS):
        lap("duckdb_parquet", by_duckdb)
        lap("chdb_parquet", by_chdb_parquet)
        lap("chdb_mergetree", by_chdb_table)
        lap("polars_parquet", by_polars)
    con.close()
    session.close()
    return seconds


def cold(hub: Hub, float_file: Path, day: date) -> dict[str, Any]:
    """Seal one day and compare it with the same readings as float32 Parquet."""
    before = hub.store.entity_curves(_some_entity(hub), day, day)[1]
    began = time.perf_counter()
    path = hub.store.cold.seal(day)
    seconds = time.perf_counter() - began
    after = hub.store.entity_curves(_some_entity(hub), day, day)[1]
    assert np.array_equal(before, after, equal_nan=True)
    return {
        "cold_mb": round(path.stat().st_size / 1e6, 1),
        "float32_zstd_mb": round(float_file.stat().st_size / 1e6, 1),
        "ratio": round(path.stat().st_size / float_file.stat().st_size, 3),
        "seal_s": round(seconds, 2),
        "quanta": "the simulator's meters: secondary-side register steps × CT·PT multiplier",
        "target": "≤ 0.65",
    }


def _some_entity(hub: Hub) -> str:
    value: str = hub.store.topology().entities[7].as_py()
    return value


def growth(folder: Path, sizes: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """Screening seconds and memory for (entities, days)."""
    rows = []
    for entities, days in sizes:
        place = folder / f"g{entities}_{days}"
        hub = new_hub(place / "hub")
        fill(hub, entities, days, place / "city", keep=False)
        hub.close()
        runs = [screen(place / "hub", START + timedelta(days=days - 1)) for _ in range(RUNS)]
        rows.append(
            {
                "entities": entities,
                "days": days,
                "screen_s": round(statistics.median(r["total"] for r in runs), 2),
                "peak_mib": round(max(r["peak_mib"] for r in runs)),
            }
        )
        shutil.rmtree(place)
    return rows


def plot(facts: dict[str, Any], out: Path) -> None:
    """Screening beside the peers' single aggregate."""
    from matplotlib.figure import Figure

    names = ["dianhuan: whole screening", *facts["peers_s"]]
    values = [facts["screening"]["seconds"]["median"], *(v["median"] for v in facts["peers_s"].values())]
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axis = figure.subplots()
    axis.barh(names, values, color=["tab:red", *["tab:grey"] * (len(names) - 1)])
    axis.invert_yaxis()
    axis.set_xlabel(f"seconds, {facts['entities']:,} entities × {facts['days']} days (median of {RUNS})")
    figure.savefig(out, dpi=120)


def main() -> None:
    """Run everything and write `night.json`, `night.png`, `night.md`."""
    quick = "--quick" in sys.argv
    entities, days = (FULL // 9, 10) if quick else (FULL, 30)
    folder = Path(tempfile.mkdtemp(prefix="dianhuan-night-"))
    try:
        hub = new_hub(folder / "hub")
        seconds, curve = fill(hub, entities, days, folder / "city", keep=True)
        files = export(hub, folder / "parquet", days)
        last = START + timedelta(days=days - 1)
        size = (folder / "hub" / "data" / "hub.duckdb").stat().st_size
        hub.close()
        runs = [screen(folder / "hub", last) for _ in range(RUNS)]
        peer = peers(files, folder)
        screening = [r["total"] for r in runs]
        facts: dict[str, Any] = {
            "entities": entities,
            "days": days,
            "base_rate": 0.002,
            "tier": "T2 (simulated city)",
            "seed": SEED,
            "intake_day_s": summary(seconds),
            "database_mb_per_day": round(size / 1e6 / days),
            "screening": {
                "seconds": summary(screening),
                "steps": runs[-1]["seconds"],
                "findings": runs[-1]["findings"],
                "warnings": runs[-1]["warnings"],
                "peak_mib": round(max(r["peak_mib"] for r in runs)),
                "target": "≤ 1.0 × chdb's single aggregate, < 2,560 MiB",
            },
            "peers_s": {k: summary(v) for k, v in peer.items()},
            "screening_over_peer": {
                k: round(statistics.median(screening) / statistics.median(v), 2) for k, v in peer.items()
            },
            "intake": intake_ratio(folder / "hub", curve, folder),
        }
        with open_hub(load_config(folder / "hub")) as again:
            facts["cold"] = cold(again, files[5], START + timedelta(days=5))
        shutil.rmtree(folder / "parquet")
        shutil.rmtree(folder / "hub")
        ninth = FULL // 9
        steps = [(ninth // 3, 10)] if quick else [(ninth, 10), (ninth, 30), (ninth, 90), (FULL // 3, 30)]
        rows = growth(folder, steps)
        whole = {"entities": entities, "days": days, "screen_s": facts["screening"]["seconds"]["median"],
                 "peak_mib": facts["screening"]["peak_mib"]}  # fmt: skip
        facts["growth"] = [*rows, whole]
        write("night", facts)
        out = Path(__file__).parent / "out"
        plot(facts, out / "night.png")
        (out / "night.md").write_text(table(facts["growth"]) + "\n", "utf-8")
        print(table(facts["growth"]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
