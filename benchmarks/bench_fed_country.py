"""A day of the whole country, a month's catch-up, and a stick: pulled, verified and merged into a real hub's store.

    python -m benchmarks.bench_fed_country [--quick] [--days 30] [--runs 3] [--seed 10]

B1: one new day of 340 hubs (log-normal rows, median 400) arrives at a hub that follows them; beside it the same pull
with the rows decoded by DuckDB and committed through the same storage port of another hub, verified by nobody.
B3: a hub that was away for the whole time catches up; beside it one GET for each of the same payloads from the same
servers, 16 at once, with the digest checked (`sha256sum` of a list, as rsync of files would have it).
B10: what one hub has goes as a bundle to another one without a network; the second export sends nothing again.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import gzip
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import httpx

from benchmarks._report import write
from benchmarks.fedsim import CITIES, City, Nodes, Reader, world
from dianhuan_federation.core import WARNING_ROWS, decode_rows, lines_of
from dianhuan_federation.core._rows import row_root
from dianhuan_federation.log_store import fsck
from dianhuan_federation.nodes import RequestAuth
from dianhuan_federation.replica import FEDERATED_WARNING
from dianhuan_federation.sync import HttpSource, Want, pull, sizes_in
from dianhuan_sdk import Batch, SourceRef

DAY = 86_400


def clocked(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What the work gives, with its wall and core seconds in this process."""
    gc.collect()
    wall, core = time.perf_counter(), time.process_time()
    found = work()
    return found, {"wall_s": round(time.perf_counter() - wall, 2), "core_s": round(time.process_time() - core, 2)}


class Country:
    """Cities, nodes and the day that it is."""

    def __init__(self, folder: Path, hubs: int, seed: int, days: int, runs: int) -> None:
        self.at = world().NOW - (days + runs + 3) * DAY
        step = len(CITIES) / hubs
        self.cities = [City(CITIES[int(i * step)], seed) for i in range(hubs)]
        self.nodes = Nodes(folder / "country", self.cities)
        self.folder = folder
        self.next_day()
        self.nodes.start()

    def next_day(self) -> None:
        """Every city publishes a day."""
        self.at += DAY
        for city in self.cities:
            city.add_day(self.at)
            city.publish(self.at)
            city.write(self.nodes.place(city))
        self.nodes.set_time(self.at + 600)

    def reader(self, name: str, *, network: bool = True) -> Reader:
        """A hub that follows every city."""
        where = (
            (lambda c: {"url": self.nodes.url(c)}) if network else (lambda c: {"folder": str(self.folder / "inbox")})
        )
        peers = [{"origin": c.origin, **where(c)} for c in self.cities]
        return Reader(self.folder / name, self.nodes.folder, peers, self.at + 600)

    @property
    def rows(self) -> int:
        """All rows so far."""
        return sum(city.rows for city in self.cities)


