"""The profile: which files and columns there are, as data that a city can change."""

from __future__ import annotations

from datetime import date, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from dianhuan_sdk import ConfigError
from dianhuan_sdk.rest import Paging
from dianhuan_sdk.tabular import Mapping
from dianhuan_standards import TABLES


class StreamProfile(BaseModel):
    """One kind of file.

    Args:
        zh, en: labels.
        pattern: glob of its file names.
        day_in_name: `strptime` form of the name without suffix where it bears the one day of its rows, or empty;
            a backfill then opens only the files of its days.
        correction: a file sent on one day may be about other days.
        tables: a mapping for each table that the file fills.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    zh: str
    en: str
    pattern: str
    day_in_name: str = ""
    correction: bool = False
    tables: tuple[Mapping, ...] = Field(min_length=1)

    @field_validator("tables")
    @classmethod
    def _standard(cls, tables: tuple[Mapping, ...]) -> tuple[Mapping, ...]:
        unknown = [m.table for m in tables if m.table not in TABLES]
        if unknown:
            raise ValueError(f"`table` {', '.join(unknown) or 'missing'}: not a standard table")
        return tables

    def day_of(self, name: str) -> date | None:
        """The day that a file's name bears, None where it bears none."""
        if not self.day_in_name:
            return None
        try:
            return datetime.strptime(name.split(".")[0], self.day_in_name).date()  # noqa: DTZ007 - a civil day
        except ValueError:
            return None


class Signature(BaseModel):
    """How requests are signed: see the shipped profile."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    algorithm: Literal["sha256", "sha512", "sm3"] = "sha256"
    app_header: str = "X-App-Id"
    time_header: str = "X-Timestamp"
    nonce_header: str = "X-Nonce"
    signature_header: str = "X-Signature"


class RestProfile(BaseModel):
    """The REST delivery: paths of the streams, the day's parameter, paging, signature."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    paths: dict[str, str]
    day_param: str = "day"
    rows_path: str = "rows"
    paging: Paging = Paging()
    signature: Signature = Signature()


class Profile(BaseModel):
    """All that is particular to the source."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    streams: dict[str, StreamProfile]
    rest: RestProfile


def load_profile(path: Path | None = None) -> Profile:
    """The shipped profile, with the keys of a city's own file laid over it; lists are replaced as a whole.

    Raises:
        ConfigError: the file is missing or wrong; names path and key.
    """
    document = yaml.safe_load((files("dianhuan_grid_hunan") / "profile.yaml").read_text("utf-8"))
    origin = "the shipped profile"
    if path is not None:
        origin = str(path)
        try:
            own = yaml.safe_load(path.read_text("utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"no profile file {path}", hint="correct `profile`") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not YAML in UTF-8: {error}", hint="correct the file there") from error
        if not isinstance(own, dict):
            raise ConfigError(f"{path} holds no keys", expected="keys of the shipped profile", hint="see its README")
        document = _laid_over(document, own)
    try:
        return Profile.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{origin}: {place}: {first['msg']}", hint=f"correct {place} in {origin}") from error


def _laid_over(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _laid_over(below.get(key), value) for key, value in above.items()}
    return above
