"""Real-time models: a window over all circuits in, findings about links out, once a tick (a minute).

A *link* is one piece of treatment (one circuit, or several that share the work or stand by for each other) with the
production circuits whose pollution it treats; many-to-many: a circuit may stand in several links. Links are proposed
from data (`dianhuan_sdk.links`) and confirmed by a person; a topology holds confirmed links only. State is arrays in
`StreamState`, dumped and loaded as Arrow, never pickled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntFlag
from functools import lru_cache
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import BaseModel

from dianhuan_sdk.context import PluginContext
from dianhuan_sdk.errors import InputError
from dianhuan_sdk.features import BoolArray, FloatArray
from dianhuan_sdk.models import Gate, ModelCard, Text
from dianhuan_sdk.spans import Spans
from dianhuan_sdk.state import StateField, StateTable, StreamState

Ordinals = np.ndarray[Any, np.dtype[np.int32]]
Marks = np.ndarray[Any, np.dtype[np.uint8]]

CircuitRole = Literal["plant_total", "production", "treatment", "combined", "indirect"]
CIRCUIT_ROLES: tuple[CircuitRole, ...] = ("plant_total", "production", "treatment", "combined", "indirect")
"""企业总电, 产污设施, 治污设施, 产治一体 (feeds both: "cannot tell", never "off"), 间接用电; as `channel.role`."""


class Health(IntFlag):
    """Marks of a circuit's device at the newest sample, put together with `|`; 0 = nothing known against it.

    A reading whose HJ 212 flag is F, M, D, C or B is no process value: the host gives NaN and the mark.
    """

    COMM_LOSS = 1
    """通信中断: its device or concentrator is silent (flag B, or no frame in time)."""
    DEAD = 2
    """死通道: exact zeros on an electronic channel that otherwise shows a noise floor."""
    FAULT = 4
    """仪器故障: flag D or F."""
    MAINTENANCE = 8
    """维护: flag M."""
    CALIBRATION = 16
    """校准: flag C."""
    CLOCK = 32
    """时钟漂移: its clock is off by more than the host corrects."""
    CHANGED = 64
    """换表: meter, CT or PT was changed in the last day: learned levels do not hold."""


@dataclass(frozen=True, slots=True)
class Circuit:
    """One metered circuit of a plant.

    Args:
        circuit_id: key, unique in the hub.
        entity_id: the plant.
        role: what it feeds.
        unit: `kW`, or `A` where the device gives currents only.
        rated: rated load in `unit`, or None.
        station: device or HJ 212 station that reports it; circuits of one station fail together.
        facility: HJ 608 code such as MF0001 or TA001, or empty; filed reports and orders may name it.
    """

    circuit_id: str
    entity_id: str
    role: CircuitRole
    unit: Literal["kW", "A"] = "kW"
    rated: float | None = None
    station: str = ""
    facility: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A piece of treatment and its production circuits, confirmed by a person.

    Args:
        link_id: key, unique in the hub and stable over restarts.
        treatment: circuit ids with the role treatment or combined; several where fans share the work or stand by for
            each other (一用一备): their loads are added up.
        production: circuit ids with the role production or combined, of the same plant; at least one.
    """

    link_id: str
    treatment: tuple[str, ...]
    production: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Factor:
    """A pollutant's concentration measured behind a link's treatment: it rises when gas or water is not treated.

    Args:
        factor_id: channel id.
        link_id: the link whose treatment stands before it.
        code: HJ 212 factor code, e.g. `a24088` (non-methane hydrocarbons).
    """

    factor_id: str
    link_id: str
    code: str