def unverified(country: Country, reader: Reader, before: dict[str, int]) -> int:
    """The same packs from the same nodes, decoded and committed through the same port, and nothing checked."""

    async def fetch() -> dict[str, bytes]:
        auth = RequestAuth(reader.subscriber._signer, clock=lambda: country.at + 600)
        blobs: dict[str, bytes] = {}
        by_url: dict[str, list[Want]] = {}
        for city in country.cities:
            by_url.setdefault(country.nodes.url(city), []).append(Want(city.origin, before[city.origin]))
        async with reader.subscriber.client() as client:
            limit = asyncio.Semaphore(16)

            async def one(url: str, wants: list[Want]) -> None:
                async with limit:
                    for delivery in await pull(HttpSource(client, url, auth), wants):
                        assert delivery.submission is not None, delivery.error
                        blobs.update(delivery.submission.blobs)

            await asyncio.gather(*(one(url, wants) for url, wants in by_url.items()))
        return blobs

    blobs = asyncio.run(fetch())
    total = 0
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        for number, data in enumerate(blobs.values()):
            (Path(folder) / f"{number}.json.gz").write_bytes(data)
        kinds = {"day": "DATE", "score": "DOUBLE", "raised_at": "TIMESTAMPTZ"}
        columns = {c.name: kinds.get(c.name, "VARCHAR") for c in WARNING_ROWS.all_columns}
        table = db.sql(
            "SELECT 'fed.example/' || division || '/r1' AS origin, 1::INTEGER AS index, record_id, division AS hub, "
            "left(division, 2) AS province, 'warnings' AS stream, * EXCLUDE (record_id, enterprise_name), "
            "raised_at AS witnessed_at, 'current' AS state, NULL::INTEGER AS superseded_by "
            f"FROM read_json($files, format = 'newline_delimited', columns = {columns})",
            params={"files": [f"{folder}/{n}.json.gz" for n in range(len(blobs))]},
        ).to_arrow_table()
        table = table.select(FEDERATED_WARNING.schema.names).cast(FEDERATED_WARNING.schema)
    for start in range(0, table.num_rows, 100_000):
        for batch in table.slice(start, 100_000).combine_chunks().to_batches():
            reader.context.storage.commit([Batch(FEDERATED_WARNING.name, batch, SourceRef("bench"))])
            total += batch.num_rows
    return total


def plain_files(country: Country) -> tuple[int, int, int]:
    """One GET a payload from the nodes, 16 at once, digest checked; requests, bytes, rows."""

    async def fetch() -> tuple[int, int, int]:
        limit, size, rows = asyncio.Semaphore(16), 0, 0
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=16), timeout=60) as client:

            async def one(url: str, name: str) -> None:
                nonlocal size, rows
                async with limit:
                    data = (await client.get(f"{url}/blob/sha256/{name}")).content
                assert sha256(data).hexdigest() == name
                size += len(data)
                rows += gzip.decompress(data).count(b"\n")

            jobs = []
            for province, port in country.nodes.ports.items():
                names = os.listdir(country.nodes.folder / "nodes" / province / "blob" / "sha256")
                jobs += [one(f"http://127.0.0.1:{port}", name) for name in names]
            await asyncio.gather(*jobs)
        return len(jobs), size, rows

    return asyncio.run(fetch())


def day(country: Country, reader: Reader, other: Reader, runs: int) -> dict[str, Any]:
    """B1 at the present length of the logs."""
    ours: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []
    rows, taken = [], []
    for run in range(runs):
        before = {c.origin: c.size for c in country.cities}
        country.next_day()
        reader.clock.time = other.clock.time = country.at + 600
        counts = country.nodes.answered()

        def verified() -> int:
            report = reader.subscriber.sync()
            assert report.ok
            return sum(m.rows for m in report.merged)

        def bare(before: dict[str, int] = before) -> int:
            return unverified(country, other, before)

        for work, into in ((verified, ours), (bare, theirs))[:: 1 if run % 2 else -1]:
            found, seconds = clocked(work)
            into.append({**seconds, "rows": found})
        after = country.nodes.answered()
        rows.append(ours[-1]["rows"])
        taken.append((after[0] - counts[0], after[1] - counts[1]))
        assert ours[-1]["rows"] == theirs[-1]["rows"]

    def middle(runs: list[dict[str, float]], name: str) -> float:
        return round(statistics.median(run[name] for run in runs), 2)

    return {
        "entries_a_log": country.cities[0].size,
        "rows": rows,
        "verified": {"runs": ours, "wall_s": middle(ours, "wall_s"), "core_s": middle(ours, "core_s")},
        "unverified": {"runs": theirs, "wall_s": middle(theirs, "wall_s"), "core_s": middle(theirs, "core_s")},
        "overhead_percent_core": round(100 * (middle(ours, "core_s") / middle(theirs, "core_s") - 1)),
        "overhead_percent_wall": round(100 * (middle(ours, "wall_s") / middle(theirs, "wall_s") - 1)),
        "requests_and_bytes_of_both": taken,
        "at_most_5_s": middle(ours, "wall_s") <= 5,
    }


