"""`plugin.toml`: what the host knows of a plugin before it imports a line of it.

The file lies in the top package of a distribution and holds one `[[plugin]]` table for each entry point of the
group `dianhuan.plugins`::

    [[plugin]]
    id = "grid_hunan"                # the entry point's name
    kind = "grid"                    # grid | device | model | standards | sink | federation | console | tool
    api = ">=1,<2"                   # range of dianhuan_sdk.API_VERSION
    zh = "国网湖南"
    en = "State Grid Hunan"
    maintainers = ["…"]
    capabilities = { hosts = [], reads = ["account_link"], writes = ["load_curve"], secrets = false }
    alarm_budget = 0.05              # models: most false alarms per enterprise-month
    commands = [{ name = "sim", help = "…", target = "package.cli:app" }]   # shown in help without an import
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dianhuan_sdk.errors import PluginError

ENTRY_POINT_GROUP = "dianhuan.plugins"


class Capabilities(BaseModel):
    """What a plugin may touch: hosts it calls, tables it reads and writes, whether it asks for secrets."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    hosts: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    secrets: bool = False


class Command(BaseModel):
    """A command group that a plugin adds to `dianhuan`: name, one help line, and the Typer app as `module:name`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    help: str
    target: str = Field(pattern=r"^[\w.]+:\w+$")


class Manifest(BaseModel):
    """One `[[plugin]]` table."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str = Field(pattern=r"^[a-z][a-z0-9_]{1,40}$")
    kind: Literal["grid", "device", "model", "standards", "sink", "federation", "console", "tool"]
    api: str
    zh: str
    en: str
    maintainers: tuple[str, ...] = Field(min_length=1)
    capabilities: Capabilities = Capabilities()
    alarm_budget: float | None = Field(default=None, ge=0)
    commands: tuple[Command, ...] = ()

    def allows(self, version: tuple[int, int]) -> bool:
        """Is that API version inside the range `api`? The range joins `>=`, `<`, `==` clauses by commas."""
        return all(_clause(c.strip(), version) for c in self.api.split(","))


def _clause(text: str, version: tuple[int, int]) -> bool:
    for op in (">=", "==", "<"):
        if text.startswith(op):
            parts = [int(p) for p in text[len(op) :].strip().split(".")]
            bound = (parts[0], parts[1] if len(parts) > 1 else 0)
            return {">=": version >= bound, "==": version == bound, "<": version < bound}[op]
    raise PluginError(
        f"API range clause {text!r}",
        expected="clauses like >=1, ==1.2 or <2",
        hint="correct `api` in plugin.toml",
    )


def read_manifests(path: Path) -> Mapping[str, Manifest]:
    """The manifests of one `plugin.toml` by id.

    Raises:
        PluginError: the file is missing, is not TOML or breaks the model; the message names the place.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise PluginError(
            f"no {path.name} in the package {path.parent.name}",
            expected="plugin.toml with a [[plugin]] table for each entry point",
            hint="ship plugin.toml inside the package",
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise PluginError(f"{path.name} of {path.parent.name} is not TOML: {error}") from error
    manifests: dict[str, Manifest] = {}
    for number, table in enumerate(document.get("plugin", ())):
        try:
            manifest = Manifest.model_validate(table)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(p) for p in first["loc"])
            raise PluginError(
                f"plugin.toml of {path.parent.name}: plugin[{number}].{place}: {first['msg']}",
                hint="correct the manifest",
            ) from error
        manifests[manifest.id] = manifest
    return manifests
