"""`hub.toml` and the environment: one validated, frozen `HubConfig`.

A variable `DIANHUAN_CITY__NAME` overrides the key `city.name`; a value that begins with `[` or `{` is JSON.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from dianhuan_hub.kernel._explain import validated
from dianhuan_hub.kernel._template import render
from dianhuan_sdk import ConfigError

FILE_NAME = "hub.toml"
PREFIX = "DIANHUAN_"
_PRIVATE = frozenset({"sha256"})

Role = Literal["viewer", "analyst", "dispatcher", "officer", "agency", "admin"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,40}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{64}$", to_lower=True)]
DivisionPrefix = Annotated[str, StringConstraints(pattern=r"^[1-9]\d(\d{2}(\d{2}(\d{3}(\d{3})?)?)?)?$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class City(_Section):
    """`[city]`: whose hub this is."""

    name: str = Field(min_length=1, description="name of the city, e.g. 株洲市")
    division: str = Field(
        pattern=r"^[1-9]\d{5}$", description="six digits of GB/T 2260, e.g. 430200; decides the tariff"
    )

    @property
    def province(self) -> str:
        """GB/T 2260 code of the province, e.g. `430000`."""
        return self.division[:2] + "0000"


class Api(_Section):
    """`[api]`: where the hub listens."""

    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(default=8400, ge=0, le=65535, description="TCP port, 0 for any free one")


class Store(_Section):
    """`[store]`: limits of the database and what is kept how long."""

    memory_limit: str = Field(
        default="1GB", pattern=r"^\d+(\.\d+)?\s?[KMGT]i?B$", description="memory of the database, e.g. 1GB"
    )
    threads: int = Field(default=2, ge=1, le=256, description="threads of the database")
    hot_days: int = Field(default=90, ge=31, description="days of curves kept in the database file")
    backup_to: Path | None = Field(default=None, description="folder in which every night leaves a backup")
    raw_days: int = Field(default=90, ge=0, description="days that raw files are kept for replay")


class Screening(_Section):
    """`[screening]`: how long today's list is."""

    capacity: int = Field(default=130, ge=1, description="visits that the officers can make in a day")
    at: str = Field(
        default="", pattern=r"^(|([01]\d|2[0-3]):[0-5]\d)$", description="local time of the night under serve, HH:MM"
    )
    random_share: float = Field(default=0.1, ge=0, le=0.5, description="share of the list drawn at random, 0 … 0.5")
    half_life_days: float = Field(default=14, gt=0, description="days after which the evidence of a case is worth half")
    visit_hours: float = Field(default=2, gt=0, description="hours of a team on site")
    travel_hours: float = Field(default=1, ge=0, description="hours to the first visit in a district")
    next_hours: float = Field(default=0.3, ge=0, description="hours to each further visit in the same district")


class Source(_Section):
    """`[sources.NAME]`: one source of grid data."""

    adapter: str = Field(min_length=1, description="id of a grid adapter, see `dianhuan plugin list`")
    streams: tuple[str, ...] | Literal["all"] = Field(default="all", description='a list of streams or "all"')
    config: dict[str, Any] = Field(default_factory=dict, description="settings of the adapter")


class Listener(_Section):
    """`[gateway.listeners.NAME]`: a port to which devices connect, and what one of them may take."""

    protocol: str = Field(default="hj212", min_length=1, description="id of a protocol, see `dianhuan plugin list`")
    host: str = Field(default="0.0.0.0", min_length=1, description="address to listen on")
    port: int = Field(ge=0, le=65535, description="TCP port, 0 for any free one")
    tls_cert: Path | None = Field(default=None, description="certificate chain (PEM) for TLS")
    tls_key: Path | None = Field(default=None, description="its private key (PEM)")
    connections: int = Field(default=20_000, ge=1, description="connections at once")
    connections_per_peer: int = Field(default=500, ge=1, description="connections at once from one address")
    buffered_bytes: int = Field(
        default=1 << 18, ge=1 << 12, description="bytes of a connection that wait to be committed"
    )
    frames_per_s: float = Field(default=100.0, gt=0, description="frames a second of one connection; more have to wait")
    idle_s: float = Field(default=900.0, gt=0, description="seconds without a whole frame until a connection is closed")
    handshake_s: float = Field(default=60.0, gt=0, description="seconds until the first whole frame, TLS included")
    hello: bool = Field(default=True, description="greet a device: set its clock, time-outs and intervals")


