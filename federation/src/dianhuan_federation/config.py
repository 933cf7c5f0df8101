"""Settings of a hub's part in the federation: `[plugins.federation.hub]` of `hub.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dianhuan_sdk import SecretRef

Role = Literal["publisher", "subscriber", "witness", "mirror", "relay"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Peer(_Section):
    """A hub that this one reads from. Where it lives stands here or in the signed trust data, never in a message."""

    origin: str = Field(min_length=1, description="its log, e.g. fed.example.cn/430200/r1")
    url: str = Field(default="", description="base address below which its federation tree lies")
    folder: Path | None = Field(default=None, description="folder in which its tree or its bundles arrive")
    grant: str = Field(default="", description="id of the grant under which payloads are asked for")


class FederationConfig(_Section):
    """The settings; a hub that has joined none needs none.

    Paths are relative to the folder of the process. Secrets are named, never written here.
    """

    origin: str = Field(default="", description="the hub's own log, e.g. fed.example.cn/430200/r1; empty: not joined")
    roles: tuple[Role, ...] = Field(default=("publisher", "subscriber"), description="what this hub does")
    folder: Path | None = Field(default=None, description="federation files; by default the plugin's own folder")
    guard: Path | None = Field(
        default=None, description="file of the checkpoint guard, outside the data folder and its backups"
    )
    trust: Path | None = Field(default=None, description="folder with the copy of the trust repository")
    root: Path | None = Field(default=None, description="the pinned root.json whose fingerprint was read back")
    witness_policy: Path | None = Field(default=None, description="file in the syntax of C2SP tlog-policy")
    log_key: SecretRef | None = None
    publisher_key: SecretRef | None = None
    more_publisher_keys: tuple[SecretRef, ...] = Field(default=(), description="keys of further signature suites")
    transport_key: SecretRef | None = None
    witness_key: SecretRef | None = None
    mirror_key: SecretRef | None = None
    pseudonym_key: SecretRef | None = Field(default=None, description="key of the pseudonyms; it never leaves the city")
    witnesses: tuple[str, ...] = Field(default=(), description="base addresses of witnesses")
    mirrors: tuple[str, ...] = Field(default=(), description="base addresses of mirrors to push to")
    policies: tuple[Path, ...] = Field(default=(), description="sharing policies, see `federation policy check`")
    canaries: tuple[str, ...] = Field(default=(), description="values planted in raw columns that must never leave")
    peers: tuple[Peer, ...] = Field(default=(), description="hubs to read from")
    allow_private: tuple[str, ...] = Field(
        default=(), description="private networks (CIDR) that peers may live in; all others are refused"
    )
    publish_at: str = Field(
        default="", pattern=r"^(|([01]\d|2[0-3]):[0-5]\d)$", description="local time of the daily publication, HH:MM"
    )
    sync_minutes: int = Field(default=0, ge=0, le=1440, description="minutes between two pulls; 0: by command only")
    mqtt: str = Field(default="", description="host[:port] of a broker with hints that there is something new")

    @model_validator(mode="after")
    def _whole(self) -> FederationConfig:
        if self.origin:
            needed = ["guard", "trust", "root", "witness_policy"]
            needed += ["log_key", "publisher_key"] if "publisher" in self.roles else []
            missing = [name for name in needed if getattr(self, name) is None]
            if missing:
                raise ValueError(f"a hub that has joined needs {', '.join(missing)}: see `dianhuan federation join`")
        return self
