"""Adapter → check → one transaction a checkpoint → event."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa

from dianhuan_hub.intake._check import check_batch, contract_of
from dianhuan_hub.intake._unit import Gathered
from dianhuan_hub.kernel.guard import Guard
from dianhuan_hub.store import (
    QUARANTINE_SCHEMA,
    LoadInfo,
    Store,
    StoreError,
    Unit,
    UnitReceipt,
    payload_json,
    read_cursor,
)
from dianhuan_sdk import (
    Batch,
    Checkpoint,
    Clock,
    Cursor,
    DianhuanError,
    Discard,
    GridAdapter,
    PluginError,
    SourceRef,
    TableContract,
    Window,
)
from dianhuan_sdk.tabular import IncompleteFileError

IN_FLIGHT_BYTES = 384 << 20
"""Batches read but not yet committed; a reader that is faster than the writer waits."""


@dataclass(frozen=True)
class Source:
    """Where rows come from: its name in hub.toml (or the file), the plugin behind it, the stream.

    Args:
        adapter: None where rows are handed over and nothing is read (replay, a plugin's own commit).
        guard: calls into the adapter go through it.
    """

    name: str
    plugin: str
    plugin_version: str
    stream: str
    adapter: GridAdapter | None = None
    guard: Guard | None = None


@dataclass
class Summary:
    """What a run of a source did."""

    source: str
    stream: str
    accepted: int = 0
    quarantined: int = 0
    unchanged: int = 0
    corrected: int = 0
    loads: list[int] = field(default_factory=list)
    days: set[date] = field(default_factory=set)
    error: DianhuanError | None = None

    def add(self, receipt: UnitReceipt) -> None:
        """Count a committed unit."""
        self.accepted += receipt.accepted
        self.quarantined += receipt.quarantined
        self.unchanged += receipt.unchanged
        self.corrected += receipt.corrected
        self.loads.append(receipt.load_id)
        self.days.update(receipt.days)

    def as_dict(self) -> dict[str, object]:
        """For machines."""
        return {
            "source": self.source,
            "stream": self.stream,
            "accepted": self.accepted,
            "quarantined": self.quarantined,
            "unchanged": self.unchanged,
            "corrected": self.corrected,
            "loads": self.loads,
            "days": [d.isoformat() for d in sorted(self.days)],
            "error": self.error.as_dict() if self.error else None,
        }


Progress = Callable[[str, int], None]
"""`(note, rows so far)`, called from the event loop."""


class Intake:
    """Reads sources into the store.

    Args:
        store: the city's store.
        clock: the hub's clock.
        raw_days: how long raw files are kept for replay; 0 keeps none.
        owned: contracts of tables that plugins own, by name.
    """

    def __init__(
        self, store: Store, clock: Clock, raw_days: int = 90, owned: Mapping[str, TableContract] | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._raw_days = raw_days
        self._raw = store.data / "raw"
        self._owned = owned or {}

    async def run(
        self,
        source: Source,
        *,
        window: Window | None = None,
        progress: Progress | None = None,
        origin: int | None = None,
    ) -> Summary:
        """Read a source to its end.

        With a window this is a backfill: the live cursor is neither read nor moved. An `InputError` or `SourceError`
        of the adapter ends the run; what came before it stays, the error is in the summary and in quarantine.

        Args:
            origin: the load that is read again, if it is one; what later loads have brought stays.
        """
        cursor: Cursor | None = None
        if window is None:
            with self._store.engine.cursor() as con:
                cursor = read_cursor(con, source.name, source.stream)
        summary = Summary(source.name, source.stream)
        work = _Work(self, source, summary, moves_cursor=window is None, origin=origin)
        seen = 0
        try:
            async for item in _items(source, window, cursor):
                if isinstance(item, Checkpoint):
                    work.finish(item)
                    note = item.note
                elif isinstance(item, Discard):
                    work.discard()
                    note = item.reason
                else:
                    work.take(item)
                    seen += item.rows.num_rows
                    note = item.source.uri
                if progress is not None:
                    progress(note, seen)
                await work.make_room()
            await work.finish_rest()
        except IncompleteFileError as error:
            # A file that is still being written may end in the middle of a number: nothing of it counts.
            summary.error = error
        except DianhuanError as error:
            summary.error = error
            await work.fail(error)
        finally:
            work.close()
        return summary

    def payload(self, rows: pa.Table) -> pa.Array:
        """JSON texts of rows."""
        with self._store.engine.cursor() as con:
            return payload_json(con, rows)

    def keep_raw(self, ref: SourceRef) -> tuple[str, str]:
        """Keep a copy of a raw file for replay; answers its name in the raw folder and its SHA-256."""
        path = Path(ref.uri.removeprefix("file://"))
        if self._raw_days <= 0 or not path.is_file():
            return "", ref.sha256
        digest = ref.sha256
        if not digest:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        name = f"{self._clock.today():%Y%m%d}_{digest[:16]}_{path.name}"
        kept = self._raw / name
        if not kept.exists():
            aside = kept.with_suffix(kept.suffix + ".part")
            try:
                self._raw.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, aside)
                os.replace(aside, kept)
            except OSError as error:
                with contextlib.suppress(OSError):
                    aside.unlink(missing_ok=True)
                raise StoreError(
                    f"the raw file {path.name} cannot be kept: {error.strerror}: nothing of this load was committed",
                    expected=f"room in {self._raw}",
                    hint="free space, or lower store.raw_days, then run the same command again",
                ) from error
        return name, digest

    def drop_old_raw(self) -> int:
        """Delete raw files older than `raw_days`; answers how many."""
        limit = self._clock.today() - timedelta(days=self._raw_days)
        dropped = 0
        for path in self._raw.glob("*") if self._raw.is_dir() else ():
            if path.name[:8] < f"{limit:%Y%m%d}" or path.suffix == ".part":
                path.unlink()
                dropped += 1
        return dropped

    def contract(self, table: str) -> TableContract:
        """The contract of a table that can be loaded; `InputError` where there is none."""
        return contract_of(table, self._owned)

    def check_and_gather(self, gathered: Gathered, batch: Batch) -> None:
        """Check one batch into what is gathered."""
        contract = self.contract(batch.table)
        gathered.add(check_batch(batch, contract, self._store.topology(), self._clock.today(), self.payload))

    def commit(
        self,
        source: Source,
        gathered: Gathered,
        ref: SourceRef,
        cursor: Cursor | None,
        *,
        replayed: pa.Array | None = None,
        state: Mapping[str, Mapping[str, bytes]] | None = None,
        origin: int | None = None,
    ) -> UnitReceipt:
        """Write what is gathered, and the cursor if given, in one transaction."""
        raw_ref, digest = self.keep_raw(ref)
        curves = gathered.curves(self._store.topology(), self.payload)
        info = LoadInfo(
            source.plugin, source.plugin_version, source.stream, ref.uri, digest, raw_ref, self._clock.now()
        )
        unit = Unit(
            info=info,
            curves=curves,
            registers=gathered.registers(self.payload),
            refused=gathered.refused(),
            cursor=None if cursor is None else (source.name, source.stream, cursor),
            replayed=replayed,
            state=state or {},
            origin=origin,
        )
        return self._store.commit(unit)


def _items(source: Source, window: Window | None, cursor: Cursor | None) -> AsyncIterator[Batch | Checkpoint | Discard]:
    adapter = source.adapter
    if adapter is None:
        raise PluginError(f"source {source.name} has nothing to read from")
    if source.guard is None:
        return adapter.read(source.stream, window, cursor)
    return source.guard.items(f"read {source.stream}", lambda: adapter.read(source.stream, window, cursor))


class _Work:
    """Checks and commits in a thread of its own, in order, while the adapter reads on."""

    def __init__(
        self, intake: Intake, source: Source, summary: Summary, *, moves_cursor: bool, origin: int | None
    ) -> None:
        self._intake = intake
        self._source = source
        self._summary = summary
        self._moves_cursor = moves_cursor
        self._origin = origin
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="intake")
        self._pending: list[tuple[Future[None], int]] = []
        self._gathered = Gathered()
        self._ref = SourceRef("")
        self._bytes = 0
        self._broken = False

    def take(self, batch: Batch) -> None:
        """Queue a batch for checking; a unit that grows too large without a checkpoint is committed in parts."""
        size = batch.rows.nbytes
        if self._bytes + size > IN_FLIGHT_BYTES:
            self._submit(self._commit, self._gathered, self._ref, None, size=0)
            self._gathered, self._bytes = Gathered(), 0
        self._bytes += size
        self._ref = batch.source
        self._submit(self._intake.check_and_gather, self._gathered, batch, size=size)

    def finish(self, checkpoint: Checkpoint) -> None:
        """Queue the commit of everything since the last checkpoint."""
        cursor = checkpoint.cursor if self._moves_cursor else None
        self._submit(self._commit, self._gathered, self._ref, cursor, size=0)
        self._gathered, self._bytes = Gathered(), 0

    def discard(self) -> None:
        """Forget everything since the last checkpoint."""
        self._gathered, self._bytes = Gathered(), 0

    async def finish_rest(self) -> None:
        """Commit rows after the last checkpoint without moving the cursor, and wait for queued work."""
        if self._bytes:
            self._submit(self._commit, self._gathered, self._ref, None, size=0)
        await self._settle()

    async def fail(self, error: DianhuanError) -> None:
        """Keep an error where it can be queried, with the rows that came before it.

        Where the error arose in checking or committing, the unit in hand is dropped instead: its cursor has not moved,
        so it is read again.
        """
        while self._pending:
            with contextlib.suppress(DianhuanError):
                await self._settle()
        if self._broken:
            self._gathered, self._broken = Gathered(), False
        row = {
            "table_name": self._source.stream,
            "row_no": None,
            "code": "source_error",
            "detail": str(error),
            "payload": json.dumps(error.as_dict(), ensure_ascii=False),
            "in_contract_form": False,
        }
        self._gathered.refuse(pa.Table.from_pylist([row], schema=QUARANTINE_SCHEMA))
        ref = self._ref if self._ref.uri else SourceRef(self._source.name)
        self._submit(self._commit, self._gathered, ref, None, size=0)
        # On a full disk even this cannot be written; the error is in the summary all the same.
        with contextlib.suppress(DianhuanError):
            await self._settle()

    def _commit(self, gathered: Gathered, ref: SourceRef, cursor: Cursor | None) -> None:
        self._summary.add(self._intake.commit(self._source, gathered, ref, cursor, origin=self._origin))

    def _submit(self, work: Callable[..., None], *args: object, size: int) -> None:
        def run() -> None:
            # After a failure nothing more is done: a later checkpoint must not move the cursor past lost rows.
            if self._broken:
                return
            try:
                work(*args)
            except BaseException:
                self._broken = True
                raise

        self._pending.append((self._pool.submit(run), size))

    async def make_room(self) -> None:
        """Wait until few enough bytes are in flight; errors of finished work surface here."""
        while self._pending and (
            self._pending[0][0].done() or sum(size for _, size in self._pending) > IN_FLIGHT_BYTES
        ):
            await asyncio.wrap_future(self._pending.pop(0)[0])

    async def _settle(self) -> None:
        while self._pending:
            await asyncio.wrap_future(self._pending.pop(0)[0])

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)
