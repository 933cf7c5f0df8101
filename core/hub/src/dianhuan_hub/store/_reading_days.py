"""Readings of old days: one Parquet file a civil day, written aside, fsynced, renamed, visible by a manifest row.

Files carry `channel_id` itself, so that a cluster or another program can read them without the database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dianhuan_hub.store._cold import write_aside
from dianhuan_hub.store._engine import Connection, Engine, arrow, one
from dianhuan_sdk import LOCAL_ZONE

_COLUMNS = 'o.channel_id, r.device_at, r."at", r.received_at, r.value, r.text, r.quality, r.resent, r.load_id'
_ROW_GROUP = 200_000


class ReadingDays:
    """Moves days of readings out of the database file, and reads across both.

    Args:
        engine: the store's engine.
        folder: where the files lie.
        now: the hub's clock.
    """

    def __init__(self, engine: Engine, folder: Path, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._folder = folder
        self._now = now
        with engine.cursor() as con:
            known = {row[0] for row in con.execute("SELECT file FROM reading_day").fetchall()}
        for path in folder.glob("*") if folder.is_dir() else ():
            if path.suffix == ".part":
                path.unlink()
            elif path.suffix == ".parquet" and path.name not in known:
                # Not deleted: with another database file beside it, this may be the only copy of a day.
                (folder / "orphans").mkdir(exist_ok=True)
                path.rename(folder / "orphans" / path.name)

    def seal_before(self, day: date) -> list[date]:
        """Seal every civil day before `day` of which readings are in the database file."""
        with self._engine.cursor() as con:
            first = one(con, "SELECT min(device_at) FROM reading WHERE device_at < ?", [_start(day)])
        if first is None or first[0] is None:
            return []
        begin = first[0].astimezone(LOCAL_ZONE).date()
        days = [begin + timedelta(days=n) for n in range((day - begin).days)]
        return [d for d in days if self.seal(d)]

    def seal(self, day: date) -> Path | None:
        """Move one civil day (by the device's time) into a file of its own; None where it has no readings.

        A day that was sealed before and has readings again gets a file with both.
        """

        def work(con: Connection) -> Path | None:
            bounds = [_start(day), _start(day + timedelta(days=1))]
            table = arrow(
                con,
                f"""SELECT {_COLUMNS} FROM reading r JOIN channel_ordinal o USING (ch)
                WHERE r.device_at >= ? AND r.device_at < ? ORDER BY o.channel_id, r.device_at""",
                bounds,
            )
            if not table.num_rows:
                return None
            newest = int(pc.max(table.column("load_id")).as_py())
            before = one(con, "SELECT file FROM reading_day WHERE day = ?", [day])
            if before is not None:
                kept = pq.read_table(self._folder / before[0])
                table = pa.concat_tables([kept, table.cast(kept.schema)]).sort_by(
                    [("channel_id", "ascending"), ("device_at", "ascending")]
                )
            path = self._folder / f"reading_{day:%Y%m%d}_{newest}_{table.num_rows}.parquet"
            digest = write_aside(
                path,
                table,
                compression="zstd",
                use_dictionary=["channel_id", "text", "quality", "load_id"],
                column_encoding={"device_at": "DELTA_BINARY_PACKED", "at": "DELTA_BINARY_PACKED"},
                row_group_size=_ROW_GROUP,
            )
            con.execute("DELETE FROM reading_day WHERE day = ?", [day])
            con.execute(
                "INSERT INTO reading_day VALUES (?, ?, ?, ?, ?, ?)",
                [day, path.name, table.num_rows, path.stat().st_size, digest, self._now()],
            )
            con.execute("DELETE FROM reading WHERE device_at >= ? AND device_at < ?", bounds)
            return path

        return self._engine.write(work)

    def series(self, channel_ids: Sequence[str], start: datetime, end: datetime) -> pa.Table:
        """Readings of channels with `device_at` in [start, end), hot and sealed, in order of channel and time."""
        wanted = pa.table({"channel_id": pa.array(channel_ids, pa.string())})
        with self._engine.cursor() as con:
            con.register("wanted_channels", wanted)
            hot = arrow(
                con,
                f"""SELECT {_COLUMNS} FROM reading r JOIN channel_ordinal o USING (ch)
                SEMI JOIN wanted_channels w ON (w.channel_id = o.channel_id)
                WHERE r.device_at >= ? AND r.device_at < ?""",
                [start, end],
            )
            con.unregister("wanted_channels")
            first = start.astimezone(LOCAL_ZONE).date()
            last = end.astimezone(LOCAL_ZONE).date()
            files = con.execute("SELECT file FROM reading_day WHERE day BETWEEN ? AND ?", [first, last]).fetchall()
        filters = [
            ("channel_id", "in", list(channel_ids)),
            ("device_at", ">=", pa.scalar(start, _INSTANT)),
            ("device_at", "<", pa.scalar(end, _INSTANT)),
        ]
        parts = [hot, *(pq.read_table(self._folder / name, filters=filters).cast(hot.schema) for (name,) in files)]
        return pa.concat_tables(parts).sort_by([("channel_id", "ascending"), ("device_at", "ascending")])

    def buckets(self, channel_ids: Sequence[str], start: datetime, end: datetime, step: timedelta) -> pa.Table:
        """A downsampled view for plots: `channel_id`, `at` (start of the bucket), `least`, `mean`, `greatest`,
        `values` (how many), of the corrected time; buckets without a number are left out."""
        table = self.series(channel_ids, start, end)
        with self._engine.cursor() as con:
            con.register("plotted", table)
            found = arrow(
                con,
                """SELECT channel_id, time_bucket(to_microseconds(?), "at", ?::TIMESTAMPTZ) AS "at",
                    min(value) AS least, avg(value) AS mean, max(value) AS greatest, count(value) AS "values"
                FROM plotted WHERE value IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2""",
                [step // timedelta(microseconds=1), start],
            )
            con.unregister("plotted")
        return found


_INSTANT = pa.timestamp("us", tz="UTC")


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), LOCAL_ZONE).astimezone(UTC)