class Poll(_Section):
    """`[gateway.polls.NAME]`: a line that the hub connects to and asks, e.g. a serial server or a meter."""

    protocol: str = Field(min_length=1, description="id of a protocol that is polled: modbus, dlt645")
    host: str = Field(min_length=1, description="address of the line")
    port: int = Field(ge=1, le=65535, description="TCP port")
    interval_s: float = Field(default=60.0, gt=0, description="seconds between two readings of a device")
    connect_s: float = Field(default=10.0, gt=0, description="seconds to wait for a connection")


class Broker(_Section):
    """`[gateway.brokers.NAME]`: an MQTT broker to which the hub subscribes."""

    protocol: str = Field(default="mqtt", min_length=1, description="id of a protocol with the transport mqtt")
    host: str = Field(min_length=1, description="address of the broker")
    port: int = Field(default=1883, ge=1, le=65535, description="TCP port")
    client_id: str = Field(default="dianhuan", min_length=1, description="the hub's name; its session is kept by it")
    username: str = Field(default="", description="user name")
    password: str = Field(default="", pattern=r"^(|(env|file):.+)$", description="where the password is: env:NAME")
    tls_ca: Path | None = Field(default=None, description="certificates (PEM) that are trusted, for TLS")


class Gateway(_Section):
    """`[gateway]`: devices on site."""

    queue_bytes: int = Field(default=16 << 20, ge=1 << 16, description="bytes read but not committed, at most")
    flush_ms: float = Field(default=100.0, ge=1, le=100, description="how long frames are gathered for one commit")
    late_days: int = Field(default=30, ge=1, description="readings older than this are refused")
    future_s: float = Field(default=600.0, ge=0, description="readings further in the future than this are refused")
    raw_days: int = Field(default=7, ge=0, description="days that raw frames are kept for replay")
    hot_days: int = Field(default=30, ge=1, description="days of readings kept in the database file")
    waiting_devices: int = Field(default=1000, ge=0, description="unknown devices that wait for a decision, at most")
    waiting_frames: int = Field(default=10, ge=1, le=100, description="last frames kept of each of them")
    listeners: dict[Name, Listener] = Field(default_factory=dict)
    polls: dict[Name, Poll] = Field(default_factory=dict)
    brokers: dict[Name, Broker] = Field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Is there anything to do?"""
        return bool(self.listeners or self.polls or self.brokers)


class Notices(_Section):
    """`[notices]`: how plants are told, and how long the page on which they answer is open."""

    url: str = Field(default="", pattern=r"^(|https?://\S+)$", description="webhook that passes notices on to plants")
    secret: str = Field(
        default="", pattern=r"^(|(env|file):.+)$", description="where the key is that signs them: env:NAME"
    )
    public_url: str = Field(
        default="", pattern=r"^(|https?://\S+)$", description="address of this hub as plants reach it, for links"
    )
    valid_hours: float = Field(default=48.0, gt=0, description="hours that the page of a notice can be used")
    retry_s: float = Field(default=30.0, gt=0, description="seconds until the first new attempt; doubled each time")

    @model_validator(mode="after")
    def _reachable(self) -> Notices:
        if self.url and not self.public_url:
            raise ValueError("public_url: plants need the hub's address in their notices")
        return self


class Realtime(_Section):
    """`[realtime]`: the minute's work of the real-time models."""

    lag_s: float = Field(
        default=2.0, ge=0, le=60, description="seconds after a minute's end that its readings may take"
    )


