"""`dianhuan doctor`: what is wrong with this installation and this hub, and what to do."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from dianhuan_hub.cli._output import emit
from dianhuan_hub.cli._state import hub_config
from dianhuan_hub.kernel.config import HubConfig
from dianhuan_hub.kernel.loader import load_plugins
from dianhuan_sdk import ConfigError

_TIGHT, _TOO_LITTLE = 10 << 30, 1 << 30  # a city-day takes about 0.1 GiB, its raw file as much again


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: `ok`, `warn` (works, but look at it) or `fail`."""

    check: str
    result: Literal["ok", "warn", "fail"]
    message: str
    hint: str = ""


def command(
    as_json: Annotated[bool, typer.Option("--json", help="输出 JSON（每行一个） · print JSON Lines")] = False,
) -> None:
    """Look at Python, configuration, data folder, disk, port and plugins; exit code 1 where something fails."""
    checks = list(run_checks())
    emit(
        [asdict(c) for c in checks],
        as_json=as_json,
        columns={"check": "项目 check", "result": "结果 result", "message": "情况 found", "hint": "处理 what to do"},
    )
    if any(c.result == "fail" for c in checks):
        raise typer.Exit(1)


def run_checks() -> Iterator[Check]:
    """All checks in order; those that need a hub are left out where its configuration cannot be read."""
    yield _python()
    try:
        config = hub_config()
    except ConfigError as error:
        yield Check("config", "fail", f"{error.message}; expected: {error.expected}", error.hint)
        yield from _plugins(None)
        return
    yield Check("config", "ok", f"{config.file}: {config.city.name} {config.city.division}")
    folder = _data_folder(config)
    yield folder
    yield _disk(config)
    yield _port(config)
    if folder.result != "fail":
        yield from _plugins(config)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.stdout.encoding.lower().replace("-", "") != "utf8":
        hint = "set PYTHONUTF8=1 in the service's environment"
        return Check("python", "warn", f"{version}, texts are written as {sys.stdout.encoding}", hint)
    return Check("python", "ok", f"{version} at {sys.prefix}")


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _data_folder(config: HubConfig) -> Check:
    folder = _existing(config.data_dir)
    if not folder.is_dir():
        return Check("data_dir", "fail", f"{folder} is no folder", "correct data_dir in hub.toml")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Check("data_dir", "fail", f"{folder} cannot be written", "give it to the user that runs the hub")
    return Check("data_dir", "ok", str(config.data_dir) + ("" if folder == config.data_dir else " (made at first use)"))


def _disk(config: HubConfig) -> Check:
    free = shutil.disk_usage(_existing(config.data_dir)).free
    words = f"{free / (1 << 30):.1f} GiB free"
    if free < _TOO_LITTLE:
        return Check("disk", "fail", words, "free space now: the hub refuses data when the disk is full")
    if free < _TIGHT:
        return Check("disk", "warn", words, "free space, or lower store.hot_days or store.raw_days")
    return Check("disk", "ok", words)


def _port(config: HubConfig) -> Check:
    where = f"{config.api.host}:{config.api.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.api.host, config.api.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror:
        return Check("port", "fail", f"{where}: no such address", "correct api.host in hub.toml")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = "right while this hub serves; otherwise choose another api.port"
            return Check("port", "warn", f"{where} is in use", hint)
        return Check("port", "fail", f"{where}: {error.strerror}", "correct api.host or api.port in hub.toml")
    return Check("port", "ok", f"{where} is free")


def _plugins(config: HubConfig | None) -> Iterator[Check]:
    registry = load_plugins(config)
    for record in registry.records:
        name = f"plugin {record.id}"
        if record.state == "LOADED":
            yield Check(name, "ok", f"{record.version}, {record.import_seconds:.2f} s to import")
        elif record.error is not None:
            crashed = "died" in record.error.message
            result: Literal["ok", "warn", "fail"] = (
                "fail" if record.state != "DISABLED" else "warn" if crashed else "ok"
            )
            yield Check(name, result, f"{record.state}: {record.error.message}", record.error.hint)
    for problem in registry.problems():
        if isinstance(problem, ConfigError) and all(problem is not r.error for r in registry.records):
            yield Check("config", "fail", f"{problem.message}; expected: {problem.expected}", problem.hint)