@dataclass(frozen=True, eq=False)
class Topology:
    """Circuits, links and factors as arrays; made by `Topology.of`, kept by the host until something changes.

    Attributes:
        circuits, links, factors: what it was made of, in the order of the arrays.
        entity_ids: plants, in order of first appearance.
        circuit_entity: shape (circuits,), ordinal into `entity_ids`.
        circuit_role: shape (circuits,), ordinal into `CIRCUIT_ROLES`.
        circuit_station: shape (circuits,), equal numbers = same plant and station.
        rated: shape (circuits,), float32, NaN = unknown.
        link_entity: shape (links,), ordinal into `entity_ids`.
        pair_link, pair_circuit: shape (pairs,), ascending in `pair_link`: production circuits by link.
        pair_start: shape (links,), first pair of each link, for `np.add.reduceat`.
        unit_link, unit_circuit, unit_start: the same of the treatment circuits.
        combined: shape (links,), true where any of its circuits feeds both.
        factor_link: shape (factors,), ordinal of the link.
    """

    circuits: tuple[Circuit, ...]
    links: tuple[Link, ...]
    factors: tuple[Factor, ...]
    entity_ids: tuple[str, ...]
    circuit_entity: Ordinals
    circuit_role: Marks
    circuit_station: Ordinals
    rated: FloatArray
    link_entity: Ordinals
    pair_link: Ordinals
    pair_circuit: Ordinals
    pair_start: Ordinals
    unit_link: Ordinals
    unit_circuit: Ordinals
    unit_start: Ordinals
    combined: BoolArray
    factor_link: Ordinals

    @staticmethod
    def of(circuits: Sequence[Circuit], links: Sequence[Link], factors: Sequence[Factor] = ()) -> Topology:
        """Arrays of these circuits, links and factors.

        Raises:
            InputError: a key is used twice, a link or factor names what is not there, a role does not fit, or a link
                crosses plants.
        """
        at = _ordinals("circuit", [c.circuit_id for c in circuits])
        link_at = _ordinals("link", [link.link_id for link in links])
        for link in links:
            _check(link, at, circuits)
        for factor in factors:
            if factor.link_id not in link_at:
                raise InputError(f"factor {factor.factor_id} names link {factor.link_id}", expected="a link given here")
        plants = {e: i for i, e in enumerate(dict.fromkeys(c.entity_id for c in circuits))}
        entity = np.array([plants[c.entity_id] for c in circuits], np.int32)
        station: dict[tuple[str, str], int] = {}
        roles = np.array([CIRCUIT_ROLES.index(c.role) for c in circuits], np.uint8)
        pair_link, pair_circuit, pair_start = _members([[at[p] for p in link.production] for link in links])
        unit_link, unit_circuit, unit_start = _members([[at[t] for t in link.treatment] for link in links])
        both = roles == CIRCUIT_ROLES.index("combined")
        combined = np.zeros(len(links), bool)
        combined[pair_link[both[pair_circuit]]] = True
        combined[unit_link[both[unit_circuit]]] = True
        return Topology(
            circuits=tuple(circuits),
            links=tuple(links),
            factors=tuple(factors),
            entity_ids=tuple(plants),
            circuit_entity=entity,
            circuit_role=roles,
            circuit_station=np.array(
                [station.setdefault((c.entity_id, c.station), len(station)) for c in circuits], np.int32
            ),
            rated=np.array([np.nan if c.rated is None else c.rated for c in circuits], np.float32),
            link_entity=entity[unit_circuit[unit_start]],
            pair_link=pair_link,
            pair_circuit=pair_circuit,
            pair_start=pair_start,
            unit_link=unit_link,
            unit_circuit=unit_circuit,
            unit_start=unit_start,
            combined=combined,
            factor_link=np.array([link_at[f.link_id] for f in factors], np.int32),
        )

    def keys(self, table: StateTable) -> tuple[str, ...]:
        """Keys of the rows of a state table of that name, in the order of the arrays."""
        return _keys(self)[table]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a plant answered to a notice, and what became of it.

    Args:
        kind: `filed` (a filed report), `fault`, `explanation`.
        at: when, aware.
        accepted: true: it explains the event; false: refused; None: not looked at yet.
    """

    kind: Literal["filed", "fault", "explanation"]
    at: datetime
    accepted: bool | None = None


@dataclass(frozen=True, slots=True)
class StreamContext:
    """What a model may know beside the readings. Nothing in it is known later than the window's end.

    Args:
        reports: filed reports (报备); kinds as `filed_report.kind`.
        orders: orders in force or announced; kinds as `order.kind`.
        outages: outages, matched to plants by the host; kinds as `outage.kind`.
        answers: event id → the plant's latest answer.
        muted: link id → muted until that instant (aware) by an officer; withdrawing it re-arms the link.
        rearmed: link id → instant at which an officer re-armed it: a model's own mute from before ends.
    """

    reports: Spans = field(default_factory=Spans.none)
    orders: Spans = field(default_factory=Spans.none)
    outages: Spans = field(default_factory=Spans.none)
    answers: Mapping[str, Answer] = field(default_factory=dict)
    muted: Mapping[str, datetime] = field(default_factory=dict)
    rearmed: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class StreamWindow:
    """The last samples of all circuits at one tick.

    Args:
        at: end of the newest sample, aware UTC, a multiple of `step_s`; sample i covers
            [at − (samples − i)·step_s, at − (samples − i − 1)·step_s).
        topology: circuits and links; the same object as long as nothing changed.
        values: shape (circuits, samples), float32, newest last: mean of the readings in the sample's interval, by
            corrected device time, in the circuit's unit; NaN = missing, never 0. Late readings fill older samples.
        age_s: shape (circuits,), float32: seconds from the newest valid reading to `at`; inf = none yet.
        health: shape (circuits,), uint8: `Health` marks at the newest sample.
        factors: shape (factors, samples), float32: concentrations, as `values`.
        context: reports, orders, outages, answers, mutes.
        step_s: seconds between samples and between ticks: 60 in the hub; the evaluation may use 300.
    """

    at: datetime
    topology: Topology
    values: FloatArray
    age_s: FloatArray
    health: Marks
    factors: FloatArray
    context: StreamContext = field(default_factory=StreamContext)
    step_s: int = 60

    def __post_init__(self) -> None:
        circuits, factors = len(self.topology.circuits), len(self.topology.factors)
        samples = self.values.shape[1] if self.values.ndim == 2 else 0
        shapes = {
            "values": (self.values.shape, (circuits, samples)),
            "age_s": (self.age_s.shape, (circuits,)),
            "health": (self.health.shape, (circuits,)),
            "factors": (self.factors.shape, (factors, samples)),
        }
        for name, (given, expected) in shapes.items():
            if given != expected:
                raise InputError(f"{name} has the shape {given}", expected=str(expected))
        if self.at.tzinfo is None or self.second % self.step_s:
            raise InputError(f"window ends at {self.at}", expected=f"an aware instant, a multiple of {self.step_s} s")

    @property
    def second(self) -> int:
        """`at` in whole seconds since 1970 UTC."""
        return int(self.at.timestamp())

    @property
    def samples(self) -> int:
        """Samples in the window."""
        return int(self.values.shape[1])


@dataclass(frozen=True, slots=True)
class StreamFinding:
    """A change of one event: it opens, happens again, is raised to dispatch, or ends. One event has one id.

    Args:
        event_id: the same for every finding about one event; `answers` are keyed by it.
        change: `opened`; `again` (came back within the model's own mute: an update, no new notice); `raised` (from
            notice to dispatch); `ended`.
        level: `notice` goes to the plant; `dispatch` sends an officer.
        link_id: the link, or empty where the claim is about circuits or the whole plant.
        entity_id: the plant.
        circuit_ids: circuits that the claim is about.
        rule: stable id of the rule inside the model, e.g. `treatment_off`.
        verdict: `suspect`, or `cannot_tell` with the reason in `counter`.
        since: when the condition began, aware UTC.
        at: the tick that says it, aware UTC.
        expected_end: when it should be over (end of an order, of an outage, of a usual pause), or None.
        score: 0 … 1, how strong; comparable inside one model only.
        reasons: evidence in words; for `dispatch` what corroborates it.
        counter: what speaks against it, in words; never empty for `cannot_tell`.
        evidence: numbers behind the words, JSON values.
    """

    event_id: str
    change: Literal["opened", "again", "raised", "ended"]
    level: Literal["notice", "dispatch"]
    link_id: str
    entity_id: str
    circuit_ids: tuple[str, ...]
    rule: str
    verdict: Literal["suspect", "cannot_tell"]
    since: datetime
    at: datetime
    expected_end: datetime | None
    score: float
    reasons: tuple[Text, ...]
    counter: tuple[Text, ...]
    evidence: Mapping[str, Any]


class StreamModel(Protocol):
    """A model of the real-time tier. All it remembers is in the state, so a restart forgets nothing."""

    @property
    def layout(self) -> Mapping[StateTable, Sequence[StateField]]:
        """State table → its columns; the host makes `StreamState(layout)` of it."""
        ...

    def step(self, state: StreamState, window: StreamWindow) -> Sequence[StreamFinding]:
        """One tick: changes `state` in place, answers what changed.

        The model first calls `state.align(window)`: rows follow the topology by key, so that links may come and go
        between ticks. Where ticks were missed (a restart), it works through the window's samples since the state's
        last tick, as far as the window holds them. It keeps no memory of its own, and says `off` of nobody without
        data.
        """
        ...


@dataclass(frozen=True, slots=True)
class StreamModelSpec:
    """Descriptor that a plugin registers for one real-time model by the hook `dianhuan_stream_models`.

    Args:
        id: `m01-treatment-off`; the part before the dash is unique in a hub, over both kinds of models.
        version: raised with every change of behaviour.
        zh, en: labels.
        window_minutes: history that `step` wants in the window; the host may give more.
        rules: rule ids that its findings may carry.
        reads: standard tables behind the context that it uses (`filed_report`, `order`, `outage`).
        gates: gates that the model applies itself.
        alarm_budget: most false notices per plant-month.
        delay_minutes: stated median delay of a notice after the condition begins.
        config_model: parameters with their defaults.
        factory: makes the model from its context.
        card: what a user must know.
    """

    id: str
    version: str
    zh: str
    en: str
    window_minutes: int
    rules: tuple[str, ...]
    reads: tuple[str, ...]
    gates: tuple[Gate, ...]
    alarm_budget: float
    delay_minutes: float
    config_model: type[BaseModel]
    factory: Callable[[PluginContext], StreamModel]
    card: ModelCard

    @property
    def tier(self) -> Literal["realtime"]:
        """Always real-time."""
        return "realtime"


def instant(second: int) -> datetime:
    """Aware UTC instant of whole seconds since 1970."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(second))


