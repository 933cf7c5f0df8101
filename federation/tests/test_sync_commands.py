"""The subscriber's commands, with the storage port of a real file behind them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from dianhuan_federation.cli import app
from dianhuan_federation.config import Peer
from dianhuan_federation.core import Ed25519Signer
from dianhuan_federation.sync import Subscriber
from dianhuan_sdk import PluginContext

World = ModuleType


@pytest.fixture
def run(world: World, sync_parts: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the federation's commands in a hub that follows one log in a folder; gives exit code and lines of JSON."""
    home = sync_parts.Home(world, tmp_path / "home")
    log = world.usual_log()
    joined = home.subscriber(Peer(origin=log.origin, folder=sync_parts.tree(log, tmp_path / "share")))

    class Host:
        @contextmanager
        def service(self, plugin: str) -> Iterator[PluginContext]:
            assert plugin == "federation"
            yield joined.context

    signer: Ed25519Signer = world.signer(f"transport-{world.READER}")
    monkeypatch.setattr(Subscriber, "of", classmethod(lambda cls, context, config: cls(context, config, signer=signer)))

    def call(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
        result = CliRunner().invoke(app, list(arguments), obj=Host())
        return result.exit_code, [json.loads(line) for line in result.output.splitlines()]

    call.home, call.log, call.folder = home, log, tmp_path  # type: ignore[attr-defined]
    return call


def test_a_round_on_the_command_line(run: Any, world: World) -> None:
    code, lines = run("show")
    assert (code, lines[0]["state"]) == (0, "MISSING")
    assert "never heard of" in lines[0]["advice"]
    code, lines = run("sync")
    assert (code, lines[0]["to"], lines[-1]["rows"]) == (0, 3, 6)
    code, lines = run("show")
    assert (lines[0]["state"], lines[0]["advice"]) == ("FRESH", "无需处理 · nothing to do")
    run.home.clock.time += 27 * 3600
    code, lines = run("watch", "--rounds", "1", "--minutes", "0")
    assert [line["state"] for line in lines] == ["STALE"]
    assert "26" in lines[0]["advice"]
    code, lines = run("replica", "rebuild")
    assert (code, lines[0]["via"], lines[0]["to"]) == (0, "replay", 3)
    code, lines = run("replica", "release", run.log.origin)
    assert (code, lines[0]["error"]) == (2, "ConfigError")


def test_bundles_on_the_command_line(run: Any, sync_parts: ModuleType, world: World) -> None:
    stick, next_ = run.folder / "1.tar", run.folder / "2.tar"
    run("sync")
    assert run("export", str(stick))[0] == 0
    code, lines = run("export", str(next_), "--since", str(stick))
    assert (code, lines[0]["files"] < 12) == (0, True)
    code, lines = run("import", str(stick))
    assert (code, lines[-1]["bundle"]["state"], lines[0]["to"]) == (0, "accepted", 3)
    stick.write_bytes(b"rubbish")
    code, lines = run("import", str(stick))
    assert (code, lines[-1]["bundle"]["code"]) == (1, "E-CAP")
