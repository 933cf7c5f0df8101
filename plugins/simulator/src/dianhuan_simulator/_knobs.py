"""The knobs of the city: one YAML of defaults with their sources, overridden by a person's own file."""

from __future__ import annotations

from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dianhuan_sdk import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]
Tariff = Literal["industrial", "commercial", "agricultural", "residential", "ev"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Place(_Model):
    """Names of the province and the city in addresses and enterprise names."""

    province: str
    city: str


class Division(_Model):
    """A district: its share of the entities and its centre (CGCS2000)."""

    name: str
    share: Share
    lon: float
    lat: float


class Profile(_Model):
    """A kind of enterprise: who it is and how it uses electricity; see the comments in `knobs.yaml`."""

    share: Share
    codes: tuple[str, ...] = Field(min_length=1)
    noun: str
    tariff: Tariff
    shape: str
    kw: float = Field(gt=0)
    sigma: float = Field(ge=0, le=2)
    base: Share
    saturday: float
    sunday: float
    holiday: float
    spring: Share
    temp: float
    noise: float
    daily: float
    works_or_not: bool = False
    polluting: bool = False
    twin: str = ""


class Population(_Model):
    """Shares of the entities (PV parts: of the PV owners)."""

    valley_night_share: Share
    multi_account_share: Share
    second_point_share: Share
    shared_meter_share: Share
    moved_share: Share
    new_account_share: Share
    closed_account_share: Share
    pv_share: Share
    pv_unregistered_share: Share
    pv_full_feed_share: Share


class Permits(_Model):
    """Discharge permits and acceptance."""

    share: Share
    key: Share
    simplified: Share
    night_stated: Share
    late_acceptance: Share
    valley_permit: Share
    valley_report: Share


class Mix(_Model):
    """How the violators divide; the parts are scaled to one."""

    night_only: float = Field(ge=0)
    before_acceptance: float = Field(ge=0)
    hidden_workshop: float = Field(ge=0)
    rebound: float = Field(ge=0)
    relocation: float = Field(ge=0)
    overload: float = Field(ge=0)


class Violations(_Model):
    """Violators: how many, of which kind, how they act."""

    base_rate: float = Field(ge=0, le=0.1)
    mix: Mix
    since_long: Share
    onset: tuple[int, int]
    night_probability: tuple[float, float]
    rebound_level: tuple[float, float]
    rebound_after: tuple[int, int]
    overload_factor: tuple[float, float]
    workshop_kw: tuple[float, float]


class Twins(_Model):
    """Benign look-alikes, as shares of the entities."""

    commissioning: Share
    construction_load: Share
    closed_quiet: Share
    caretaker: Share
    dismantling: Share
    new_legal_tenant: Share
    valley_switch: Share
    legal_expansion: Share
    seasonal_peak: Share
    dead_meter: Share
    meter_swap: Share
    stoppage: Share
    report_compliance: Share


class Curtailment(_Model):
    """Episodes of heavy pollution in which plants are ordered to cut or to stop."""

    per_year: float = Field(ge=0, le=60)
    days: tuple[int, int]
    levels: dict[Literal["yellow", "orange", "red"], Share] = Field(min_length=1)
    ordered: dict[Literal["yellow", "orange", "red"], Share]
    limit_percent: tuple[float, ...] = Field(min_length=1)
    stop: Share
    obeyed: tuple[float, float]
    ignore_by_base_rate: float = Field(ge=0)
    ignored_cut: tuple[float, float]
    shifted: Share


class MeterFaults(_Model):
    """Meters that count wrongly, or at the wrong minute."""

    ratio_error: Share
    ratio_factors: tuple[float, ...] = Field(min_length=1)
    ratio_days: tuple[int, int]
    clock_drift: Share
    drift_minutes: float = Field(ge=0, le=15)


class Inspectors(_Model):
    """What inspectors see, and what they get told beforehand."""

    false_clear: tuple[float, float]
    could_not: Share
    false_find: Share
    tip_off: float = Field(ge=0, le=1)
    false_tip_off: float = Field(ge=0, le=1)


class Reactions(_Model):
    """What violators do after a visit."""

    stops_if_found: Share
    lies_low_if_found: Share
    lies_low_if_missed: Share
    neighbours: Share
    low_days: tuple[int, int]
    careful: float = Field(ge=0, le=1)


class Telemetry(_Model):
    """What goes wrong between meter and file, as probabilities a day."""

    burst: Share
    burst_refilled: Share
    lost_point: Share
    late_row: Share
    wrong_row: Share
    repeated_row: Share
    rollover: Share = 0.0


class Dirty(_Model):
    """Joins that do not fit."""

    unlisted_account: Share
    late_archive_row: Share
    repeated_archive_row: Share
    uscc_missing: Share
    name_mismatch: Share


class Outages(_Model):
    """Outages of feeders."""

    planned: Share
    fault: Share
    reads_zero: Share


class TariffScheme(_Model):
    """Valley hours of the tariff in force since a day."""

    since: date
    valley: tuple[tuple[float, float], ...]


class Knobs(_Model):
    """All knobs of a city."""

    place: Place
    divisions: dict[Annotated[str, Field(pattern=r"^\d{6}$")], Division] = Field(min_length=1)
    profiles: dict[str, Profile]
    population: Population
    permits: Permits
    violations: Violations
    twins: Twins
    telemetry: Telemetry
    curtailment: Curtailment
    meter_faults: MeterFaults
    inspectors: Inspectors
    reactions: Reactions
    dirty: Dirty
    outages: Outages
    tariff: tuple[TariffScheme, ...] = Field(min_length=1)
    spring_festivals: tuple[date, ...]

    @model_validator(mode="after")
    def _known_shapes(self) -> Knobs:
        from dianhuan_simulator._shapes import SHAPES

        for name, profile in self.profiles.items():
            if profile.shape not in SHAPES:
                raise ValueError(f"profiles.{name}.shape: {profile.shape!r} is none of {', '.join(SHAPES)}")
        if "valley_works" not in self.profiles:
            raise ValueError("profiles.valley_works is missing")
        return self


@cache
def _defaults() -> dict[str, Any]:
    text = files("dianhuan_simulator").joinpath("knobs.yaml").read_text("utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `over` laid over it, level by level; null takes a key away."""
    out = dict(base)
    for key, value in over.items():
        kept = out.get(key)
        if value is None:
            out.pop(key, None)
            continue
        out[key] = merged(kept, value) if isinstance(kept, dict) and isinstance(value, dict) else value
    return out


def read_mapping(path: Path) -> dict[str, Any]:
    """A person's YAML file of knobs.

    Raises:
        ConfigError: it cannot be read, or holds no mapping.
    """
    try:
        over = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"knobs {path}: {error}", expected="a UTF-8 YAML file", hint="correct the file") from error
    if not isinstance(over, dict):
        raise ConfigError(f"knobs {path} hold {type(over).__name__}", expected="a mapping like knobs.yaml")
    return over


def province_knobs(name: str) -> Path:
    """The knobs of a shipped second province, for runs outside of the domain that models were tuned in.

    Raises:
        ConfigError: there is none of that name.
    """
    folder = Path(str(files("dianhuan_simulator").joinpath("provinces")))
    path = folder / f"{name}.yaml"
    if not path.is_file():
        names = sorted(p.stem for p in folder.glob("*.yaml"))
        raise ConfigError(f"no province {name!r}", expected=f"one of {', '.join(names)}", hint="or a file of your own")
    return path


def load_knobs(path: Path | None = None, base_rate: float | None = None) -> Knobs:
    """The default knobs, overridden by a YAML file and by a base rate of violators.

    Raises:
        ConfigError: the file cannot be read, or a value breaks the model; the message names its path.
    """
    document = _defaults()
    if path is not None:
        document = merged(document, read_mapping(path))
    if base_rate is not None:
        document = merged(document, {"violations": {"base_rate": base_rate}})
    try:
        return Knobs.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        raise ConfigError(f"knobs: {place}: {first['msg']}", hint="compare with knobs.yaml in the package") from error