@lru_cache(maxsize=8)
def _keys(topology: Topology) -> Mapping[StateTable, tuple[str, ...]]:
    return {
        "circuit": tuple(c.circuit_id for c in topology.circuits),
        "link": tuple(link.link_id for link in topology.links),
        "factor": tuple(f.factor_id for f in topology.factors),
        "entity": topology.entity_ids,
    }


def _members(lists: Sequence[Sequence[int]]) -> tuple[Ordinals, Ordinals, Ordinals]:
    """Owner and member of each pair, and the first pair of each owner."""
    sizes = np.array([len(members) for members in lists], np.int32)
    owner = np.repeat(np.arange(len(lists), dtype=np.int32), sizes)
    return owner, np.array([m for ms in lists for m in ms], np.int32), (np.cumsum(sizes) - sizes).astype(np.int32)


def _ordinals(what: str, keys: Sequence[str]) -> dict[str, int]:
    at = {key: i for i, key in enumerate(keys)}
    if len(at) < len(keys):
        twice = next(k for i, k in enumerate(keys) if at[k] != i)
        raise InputError(f"{what} {twice} is given twice", expected="every key once")
    return at


def _check(link: Link, at: Mapping[str, int], circuits: Sequence[Circuit]) -> None:
    if not link.production or not link.treatment:
        raise InputError(f"link {link.link_id} has a side without circuits", expected="at least one on either side")
    for circuit_id, role in (
        *((t, "treatment") for t in link.treatment),
        *((p, "production") for p in link.production),
    ):
        if circuit_id not in at:
            raise InputError(f"link {link.link_id} names circuit {circuit_id}", expected="a circuit given here")
        circuit = circuits[at[circuit_id]]
        if circuit.role not in (role, "combined"):
            raise InputError(
                f"link {link.link_id}: circuit {circuit_id} has the role {circuit.role}",
                expected=f"{role} or combined",
            )
        if circuit.entity_id != circuits[at[link.treatment[0]]].entity_id:
            raise InputError(f"link {link.link_id} crosses plants at {circuit_id}", expected="circuits of one plant")
