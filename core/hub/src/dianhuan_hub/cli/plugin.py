"""`dianhuan plugin`: what is installed, what works, and what to do about the rest."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from dianhuan_hub.cli._output import emit, progress
from dianhuan_hub.cli._state import hub_config, hub_config_or_none
from dianhuan_hub.kernel._discover import candidates
from dianhuan_hub.kernel.loader import load_plugins, start_log
from dianhuan_sdk import PluginError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="插件 · plugins")

Json = Annotated[bool, typer.Option("--json", help="输出 JSON（每行一个） · print JSON Lines")]
Id = Annotated[str, typer.Argument(help="插件编号 · id of the plugin")]

_LIST = {
    "id": "编号 id",
    "kind": "类型 kind",
    "state": "状态 state",
    "version": "版本 version",
    "offers": "提供 offers",
    "last_progress": "最近进展 last progress",
    "hint": "处理 what to do",
}


@app.command("list", help="列出插件及其模型和适配器 · list plugins with their models and adapters")
def list_plugins(as_json: Json = False) -> None:
    rows = [r.as_dict() for r in load_plugins(hub_config_or_none()).records]
    if not as_json:
        for row in rows:
            row["offers"] = [*itertools.chain(*row["registers"].values()), *(f"`{c}`" for c in row["commands"])]
    emit(rows, as_json=as_json, columns=_LIST)


@app.command(help="一个插件的全部信息 · all about one plugin")
def inspect(plugin: Id, as_json: Json = False) -> None:
    registry = load_plugins(hub_config_or_none())
    record = registry.record(plugin)
    facts = record.as_dict()
    facts["manifest"] = record.manifest.model_dump(mode="json") if record.manifest else None
    facts["models"] = [
        {
            "id": m.id,
            "version": m.version,
            "zh": m.zh,
            "en": m.en,
            "tier": m.tier,
            "window_days": m.window_days,
            "reads": m.reads,
            "gates": m.gates,
            "alarm_budget": m.alarm_budget,
            "config": _config_of(registry.models(), m.id),
        }
        for m in record.descriptors.get("dianhuan_models", ())
    ]
    facts["adapters"] = [
        {
            "id": a.id,
            "zh": a.zh,
            "en": a.en,
            "delivery": a.delivery,
            "config": a.config_model.model_json_schema().get("properties", {}),
        }
        for a in record.descriptors.get("dianhuan_grid_adapters", ())
    ]
    emit(facts, as_json=as_json)


@app.command(help="试装入并说明问题和处理办法；在独立进程中进行 · try plugins, each in a process of its own")
def doctor(
    plugin: Annotated[str | None, typer.Argument(help="插件编号，默认全部 · id, all by default")] = None,
    as_json: Json = False,
) -> None:
    ids = sorted({c.id for c in candidates()})
    if plugin is not None:
        _known(plugin)
        ids = [plugin]
    rows = [row for each in ids for row in _tried(each)]
    emit(
        rows,
        as_json=as_json,
        columns={
            "id": "编号 id",
            "state": "状态 state",
            "step": "步骤 step",
            "error": "问题 what is wrong",
            "expected": "应为 expected",
            "hint": "处理 what to do",
        },
    )
    if any(row["state"] != "LOADED" for row in rows):
        raise typer.Exit(1)


@app.command("test", help="一致性检验：铜银金三级 · conformance kit: bronze, silver, gold")
def conformance(
    plugin: Id,
    scenario: Annotated[
        Path | None, typer.Option(help="场景文件 TOML：适配器所读的数据源 · scenario file: sources for its adapters")
    ] = None,
    as_json: Json = False,
) -> None:
    from dianhuan_hub.cli._scenario import read_scenario
    from dianhuan_sdk.testing import check_plugin

    _known(plugin)
    given = read_scenario(scenario)
    with progress(plugin), contextlib.redirect_stdout(sys.stderr):
        report = check_plugin(plugin, given)
    rows = [asdict(r) for r in report.results]
    headings = {
        "check": "检验 check",
        "subject": "对象 subject",
        "level": "级别 level",
        "status": "结果 result",
        "words": "说明 why",
    }
    if as_json:
        emit(report.as_dict(), as_json=True)
    else:
        emit(rows, as_json=False, columns=headings, title=f"{plugin}: {report.level or '未达铜级 below bronze'}")
    if report.failed:
        raise typer.Exit(1)


@app.command(help="允许插件启动 · let a plugin start again")
def enable(plugin: Id, as_json: Json = False) -> None:
    config = hub_config()
    _known(plugin)
    if plugin in config.plugins.disabled:
        raise PluginError(
            f"{config.file}: {plugin} stands under plugins.disabled",
            hint=f"remove {plugin} from plugins.disabled in that file",
        )
    changed = start_log(config).switch_on(plugin)
    emit({"id": plugin, "enabled": True, "changed": changed}, as_json=as_json)


@app.command(help="下次启动时不装入插件 · leave a plugin out from the next start on")
def disable(plugin: Id, as_json: Json = False) -> None:
    config = hub_config()
    _known(plugin)
    start_log(config).switch_off(plugin, "switched off by `dianhuan plugin disable`")
    emit({"id": plugin, "enabled": False, "changed": True}, as_json=as_json)


def _known(plugin: str) -> None:
    ids = sorted({c.id for c in candidates()})
    if plugin not in ids:
        raise PluginError(
            f"no plugin {plugin}",
            expected=f"one of {', '.join(ids) or '(none is installed)'}",
            hint="see `dianhuan plugin list`",
        )


def _config_of(models: Any, model: str) -> dict[str, Any]:
    return models[model].config.model_dump(mode="json") if model in models else {}


def _tried(plugin: str) -> list[dict[str, Any]]:
    """Load one plugin in a child process: one that kills its process says so here and kills nobody else."""
    command = [sys.executable, "-m", "dianhuan_hub.cli._try_plugin", plugin]
    config = hub_config_or_none()
    command += [str(config.file)] if config else []
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return [_died(plugin, "it did not end within 120 s")]
    if child.returncode != 0:
        last = child.stderr.strip().splitlines()[-1:] or [""]
        return [_died(plugin, f"its process ended with code {child.returncode}. {last[0]}".strip())]
    rows: list[dict[str, Any]] = json.loads(child.stdout)
    return rows


def _died(plugin: str, words: str) -> dict[str, Any]:
    record = next(c for c in candidates() if c.id == plugin)
    return {
        "id": plugin,
        "state": "FAILED",
        "step": "import",
        "version": record.version,
        "distribution": record.distribution,
        "error": f"plugin {plugin}: {words}",
        "expected": "a plugin that can be loaded",
        "hint": f"update {record.distribution} or report this to its maintainers; "
        f"`dianhuan plugin disable {plugin}` leaves it out",
    }
