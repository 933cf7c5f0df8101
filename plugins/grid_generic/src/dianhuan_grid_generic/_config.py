"""What a city states about one source: which table comes from where, in which form."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dianhuan_sdk import ConfigError, SecretRef
from dianhuan_sdk.rest import Endpoint
from dianhuan_sdk.tabular import Mapping, load_mapping, parse_mapping
from dianhuan_standards import TABLES


class FolderConfig(BaseModel):
    """A watched folder; see `dianhuan_sdk.tabular.Folder`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: Path
    pattern: str = "*"
    control_file: str = ""
    settle_seconds: float = Field(default=5.0, ge=0)


class RestConfig(Endpoint):
    """A paged list of JSON objects.

    Args:
        bearer: secret sent as `Authorization: Bearer …`, or None.
    """

    bearer: SecretRef | None = None


class StreamConfig(BaseModel):
    """One table: exactly one of `file`, `folder`, `rest`, and the mapping of what comes from there.

    Args:
        mapping: path of a mapping file, or the name of one that ships with this plugin (`steel`, `simbench`); none
            where the header's names are the contract's names, labels or aliases.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    file: Path | None = None
    folder: FolderConfig | None = None
    rest: RestConfig | None = None
    mapping: Path | str | None = None

    @model_validator(mode="after")
    def _one_delivery(self) -> Self:
        if sum(d is not None for d in (self.file, self.folder, self.rest)) != 1:
            raise ValueError("give exactly one of file, folder, rest")
        return self


class GenericConfig(BaseModel):
    """One configured source: table name → where it comes from."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    streams: dict[str, StreamConfig] = Field(min_length=1)

    @field_validator("streams")
    @classmethod
    def _standard_tables(cls, streams: dict[str, StreamConfig]) -> dict[str, StreamConfig]:
        unknown = [name for name in streams if name not in TABLES]
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: not a standard table; tables are {', '.join(TABLES)}")
        return streams


def file_config(stream: str, file: Path, mapping: Path | None) -> GenericConfig:
    """The config of `dianhuan ingest STREAM FILE`."""
    return GenericConfig(streams={stream: StreamConfig(file=file, mapping=mapping)})


def shipped_mappings() -> list[str]:
    """Names of the mappings that ship with this plugin."""
    folder = files("dianhuan_grid_generic") / "mappings"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def resolve_mapping(named: Path | str | None) -> Mapping | None:
    """The mapping of a stream, None where it states none.

    Raises:
        ConfigError: there is no such file, or it breaks the model.
    """
    if named is None:
        return None
    name = str(named)
    if name in shipped_mappings() and not Path(name).exists():
        import yaml

        text = (files("dianhuan_grid_generic") / "mappings" / f"{name}.yaml").read_text("utf-8")
        return parse_mapping(yaml.safe_load(text), f"the mapping {name} of grid_generic")
    if not Path(name).suffix and not Path(name).exists():
        raise ConfigError(
            f"no mapping named {name!r}",
            expected=f"a YAML file, or one of {', '.join(shipped_mappings())}",
            hint="correct `mapping` of the stream",
        )
    return load_mapping(Path(name))
