"""Checks of real-time models: all memory in the state, nothing said without data, one event one id."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import BaseModel

from dianhuan_sdk import PluginContext, StreamFinding, StreamModel, StreamModelSpec, StreamState, StreamWindow
from dianhuan_sdk.testing._plants import Plants
from dianhuan_sdk.testing._report import NotMet, NotTried

_TOLERANCE = 0.02
"""Sums over circuits in another order differ in the last digits."""


_AFTER = {
    "opened": ("",),
    "again": ("ended", "raised"),
    "raised": ("opened", "again", "ended"),
    "ended": ("opened", "again", "raised"),
}
"""What may come before each change of an event."""


class StreamTrial:
    """One real-time model on small plants.

    Args:
        context: makes the plugin's context from a config.
        spec: its descriptor.
        parameters: values for its config model.
        make: `seed -> Plants`.
    """

    def __init__(
        self,
        context: Callable[[BaseModel], PluginContext],
        spec: StreamModelSpec,
        parameters: Mapping[str, Any],
        make: Callable[[int], Plants],
    ) -> None:
        self._context, self._spec, self._parameters, self._make = context, spec, dict(parameters), make
        self._kept: tuple[Plants, list[StreamFinding]] | None = None

    def checks(self) -> Mapping[str, Callable[[], None]]:
        """The checks by id."""
        return {
            "stream.findings": self.findings,
            "stream.events": self.events,
            "stream.pure": self.pure,
            "stream.restart": self.restart,
            "stream.future_poison": self.future_poison,
            "stream.link_order": self.link_order,
            "stream.links_change": self.links_change,
            "stream.missing": self.missing,
            "stream.speaks": self.speaks,
        }

    def findings(self) -> None:
        """Findings name circuits, rules and plants that exist, in two languages, with JSON evidence."""
        given, found = self._first()
        plants, circuits = set(given.topology.entity_ids), {c.circuit_id for c in given.topology.circuits}
        links = {link.link_id for link in given.topology.links}
        for f in found:
            place = f"finding {f.event_id} at {f.at}"
            _ask(f.entity_id in plants, f"{place}: no such plant")
            _ask(not f.link_id or f.link_id in links, f"{place}: no such link")
            _ask(set(f.circuit_ids) <= circuits, f"{place}: no such circuit")
            _ask(f.rule in self._spec.rules, f"{place}: rule {f.rule} is not in the spec's rules")
            _ask(0 <= f.score <= 1, f"{place}: score {f.score}, asked is 0 … 1")
            _ask(f.since <= f.at, f"{place}: it begins after it is told")
            _ask(f.verdict != "cannot_tell" or bool(f.counter), f"{place}: cannot_tell without a reason in `counter`")
            _ask(f.verdict != "cannot_tell" or f.level == "notice", f"{place}: an officer is sent without a suspicion")
            _ask(f.verdict != "suspect" or bool(f.reasons), f"{place}: suspect without reasons")
            texts = [*f.reasons, *f.counter]
            _ask(all(t.zh.strip() and t.en.strip() for t in texts), f"{place}: words in one language only")
            try:
                json.dumps(dict(f.evidence), allow_nan=False)
            except (TypeError, ValueError) as error:
                raise NotMet(f"{place}: evidence is no JSON: {error}") from None

    def events(self) -> None:
        """An event opens once, is raised and ended only while it is open, and one tick told twice changes nothing."""
        given, found = self._first()
        open_: dict[str, str] = {}
        for f in found:
            before = open_.get(f.event_id, "")
            allowed = _AFTER[f.change]
            _ask(before in allowed, f"event {f.event_id}: {f.change} after {before or 'nothing'}")
            _ask(f.change != "raised" or f.level == "dispatch", f"event {f.event_id}: raised to a notice")
            open_[f.event_id] = f.change
        model = self._model()
        state = StreamState(model.layout)
        twice = [f for w in given.windows() for f in (*model.step(state, w), *model.step(state, w))]
        _same(found, twice, "every tick twice")

    def pure(self) -> None:
        """Two instances and an instance that has seen other plants say the same; the window is as it was."""
        given, found = self._first()
        model = self._model()
        _run(model, self._make(2).windows())
        state = StreamState(model.layout)
        out: list[StreamFinding] = []
        for window in given.windows():
            arrays = [np.asarray(a) for a in (window.values, window.factors, window.health)]
            before = [a.copy() for a in arrays]
            out += model.step(state, window)
            same = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, arrays, strict=True))
            _ask(same, f"the window at {window.at} was changed")
        _same(found, out, "an instance that has seen other plants")

    def restart(self) -> None:
        """State dumped and loaded at any tick, and ticks missed and worked through, change nothing."""
        given, found = self._first()
        model = self._model()
        state = StreamState(model.layout)
        out: list[StreamFinding] = []
        cuts = set(np.random.default_rng(5).integers(0, given.ticks, 12).tolist())
        missed = {t + k for t in cuts for k in range(3)}
        for tick, window in enumerate(given.windows()):
            if tick in cuts:
                model = self._model()
                state = StreamState.load(model.layout, state.dump())
            if tick not in missed or tick == given.ticks - 1:
                out += model.step(state, window)
        steady = {(f.event_id, f.change) for f in found}
        _ask(steady == {(f.event_id, f.change) for f in out}, "restarts with missed ticks give other events")

    def future_poison(self) -> None:
        """What comes later has no effect: an instance that has seen absurd later values says the same."""
        given, found = self._first()
        half = given.ticks * 9 // 10
        poisoned = replace(given, kw=given.kw.copy())
        poisoned.kw[:, half:] = np.where(np.isnan(poisoned.kw[:, half:]), np.nan, 1e6)
        until = given.window(half - 1).at
        model = self._model()
        _run(model, poisoned.windows())
        early = [f for f in _run(model, poisoned.windows()) if f.at <= until]
        _same([f for f in found if f.at <= until], early, "absurd later values")

    def link_order(self) -> None:
        """The order of circuits, links and factors has no effect."""
        given, found = self._first()
        other = _run(self._model(), given.reordered(3).windows())
        _same(found, other, "another order", _TOLERANCE)

    def links_change(self) -> None:
        """Links that come and go leave the others' events alone."""
        given, found = self._first()
        t = given.topology
        kept = t.links[1:]
        fewer = replace(
            given, topology=type(t).of(t.circuits, kept, [f for f in t.factors if f.link_id != t.links[0].link_id])
        )
        rows = [i for i, f in enumerate(t.factors) if f.link_id != t.links[0].link_id]
        fewer = replace(fewer, factors=given.factors[rows])
        model = self._model()
        state, half = StreamState(model.layout), given.ticks // 2
        out = [f for w in fewer.windows(0, half) for f in model.step(state, w)]
        out += [f for w in given.windows(half) for f in model.step(state, w)]
        plant = t.entity_ids[t.link_entity[0]]
        _same(
            [f for f in found if f.entity_id != plant],
            [f for f in out if f.entity_id != plant],
            "a link that comes later",
        )

    def missing(self) -> None:
        """Nobody is a suspect without data, and no links are no error."""
        given, _ = self._first()
        dark = replace(given, kw=np.full_like(given.kw, np.nan))
        suspects = [f for f in _run(self._model(), dark.windows()) if f.verdict == "suspect"]
        _ask(not suspects, f"{len(suspects)} suspects where every value is missing")
        last = given.kw.copy()
        last[:, given.ticks // 2 :] = np.nan
        quiet = _run(self._model(), replace(given, kw=last).windows())
        until = given.window(given.ticks // 2).at
        late = [f for f in quiet if f.at > until and f.verdict == "suspect" and f.change in ("opened", "again")]
        _ask(not late, f"{len(late)} suspects after all devices fell silent")
        none = type(given.topology).of((), ())
        window = replace(
            given.window(0), topology=none, values=np.empty((0, 3), np.float32), age_s=np.empty(0, np.float32),
            health=np.empty(0, np.uint8), factors=np.empty((0, 3), np.float32),
        )  # fmt: skip
        _ask(not _run(self._model(), [window]), "findings without circuits")

    def speaks(self) -> None:
        """There are findings to look at: on plants that give none, the other checks say little."""
        if not any(f.verdict == "suspect" for f in self._first()[1]):
            raise NotTried("the plants give this model no suspect: give the scenario plants that do")

    def _model(self) -> StreamModel:
        return self._spec.factory(self._context(self._spec.config_model.model_validate(self._parameters)))

    def _first(self) -> tuple[Plants, list[StreamFinding]]:
        if self._kept is None:
            given = self._make(1)
            self._kept = given, _run(self._model(), given.windows())
        return self._kept


def _run(model: StreamModel, windows: Iterable[StreamWindow]) -> list[StreamFinding]:
    state = StreamState(model.layout)
    return [f for w in windows for f in model.step(state, w)]


def _ask(holds: bool, otherwise: str) -> None:
    if not holds:
        raise NotMet(otherwise)


def _same(one: Sequence[StreamFinding], other: Sequence[StreamFinding], what: str, tolerance: float = 0) -> None:
    a, b = ({(f.event_id, f.change, f.at): f for f in fs} for fs in (one, other))
    if a.keys() != b.keys() or len(one) != len(other):
        odd = sorted(map(str, a.keys() ^ b.keys())) or ["one is told twice"]
        raise NotMet(f"{what}: {len(odd)} findings differ, first {odd[0]}")
    for key, f in a.items():
        g = b[key]
        if f.verdict != g.verdict or f.level != g.level or abs(f.score - g.score) > tolerance:
            raise NotMet(f"{what}: {key}: {f.verdict} {f.level} {f.score} became {g.verdict} {g.level} {g.score}")
        if tolerance == 0 and f != g:
            raise NotMet(f"{what}: {key}: words or evidence differ")
