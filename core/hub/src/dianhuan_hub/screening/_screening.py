"""One night's screening: block → models → gates → findings, warnings, cases."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_hub.kernel.loader import Registered
from dianhuan_hub.screening._context import model_context, read_tables
from dianhuan_hub.screening._gates import GateAnswer, Gates
from dianhuan_hub.screening._window import LastDays
from dianhuan_hub.store import (
    Connection,
    RunInfo,
    Store,
    cases_of,
    drop_cases,
    forget_findings,
    open_cases,
    put_case_event,
    put_results,
    put_run,
    warned_on,
)
from dianhuan_sdk import (
    Block,
    Clock,
    CurveModel,
    DianhuanError,
    Finding,
    InputError,
    ModelContext,
    ModelSpec,
    PluginContext,
    PluginError,
    Window,
)
from dianhuan_standards.tariffs import TariffBook

GATE_TABLES = ("outage", "filed_report", "account_link", "metering_point")

SHORT_DAYS = 35
"""Models that look back no further share one block; those that look further share another."""

Progress = Callable[[str], None]
ContextMaker = Callable[[Registered[ModelSpec]], PluginContext]


@dataclass(frozen=True)
class Judged:
    """A finding with what the gates said."""

    finding_id: str
    model: ModelSpec
    finding: Finding
    gates: Sequence[GateAnswer]

    @property
    def passed(self) -> bool:
        """Suspect, and no gate objects: a warning."""
        return self.finding.verdict == "suspect" and all(g.passed for g in self.gates)


@dataclass(frozen=True)
class RunReport:
    """What a screening run did.

    Args:
        seconds: step → seconds: `read`, one a model, `gates`, `write`.
        failed: model → why it gave nothing.
    """

    run_id: str
    day: date
    entities: int
    findings: int
    warnings: int
    cases: int
    seconds: Mapping[str, float]
    failed: Mapping[str, DianhuanError] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return {
            "run": self.run_id,
            "day": self.day.isoformat(),
            "entities": self.entities,
            "findings": self.findings,
            "warnings": self.warnings,
            "cases": self.cases,
            "seconds": {k: round(v, 3) for k, v in self.seconds.items()},
            "failed": {k: e.as_dict() for k, e in self.failed.items()},
        }


class Screening:
    """Runs the daily and advance models over the whole city.

    Args:
        store: the city's store.
        clock: the hub's clock.
        models: loaded models by id.
        make_context: a model's plugin context.
        tariffs: tariff periods.
        division: GB/T 2260 code of the city.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        models: Mapping[str, Registered[ModelSpec]],
        make_context: ContextMaker,
        tariffs: TariffBook,
        division: str,
    ) -> None:
        self._store = store
        self._clock = clock
        self._models = {i: m for i, m in models.items() if m.spec.tier in ("daily", "advance")}
        self._make_context = make_context
        self._tariffs = tariffs
        self._division = division

    def run(self, day: date, only: Sequence[str] | None = None, progress: Progress | None = None) -> RunReport:
        """Screen the city as it stood at the end of a day, and keep what was found.

        Running a day again replaces its findings and warnings; cases that a person has touched stay as they are.

        Args:
            day: the last day of data to look at.
            only: model ids (or their part before the dash); all if None.
            progress: called with what is being done.

        Raises:
            InputError: no data for that day, or no such model.
        """
        models = self._chosen(only)
        say = progress or (lambda _: None)
        seconds: dict[str, float] = {}
        started = self._clock.now()
        mark = time.perf_counter()

        def lap(step: str) -> None:
            nonlocal mark
            now = time.perf_counter()
            seconds[step] = now - mark
            mark = now

        say("reading features")
        blocks = self._blocks(day, [m.spec for m in models.values()])
        span = max(m.spec.window_days for m in models.values())
        block = blocks[min(blocks)]
        if not (block.feature("points")[:, -1] > 0).any():
            raise InputError(
                f"no load curves for {day}",
                expected="a day whose curves have been ingested",
                hint="dianhuan ingest, or give --day",
            )
        window = Window(day - timedelta(days=span - 1), day + timedelta(days=1))
        tables = read_tables(self._store, {*GATE_TABLES, *(t for m in models.values() for t in m.spec.reads)}, day)
        context = model_context(self._store, self._tariffs, self._division, window, tables)
        lap("read")
        found: list[tuple[ModelSpec, Finding]] = []
        failed: dict[str, DianhuanError] = {}
        for name, registered in models.items():
            say(name)
            try:
                mine = blocks[min(s for s in blocks if s >= registered.spec.window_days)]
                found += [(registered.spec, f) for f in self._score(registered, mine, context)]
            except DianhuanError as error:
                failed[name] = error
            lap(name)
        say("gates")
        with self._store.engine.cursor() as con:
            opened = open_cases(con, day)
        gates = Gates(block, context, tables, opened)
        gates.prepare([f.entity_id for _, f in found])
        judged = [Judged(_finding_id(s, f), s, f, gates.answer(f, s.gates)) for s, f in found]
        lap("gates")
        run_id = f"R{started:%Y%m%dT%H%M%S%f}"
        opened_now: list[int] = []
        ran = [m.spec.id for n, m in models.items() if n not in failed]

        def write(con: Connection) -> None:
            now = self._clock.now()
            forget_findings(con, day, ran)
            put_results(con, "finding", [_finding_row(j, run_id) for j in judged])
            put_results(con, "warning", [_warning_row(j, now) for j in judged if j.passed])
            opened_now.append(self._open_cases(con, day))
            put_results(con, "model_card", [_card_row(m.spec) for m in models.values()])
            put_run(
                con,
                RunInfo(
                    run_id,
                    day,
                    started,
                    sum(seconds.values()),
                    block.entities.num_rows,
                    json.dumps({m.spec.id: m.spec.version for m in models.values()}),
                    json.dumps({n: m.config.model_dump(mode="json") if m.config else {} for n, m in models.items()}),
                ),
            )

        self._store.write(write)
        lap("write")
        warnings = sum(j.passed for j in judged)
        return RunReport(run_id, day, block.entities.num_rows, len(judged), warnings, opened_now[0], seconds, failed)

    def _blocks(self, day: date, specs: Sequence[ModelSpec]) -> dict[int, Block]:
        """Blocks by length: one for models of about a month, one for those that look further back.

        A model that needs two features of four months must not make the host read all features of four months.
        """
        short = [s for s in specs if s.window_days <= SHORT_DAYS]
        groups = [g for g in (short, [s for s in specs if s.window_days > SHORT_DAYS]) if g]
        return {
            max(s.window_days for s in group): self._store.city(
                day, max(s.window_days for s in group), {"points"}.union(*(s.features for s in group))
            )
            for group in groups
        }

    def _chosen(self, only: Sequence[str] | None) -> dict[str, Registered[ModelSpec]]:
        if only is None:
            chosen = self._models
        else:
            chosen = {i: m for i, m in self._models.items() if i in only or i.partition("-")[0] in only}
        if not chosen:
            raise InputError(
                f"no model to run{'' if only is None else ' of ' + ', '.join(only)}",
                expected=f"one of {', '.join(self._models) or '(none is loaded)'}",
                hint="dianhuan plugin list",
            )
        return dict(chosen)

    def _score(self, registered: Registered[ModelSpec], block: Block, context: ModelContext) -> Sequence[Finding]:
        spec = registered.spec
        view = LastDays(block, spec.window_days)
        mine = ModelContext(
            as_of=context.as_of,
            calendar=context.calendar[-spec.window_days :],
            tariff=context.tariff[-spec.window_days :],
            tables={t: context.tables[t] for t in spec.reads},
        )
        guard = registered.plugin.guard
        model: CurveModel = guard.call(f"make {spec.id}", lambda: spec.factory(self._make_context(registered)))
        findings = guard.call(f"score {spec.id}", lambda: list(model.score(view, mine)))
        known = set(pc.index_in(pa.array([f.entity_id for f in findings], pa.string()),
                                value_set=block.entities.column("entity_id").combine_chunks()).to_pylist())  # fmt: skip
        if None in known:
            raise PluginError(
                f"model {spec.id}: a finding about an enterprise that is not in the block",
                expected="entity ids of `block.entities`",
                hint="report this to the plugin's maintainers",
            )
        for finding in findings:
            if finding.day != context.as_of:
                raise PluginError(
                    f"model {spec.id}: a finding about {finding.day}",
                    expected=f"findings about the day that is screened, {context.as_of}",
                    hint="report this to the plugin's maintainers",
                )
        return findings

    def _open_cases(self, con: Connection, day: date) -> int:
        """One case for each enterprise with warnings on the day, of whichever run; what people hold stays as it is."""
        now = self._clock.now()
        held = cases_of(con, day)
        warned = warned_on(con, day)
        current = {case_id(entity, day) for entity, *_ in warned}
        gone = [case for case, (state, _) in held.items() if state == "found" and case not in current]
        for case in gone:
            put_case_event(
                con, case, now, "hub", "archived", "withdrawn: a later run of the day does not warn any more"
            )
        drop_cases(con, gone)
        rows = []
        for entity, scores, models in warned:
            case = case_id(entity, day)
            state, opened = held.get(case, ("found", now))
            if state != "found":
                continue
            if case not in held:
                put_case_event(con, case, now, "hub", "found", models)
            rows.append(
                {
                    "case_id": case,
                    "entity_id": entity,
                    "day": day,
                    "state": "found",
                    "priority": priority(scores),
                    "opened_at": opened,
                    "updated_at": now,
                }
            )
        put_results(con, "case", rows)
        return len(warned)


