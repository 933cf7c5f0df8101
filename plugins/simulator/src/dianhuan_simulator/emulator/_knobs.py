"""The knobs of the emulated plants: one YAML of defaults with their sources, overridden by a person's own file."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dianhuan_sdk import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]
Pair = tuple[float, float]
Shift = Literal["single", "two", "three", "valley", "continuous"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Industry(_Model):
    """A kind of plant; see the comments in `knobs.yaml`."""

    share: Share
    code: str
    factor: str
    zh: str
    lines: tuple[Share, Share, Share]
    kw: Pair
    ratio: Pair
    vfd: Share
    shifts: dict[Shift, Share] = Field(min_length=1)
    cycle: Pair | None
    warm_up: Share
    batch_treatment: Share
    combined: Share


class Quantum(_Model):
    """Steps of the meters' power, kW."""

    fine: float = Field(gt=0)
    coarse: float = Field(gt=0)


class PlantKnobs(_Model):
    """What a plant consists of."""

    second_group: Share
    duty_standby: Share
    indirect: Share
    indirect_share: Pair
    unmetered: Pair
    loss: Pair
    power_factor: Pair
    quantum: Quantum
    factor: Share
    constant_coarse: Share


class RunKnobs(_Model):
    """How lines and treatment run."""

    level: Pair
    slow_noise: float
    fast_noise: float
    treatment_noise: float
    treatment_slow: float
    idle: Pair
    standby: Pair
    start_jitter: float
    day_off: dict[Shift, Share]
    stoppage: Share
    lead: Pair
    after_run: Pair
    warm_up: Pair
    vfd_floor: Pair
    season: Share
    energy_start_kwh: Pair


class FactorKnobs(_Model):
    """Concentrations behind the treatment."""

    raw: Pair
    removal: Pair
    lag: int = Field(ge=1)
    noise: float


class OrderKnobs(_Model):
    """Orders of the authority."""

    every_days: int = Field(gt=0)
    days: tuple[int, int]
    stop: Share
    limit: Share
    limit_percent: float = Field(gt=0, le=100)
    holding_heat: Share
    night_ban: Share


class TwinKnobs(_Model):
    """Benign look-alikes."""

    backwash: Share
    backwash_minutes: Pair
    backwash_a_day: Share
    batch_pause_minutes: Pair
    batch_every: Pair
    lunch_off: Share
    lunch_idle: Pair
    dead_ct: float
    dead_ct_hours: Pair
    comm_loss: float
    comm_loss_minutes: Pair
    backfilled: Share
    lost_sample: Share
    clock_drift: Share
    clock_drift_minutes: Pair
    meter_swap: float
    meter_swap_minutes: Pair
    ct_ratio_change: float
    ct_ratio_hours: Pair
    maintenance: float
    maintenance_minutes: Pair
    maintenance_filed: Share
    maintenance_late: Share
    trip: float
    trip_minutes: Pair
    low_load: float
    low_load_minutes: Pair
    vfd_change: float
    vfd_change_reported: Share
    outage: float
    outage_minutes: Pair
    outage_reads_zero: Share
    stoppage_report: Share
    treatment_alone: float


Strategy = Literal[
    "off_hours",
    "off_short",
    "off_night",
    "adaptive",
    "under_load",
    "one_fan",
    "under_order",
    "frozen",
    "replay",
    "forged_ratio",
    "bypass",
]


class OffenceKnobs(_Model):
    """What offenders do."""

    mix: dict[Strategy, Share] = Field(min_length=1)
    events: float = Field(gt=0)
    adaptive_events: float = Field(gt=0)
    hours: Pair
    short: Pair
    night: Pair
    pulse: Pair
    pulse_rounds: Pair
    idling: Pair
    quiet_days: Pair
    under_load: Pair
    one_fan: Pair
    under_load_minutes: Pair
    under_order_minutes: Pair
    frozen_hours: Pair
    forged_days: Pair
    replay_noise: float
    bypass_factor: Pair
    bypass_days: Pair
    deterred: Share


class Honest(_Model):
    """Answers with a benign cause."""

    answers: Share
    within: Pair


class Offender(_Model):
    """Answers of offenders; shares."""

    silent: Share
    lies: Share
    admits: Share


class AnswerKnobs(_Model):
    """How plants answer a notice."""

    honest: Honest
    late: Share
    offender: Offender


class PlantsKnobs(_Model):
    """All knobs of the emulated plants."""

    industries: dict[str, Industry] = Field(min_length=1)
    plant: PlantKnobs
    run: RunKnobs
    factors: FactorKnobs
    orders: OrderKnobs
    twins: TwinKnobs
    offences: OffenceKnobs
    answers: AnswerKnobs


@cache
def _defaults() -> dict[str, Any]:
    text = files("dianhuan_simulator.emulator").joinpath("knobs.yaml").read_text("utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def load_plants_knobs(path: Path | None = None) -> PlantsKnobs:
    """The default knobs, overridden by a YAML file.

    Raises:
        ConfigError: the file cannot be read, or a value breaks the model; the message names its path.
    """
    from dianhuan_simulator._knobs import merged, read_mapping

    document = _defaults() if path is None else merged(_defaults(), read_mapping(path))
    try:
        return PlantsKnobs.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        raise ConfigError(f"knobs: {place}: {first['msg']}", hint="compare with knobs.yaml in the package") from error
