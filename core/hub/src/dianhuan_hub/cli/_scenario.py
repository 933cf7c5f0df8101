"""The scenario file of `dianhuan plugin test`: a source with data for each adapter, as TOML::

[grid.grid_acme]
stream = "load_curve"
config = { path = "samples" }        # as under [sources.NAME.config]
days = [2026-01-01, 2026-01-03, 2026-01-05]   # two windows that touch: [first, second) and [second, third)

[exempt]
"grid.windows" = "the portal keeps one day only"
"""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from dianhuan_hub.kernel._explain import validated
from dianhuan_sdk import ConfigError, Window
from dianhuan_sdk.testing import LEVELS, GridScenario, Scenario
from dianhuan_standards import TABLES


class _Grid(BaseModel):
    model_config = ConfigDict(extra="forbid")
    stream: str
    config: dict[str, Any] = Field(description="settings of the adapter")
    days: tuple[date, date, date] = Field(description="three days: where the two windows begin, touch and end")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    grid: dict[str, _Grid] = {}
    exempt: dict[str, str] = Field(default={}, description=f"check → reason; checks are {', '.join(LEVELS)}")
    parameters: dict[str, dict[str, Any]] = Field(default={}, description="model id → parameters")


def read_scenario(file: Path | None) -> Scenario:
    """The scenario of a file, or the one without any source.

    Raises:
        ConfigError: the file cannot be read, or names what is not there.
    """
    if file is None:
        return Scenario(contracts=TABLES)
    try:
        table = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: {error}", expected="a TOML file", hint="correct its path or that line") from None
    given = validated(_File, table, file=str(file))
    try:
        return Scenario(
            exempt=given.exempt,
            contracts=TABLES,
            parameters=given.parameters,
            grid={
                name: GridScenario(
                    g.config, g.stream, (Window(g.days[0], g.days[1]), Window(g.days[1], g.days[2])), TABLES
                )
                for name, g in given.grid.items()
            },
        )
    except ValueError as error:
        raise ConfigError(f"{file}: {error}", hint=f"correct {file}") from None
