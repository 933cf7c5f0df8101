"""The minute's work: one window over all circuits, every real-time model one step, one transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from dianhuan_hub.kernel.loader import Registered
from dianhuan_hub.realtime._feed import Feed
from dianhuan_hub.realtime._notices import NoticeDesk
from dianhuan_hub.realtime._record import record
from dianhuan_hub.realtime._topology import Topologies
from dianhuan_hub.realtime._window import make_window
from dianhuan_hub.store import (
    Connection,
    Store,
    newest_stream_event,
    put_stream_state,
    read_stream_state,
)
from dianhuan_sdk import (
    Clock,
    DianhuanError,
    InputError,
    PluginContext,
    StreamFinding,
    StreamModel,
    StreamModelSpec,
    StreamState,
)
from dianhuan_sdk.state import StateTable

log = logging.getLogger(__name__)

STEP_S = 60
LEAST_SAMPLES = 30
MOST_SAMPLES = 1440
"""Minutes that are made up for after a standstill, at most."""


@dataclass
class TickReport:
    """What a tick did.

    Args:
        at: end of its newest sample.
        findings: what was said: (model, finding).
        failed: model → why it said nothing; it begins again from its stored state.
        problems: link → why it is left out.
    """

    at: datetime
    links: int
    circuits: int
    findings: list[tuple[str, StreamFinding]] = field(default_factory=list)
    failed: dict[str, DianhuanError] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Runs:
    registered: Registered[StreamModelSpec]
    model: StreamModel | None = None
    state: StreamState | None = None


class Runner:
    """Steps the models.

    Args:
        store, clock: of the hub.
        models: loaded real-time models by id.
        make_context: a model's plugin context.
        notices: opens notices.
        feed: told what was said.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        models: Mapping[str, Registered[StreamModelSpec]],
        make_context: Callable[[Registered[StreamModelSpec]], PluginContext],
        notices: NoticeDesk,
        feed: Feed,
    ) -> None:
        self._store = store
        self._clock = clock
        self._make_context = make_context
        self._notices = notices
        self._feed = feed
        self._topologies = Topologies(store)
        self._runs = {name: _Runs(registered) for name, registered in models.items()}
        self.last: TickReport | None = None

    def tick(self, now: datetime | None = None) -> TickReport | None:
        """Step every model to the last whole minute before an instant, the present one by default; None where that
        minute was done before, or there are no links.

        Raises:
            StoreError: nothing was written; the next tick makes up for it.
        """
        end = int((now or self._clock.now()).timestamp()) // STEP_S * STEP_S
        if self.last is not None and self.last.at.timestamp() >= end:
            return None
        known = self._topologies.now()
        top = known.topology
        if not top.circuits:
            return None
        at = datetime.fromtimestamp(end, UTC)
        report = TickReport(at, len(top.links), len(top.circuits), problems=known.problems)
        ready = {name: runs for name, runs in self._runs.items() if self._begin(name, runs, report)}
        behind = [(end - r.state.second) // STEP_S for r in ready.values() if r.state and r.state.second >= 0]
        wanted = max((r.registered.spec.window_minutes for r in ready.values()), default=LEAST_SAMPLES)
        samples = min(max(LEAST_SAMPLES, wanted, *behind), MOST_SAMPLES)
        window = make_window(self._store, known, at, samples)
        for name, runs in ready.items():
            if runs.state is not None and runs.state.second >= end:
                continue
            try:
                found = runs.registered.plugin.guard.call(f"step {name}", _stepper(runs, window))
            except DianhuanError as error:
                self._forget(name, report, error)
                continue
            report.findings += [(name, f) for f in found]
        try:
            newest = self._store.write(lambda con: self._write(con, report))
        except BaseException:
            for runs in self._runs.values():
                runs.state = None  # what was not stored was not said
            raise
        self.last = report
        if report.findings:
            self._feed.tell(newest)
        return report

    def _begin(self, name: str, runs: _Runs, report: TickReport) -> bool:
        if runs.state is not None:
            return True
        spec = runs.registered.spec
        guard = runs.registered.plugin.guard
        try:
            if runs.model is None:
                runs.model = guard.call(f"make {name}", lambda: spec.factory(self._make_context(runs.registered)))
            runs.state = self._load(spec, runs.model)
        except DianhuanError as error:
            self._forget(name, report, error)
            return False
        return True

    def _load(self, spec: StreamModelSpec, model: StreamModel) -> StreamState:
        with self._store.engine.cursor() as con:
            stored = read_stream_state(con, spec.id, spec.version)
        if not stored:
            return StreamState(model.layout)
        tables: dict[StateTable, pa.RecordBatch] = {
            table: _read(stored[table]) for table in model.layout if table in stored
        }
        try:
            return StreamState.load(model.layout, tables)
        except InputError as error:
            log.warning("%s begins with a new state: %s", spec.id, error)
            return StreamState(model.layout)

    def _forget(self, name: str, report: TickReport, error: DianhuanError) -> None:
        log.error("real-time model %s: %s", name, error)
        report.failed[name] = error
        self._runs[name].state = None

    def _write(self, con: Connection, report: TickReport) -> int:
        now = self._clock.now()
        if report.findings:
            said = [(self._runs[name].registered.spec, finding) for name, finding in report.findings]
            self._notices.open(con, record(con, said, now))
        for name, runs in self._runs.items():
            if runs.state is not None:
                spec = runs.registered.spec
                put_stream_state(con, name, spec.version, {t: _written(b) for t, b in runs.state.dump().items()})
        return newest_stream_event(con)

    def status(self) -> dict[str, Any]:
        """What goes on, for people and machines."""
        last = self.last
        return {
            "models": {n: r.registered.spec.version for n, r in self._runs.items()},
            "last_tick": None if last is None else last.at.isoformat(),
            "links": 0 if last is None else last.links,
            "circuits": 0 if last is None else last.circuits,
            "failed": {} if last is None else {n: str(e) for n, e in last.failed.items()},
            "problems": {} if last is None else dict(last.problems),
        }


def _stepper(runs: _Runs, window: Any) -> Callable[[], list[StreamFinding]]:
    model, state = runs.model, runs.state
    assert model is not None
    assert state is not None
    return lambda: list(model.step(state, window))


def _written(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _read(data: bytes) -> pa.RecordBatch:
    table = pa.ipc.open_stream(data).read_all()
    if not table.num_rows:
        return pa.RecordBatch.from_pylist([], table.schema)
    return table.combine_chunks().to_batches()[0]


def due(now: datetime, lag_s: float) -> float:
    """Seconds until the next minute's end plus the lag."""
    step = timedelta(seconds=STEP_S).total_seconds()
    return step - (now.timestamp() - lag_s) % step


__all__ = ["Runner", "TickReport", "due"]
