"""The frame: global options, commands found by name, and errors turned into words and exit codes.

Nothing heavy is imported here: `dianhuan --help` loads no plugin, no SDK, no DuckDB, no Arrow.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from dianhuan_hub.cli import _plugin_commands, _state
from dianhuan_hub.cli._commands import COMMANDS
from dianhuan_hub.cli._hub import PluginHost

EXIT_EXPECTED = 1
EXIT_UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h


class _Commands(TyperGroup):
    """Lists commands from their help lines, and imports one when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*COMMANDS, *sorted(_plugin_commands.found().keys() - COMMANDS.keys())]

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:
        if cmd_name in COMMANDS:
            return TyperCommand(cmd_name, help=COMMANDS[cmd_name][1])
        claims = _plugin_commands.found().get(cmd_name)
        return TyperCommand(cmd_name, help=claims[0].help, rich_help_panel="插件命令 · plugins") if claims else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, found, rest = super().resolve_command(ctx, args)  # the frame's own words for an unknown name
        return name, _real(name) if name and found else found, rest


def _real(name: str) -> Any:
    if name in COMMANDS:
        module, _, attribute = COMMANDS[name][0].partition(":")
        target = getattr(importlib.import_module(module), attribute)
    else:
        target = _plugin_commands.resolve(name)
    if not isinstance(target, typer.Typer):
        single = typer.Typer(add_completion=False)
        single.command(help=COMMANDS[name][1] if name in COMMANDS else None)(target)
        target = single
    command = typer.main.get_command(target)
    command.name = name
    return command


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="电环 Dianhuan: 用电数据辅助环境执法 · electricity data for environmental enforcement",
)


@app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    hub: Annotated[
        Path, typer.Option("--hub", envvar="DIANHUAN_HUB", help="节点目录（含 hub.toml） · folder with hub.toml")
    ] = Path(),
    version: Annotated[bool, typer.Option("--version", help="版本 · show the version")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        print(f"dianhuan {installed('dianhuan-hub')}")
        raise typer.Exit
    _state.set_hub(hub)
    ctx.obj = PluginHost()


def main(args: Sequence[str] | None = None) -> None:
    """Run `dianhuan`; always ends in `SystemExit`."""
    words = list(sys.argv[1:] if args is None else args)
    try:
        typer.main.get_command(app).main(words, prog_name="dianhuan")
    except Exception as error:
        sys.exit(_report(error, as_json="--json" in words))


def _report(error: Exception, *, as_json: bool) -> int:
    # an expected error can only come from a module that imported the SDK: not imported means not expected
    errors = sys.modules.get("dianhuan_sdk.errors")
    if errors is not None and isinstance(error, errors.DianhuanError):
        facts: dict[str, str] = error.as_dict()
        code = EXIT_EXPECTED
    else:
        place = traceback.extract_tb(error.__traceback__)[-1]
        facts = {
            "error": "Unexpected",
            "message": f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})",
            "expected": "",
            "hint": "this is a defect: report it with the command; DIANHUAN_TRACEBACK=1 shows where it happened",
        }
        code = EXIT_UNEXPECTED
        if os.environ.get("DIANHUAN_TRACEBACK"):
            traceback.print_exception(error, file=sys.stderr)
    if as_json:
        print(json.dumps(facts, ensure_ascii=False), file=sys.stderr)
    else:
        labels = (("message", "错误 error"), ("expected", "应为 expected"), ("hint", "处理 what to do"))
        for key, label in labels:
            if facts[key]:
                print(f"{label}: {facts[key]}", file=sys.stderr)
    return code