def stick(country: Country, full: Reader, name: str, since: dict[str, int]) -> dict[str, Any]:
    """B10: export, import, and both again."""
    target = country.folder / f"{name}.tar"
    listed, exported = clocked(lambda: full.subscriber.export_bundle(target, since))
    fresh = country.reader(f"stick-{name}", network=False)
    try:
        facts: dict[str, Any] = {"files": len(listed), "tar_bytes": target.stat().st_size, "export": exported}
        if not since:
            report, facts["import"] = clocked(lambda: fresh.subscriber.import_bundle(target))
            assert report.ok, report
            facts["rows"] = sum(m.rows for m in report.merged)
            again, facts["import_again"] = clocked(lambda: fresh.subscriber.import_bundle(target))
            facts["rows_again"] = sum(m.rows for m in again.merged)
            known = sizes_in(target)
            second = country.folder / f"{name}-again.tar"
            resent = full.subscriber.export_bundle(second, known)
            facts["second_export_bytes_of_logs_and_payloads"] = sum(
                size for path, size in resent.items() if path.startswith(("logs/", "blobs/"))
            )
    finally:
        fresh.close()
    return facts


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="40 hubs, 5 days")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=10)
    options = parser.parse_args()
    hubs, days = (40, 5) if options.quick else (len(CITIES), options.days)
    facts: dict[str, Any] = {"hubs": hubs, "days": days, "seed": options.seed, "load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as place:
        country = Country(Path(place), hubs, options.seed, days, options.runs)
        reader, other = country.reader("reader"), country.reader("other")
        try:
            checked(country)
            _, facts["first_contact"] = clocked(lambda: reader.subscriber.sync().ok)
            unverified(country, other, dict.fromkeys((c.origin for c in country.cities), 0))
            facts["B10_one_day"] = stick(country, reader, "day", {})
            facts["B1_short_logs"] = day(country, reader, other, options.runs)
            while country.cities[0].batches < days - options.runs:
                country.next_day()
            reader.clock.time = other.clock.time = country.at + 600
            before = country.nodes.answered()
            report, facts["B3_rest"] = clocked(lambda: reader.subscriber.sync())
            assert report.ok
            facts["B1_long_logs"] = day(country, reader, other, options.runs)
            late = country.reader("late")
            before = country.nodes.answered()
            report, seconds = clocked(lambda: late.subscriber.sync())
            after = country.nodes.answered()
            assert report.ok
            assert sum(m.rows for m in report.merged) == country.rows
            plain, plain_seconds = clocked(lambda: plain_files(country))
            facts["B3"] = {
                "rows": country.rows,
                "ours": {"requests": after[0] - before[0], "bytes": after[1] - before[1], **seconds},
                "a GET a file, digest only, rows counted, no store": dict(
                    zip(("requests", "bytes", "rows"), plain, strict=True), **plain_seconds
                ),
                "at_most_2000_requests": after[0] - before[0] <= 2000,
            }
            late.close()
            facts["B10_all_days"] = stick(country, reader, "month", {})
        finally:
            reader.close()
            other.close()
            country.nodes.stop()
    facts["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    write("fed_country" + ("_quick" if options.quick else ""), facts)


def checked(country: Country) -> None:
    """What the short-cut writer wrote is what the log store and the schema accept."""
    city = country.cities[0]
    place = country.nodes.place(city)
    for log in list((place / "mirror/logs").iterdir())[:1]:
        assert fsck(log).size == city.size
    payload = gzip.decompress(next((place / "blob/sha256").iterdir()).read_bytes())
    decode_rows(WARNING_ROWS, payload, count=len(lines_of(payload)), root=row_root(payload))


if __name__ == "__main__":
    main()
