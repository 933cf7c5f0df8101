"""What a plugin gets of the hub: secrets that never show, declared hosts only, metrics and a folder of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from pydantic import BaseModel

from dianhuan_hub.kernel.clock import SystemClock
from dianhuan_hub.kernel.context import make_context
from dianhuan_hub.kernel.guard import Guard
from dianhuan_hub.kernel.loader import PluginRecord
from dianhuan_hub.kernel.metrics import HubMetrics
from dianhuan_hub.kernel.secrets import Vault
from dianhuan_sdk import ConfigError, Manifest, PluginContext, PluginError, SecretRef, StoragePort

Make = Callable[..., PluginContext]


class Settings(BaseModel):
    password: SecretRef = SecretRef(ref="env:PASSWORD")


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path, {"PASSWORD": "hunter2-secret"})


@pytest.fixture
def metrics() -> HubMetrics:
    return HubMetrics()


@pytest.fixture
def make(tmp_path: Path, vault: Vault, metrics: HubMetrics) -> Make:
    def context(hosts: tuple[str, ...] = (), secrets: bool = True) -> PluginContext:
        manifest = Manifest.model_validate(
            {
                "id": "vendor",
                "kind": "grid",
                "api": ">=1",
                "zh": "甲",
                "en": "A",
                "maintainers": ["v"],
                "capabilities": {"hosts": hosts, "secrets": secrets},
            }
        )
        record = PluginRecord("vendor", "vendor", "1", Guard("vendor", SystemClock()), manifest=manifest)
        return make_context(
            record,
            Settings(),
            cast("StoragePort", object()),  # nothing here reads or writes
            clock=SystemClock(),
            metrics=metrics,
            vault=vault,
            data_dir=tmp_path / "data",
        )

    return context


def test_secrets_resolve(tmp_path: Path, make: Make) -> None:
    context = make()
    (tmp_path / "key").write_text("from-a-file\n", "utf-8")
    assert context.secret(SecretRef(ref="env:PASSWORD")).reveal() == "hunter2-secret"
    assert context.secret(SecretRef(ref="file:key")).reveal() == "from-a-file"
    assert "hunter2" not in repr(context.secret(SecretRef(ref="env:PASSWORD")))
    assert context.folder == tmp_path / "data" / "plugins" / "vendor"
    assert context.folder.is_dir()


@pytest.mark.parametrize("ref", ["env:NONE", "file:none", "file:."])
def test_missing_secret_says_what_to_do(make: Make, ref: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make().secret(SecretRef(ref=ref))
    assert ref in caught.value.message
    assert caught.value.hint


def test_hostile_undeclared_secret_is_refused(make: Make) -> None:
    with pytest.raises(PluginError, match="declares none"):
        make(secrets=False).secret(SecretRef(ref="env:PASSWORD"))


def test_hostile_plugin_that_prints_its_secret(make: Make, vault: Vault, caplog: pytest.LogCaptureFixture) -> None:
    context = make()
    value = context.secret(SecretRef(ref="env:PASSWORD")).reveal()
    with caplog.at_level(logging.INFO):
        context.log.info("logging in with %s", value)
        try:
            raise ValueError(f"refused: {value}")
        except ValueError:
            context.log.exception("failed with %s", value)
    assert "logging in with …" in caplog.text
    assert "ValueError: refused: …" in caplog.text
    assert "hunter2" not in caplog.text
    guard = Guard("vendor", SystemClock(), clean=vault.clean)

    def leak() -> None:
        raise PluginError(f"refused: {value}", expected=value, hint=value)

    with pytest.raises(PluginError, match="refused: …") as caught:
        guard.call("check", leak)
    assert "hunter2" not in str(caught.value)


def test_loggers_of_two_hubs_are_apart(make: Make) -> None:
    first, second = make().log, make().log
    assert first is not second
    assert first.name == "dianhuan.plugin.vendor"
    assert first.name not in logging.root.manager.loggerDict


def test_metrics_carry_the_plugin_and_stay_in_the_hub(make: Make, metrics: HubMetrics) -> None:
    context = make()
    context.metrics.count("rows", 3, stream="load_curve")
    context.metrics.count("rows", 2, stream="load_curve")
    make().metrics.gauge("lag_seconds", 1.5)
    text = metrics.exposition().decode()
    assert 'dianhuan_vendor_rows_total{stream="load_curve"} 5.0' in text
    assert "dianhuan_vendor_lag_seconds 1.5" in text
    assert b"vendor" not in HubMetrics().exposition()


def test_hostile_metrics_are_named(make: Make) -> None:
    metrics = make().metrics
    metrics.count("rows", stream="a")
    with pytest.raises(PluginError, match=r"expected: counter with the labels \['stream'\]"):
        metrics.count("rows")
    with pytest.raises(PluginError, match="gauge"):
        metrics.gauge("rows", 1, stream="a")
    with pytest.raises(PluginError, match="rename"):
        metrics.count("bad name")


@asynccontextmanager
async def web_server() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server on loopback that redirects everything; yields its port and what it was sent."""
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://other.example/\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], seen


async def test_declared_host_is_reached_and_redirects_are_not_followed(make: Make) -> None:
    async with web_server() as (port, seen), make(hosts=(f"127.0.0.1:{port}",)).http() as client:
        answer = await client.get(f"http://127.0.0.1:{port}/data")
    assert answer.status_code == 302
    assert len(seen) == 1
    assert seen[0].startswith(b"GET /data")


@pytest.mark.parametrize(
    ("hosts", "url"),
    [
        ((), "http://127.0.0.1:{port}/"),
        (("*",), "http://127.0.0.1:{port}/"),
        (("*",), "http://localhost:{port}/"),
        (("*",), "http://[::ffff:127.0.0.1]:{port}/"),
        (("*",), "http://0.0.0.0:{port}/"),
        (("*",), "http://2130706433:{port}/"),
        (("127.0.0.1:1",), "http://127.0.0.1:{port}/"),
        (("*.example.cn",), "http://example.cn.evil.test:{port}/"),
        (("api.example.cn",), "http://example.cn:{port}/"),
    ],
)
async def test_hostile_calls_to_undeclared_hosts_are_refused(make: Make, hosts: tuple[str, ...], url: str) -> None:
    async with web_server() as (port, seen), make(hosts=hosts).http() as client:
        with pytest.raises(PluginError, match="does not declare it") as caught:
            await client.get(url.format(port=port))
    assert "capabilities.hosts" in caught.value.hint
    assert seen == []