class Plugins(BaseModel):
    """`[plugins]`: what does not start, and a table of settings for each plugin id."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, dict[str, Any]] = Field(init=False)
    disabled: tuple[str, ...] = Field(default=(), description="ids of plugins that do not start")

    def table(self, plugin: str) -> Mapping[str, Any]:
        """The table `[plugins.ID]`, empty where there is none."""
        return self.__pydantic_extra__.get(plugin, {})


class Key(_Section):
    """`[keys.NAME]`: a service key; the file holds its SHA-256 only. What is not granted is denied."""

    sha256: Sha256 = Field(description="SHA-256 of the key, 64 hex digits: the key itself never stands in the file")
    role: Role = Field(description="viewer, analyst, dispatcher, officer, agency or admin")
    divisions: tuple[DivisionPrefix, ...] = Field(
        min_length=1, description='division codes or their beginnings that the holder sees, e.g. ["4302"]'
    )
    purpose: str = Field(min_length=1, description="purpose of use that the audit log records")


class HubConfig(_Section):
    """A city's configuration.

    Args:
        file: where it was read from.
        data_dir: the data folder, absolute.
    """

    file: Path
    data_dir: Path = Field(default=Path("data"), description="data folder, relative to the file")
    city: City
    api: Api = Api()
    store: Store = Store()
    screening: Screening = Screening()
    sources: dict[Name, Source] = Field(default_factory=dict)
    gateway: Gateway = Gateway()
    realtime: Realtime = Realtime()
    notices: Notices = Notices()
    plugins: Plugins = Plugins()
    keys: dict[Name, Key] = Field(default_factory=dict)

    @field_validator("data_dir")
    @classmethod
    def _not_empty(cls, value: Path) -> Path:
        if not str(value).strip():
            raise ValueError("a folder")
        return value


def load_config(path: Path, environ: Mapping[str, str] | None = None) -> HubConfig:
    """Read and check a city's configuration.

    Args:
        path: `hub.toml` or the folder that holds it.
        environ: the environment, `os.environ` by default.

    Raises:
        ConfigError: naming file, key, what was given, what is right and what to do.
    """
    file = (path / FILE_NAME if path.is_dir() else path).absolute()
    table = _read(file)
    if "file" in table:
        raise ConfigError(f"{file}: unknown key file", hint="remove it")
    origin: dict[str, str] = {}
    for name, value in sorted((os.environ if environ is None else environ).items()):
        _override(table, name, value, origin)
    config = validated(HubConfig, {**table, "file": file}, file=str(file), environment=origin, private=_PRIVATE)
    return config.model_copy(update={"data_dir": file.parent / config.data_dir})


def write_template(path: Path, name: str, division: str) -> None:
    """Write a commented `hub.toml`.

    Args:
        path: the file to write; its folder is made where it does not exist.
        name: name of the city.
        division: six digits of GB/T 2260.

    Raises:
        ConfigError: the file exists already, or name or division cannot be right.
    """
    city = validated(City, {"name": name, "division": division}, file="new hub", path=("city",))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(render(city.name, city.division))
    except FileExistsError:
        raise ConfigError(
            f"{path} is there already", expected="a folder without it", hint="edit it, or choose another folder"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}", hint="choose another folder") from None


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(
            f"no {file.name} in {file.parent}",
            expected=f"a folder with {FILE_NAME}",
            hint="run `dianhuan init`, or name the folder: `dianhuan --hub FOLDER …`",
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file} is not UTF-8 (byte {error.start})", expected="UTF-8 text", hint="save the file as UTF-8"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{file} is not TOML: {error}", expected="TOML", hint="correct that line; texts stand in quotes"
        ) from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}", hint="check its permissions") from None


def _override(table: dict[str, Any], name: str, value: str, origin: dict[str, str]) -> None:
    rest = name.removeprefix(PREFIX)
    if rest == name or ("__" not in rest and rest != "DATA_DIR"):
        return  # DIANHUAN_HUB and variables that hold secrets are not settings
    *parents, last = rest.lower().split("__")
    here = table
    for part in parents:
        here = here.setdefault(part, {})
        if not isinstance(here, dict):
            raise ConfigError(f"{name} sets a key below {part}, which is no table", hint=f"unset {name}")
    here[last] = _value(name, value)
    origin[".".join([*parents, last])] = name


def _value(name: str, text: str) -> Any:
    if not text.startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"environment variable {name} is not JSON: {error}",
            expected='a JSON list or object, e.g. ["load_curve"]',
            hint=f"correct or unset {name}",
        ) from None