def case_id(entity_id: str, day: date) -> str:
    """The case of an enterprise and day."""
    return f"C{day:%Y%m%d}-{hashlib.sha256(entity_id.encode()).hexdigest()[:10]}"


def priority(scores: Sequence[float]) -> float:
    """Scores of several warnings about one enterprise as one: 1 − Π(1 − score)."""
    rest = 1.0
    for score in scores:
        rest *= 1.0 - score
    return 1.0 - rest


def _finding_id(spec: ModelSpec, finding: Finding) -> str:
    key = f"{spec.id}|{spec.version}|{finding.rule}|{finding.entity_id}|{finding.day}"
    return f"F{finding.day:%Y%m%d}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def _finding_row(j: Judged, run_id: str) -> dict[str, Any]:
    f = j.finding
    exhibit = (
        None
        if f.exhibit is None
        else json.dumps({"days": [d.isoformat() for d in f.exhibit.days], "slots": list(f.exhibit.slots)})
    )
    return {
        "finding_id": j.finding_id,
        "run_id": run_id,
        "model_id": j.model.id,
        "model_version": j.model.version,
        "rule": f.rule,
        "entity_id": f.entity_id,
        "day": f.day,
        "verdict": f.verdict,
        "score": f.score,
        "reasons": _json([t._asdict() for t in f.reasons]),
        "counter": _json([t._asdict() for t in f.counter]),
        "evidence": _json(f.evidence),
        "exhibit": exhibit,
        "context": _json(list(f.context)),
        "gates": _json([g.as_dict() for g in j.gates]),
        "passed": j.passed,
    }


def _warning_row(j: Judged, now: Any) -> dict[str, Any]:
    return {
        "warning_id": "W" + j.finding_id[1:],
        "finding_id": j.finding_id,
        "case_id": case_id(j.finding.entity_id, j.finding.day),
        "entity_id": j.finding.entity_id,
        "day": j.finding.day,
        "model_id": j.model.id,
        "score": j.finding.score,
        "raised_at": now,
    }


def _card_row(spec: ModelSpec) -> dict[str, Any]:
    card = spec.card
    return {
        "model_id": spec.id,
        "version": spec.version,
        "zh": spec.zh,
        "en": spec.en,
        "tier": spec.tier,
        "alarm_budget": spec.alarm_budget,
        "card": _json(
            {
                "purpose": card.purpose._asdict(),
                "inputs": card.inputs._asdict(),
                "algorithm": card.algorithm._asdict(),
                "source": card.source,
                "false_positives": [t._asdict() for t in card.false_positives],
                "limits": [t._asdict() for t in card.limits],
                "gates": list(spec.gates),
                "window_days": spec.window_days,
                "features": list(spec.features),
            }
        ),
    }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
