"""The node of a hub, out of its settings, as `dianhuan serve` mounts it."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.applications import Starlette
from typer.testing import CliRunner

from dianhuan_federation.config import FederationConfig
from dianhuan_federation.core import COSIGNATURE, cosigned_at, note_key, parse_checkpoint
from dianhuan_federation.nodes import PackReader, ask_witness, begin_node, hub_routes, nodes_app, push, witnessed
from dianhuan_sdk import ConfigError, PluginContext, Secret

PROVINCE = "430000"


class Fixed:
    """The clock of the small federation."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def today(self) -> date:
        return self.now().date()


def context_of(federation: Any, folder: Path, listening: socket.socket, **changes: Any) -> PluginContext:
    """The context of a province's hub: witness and mirror, addressed by that socket."""
    world = federation.world
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    roles = ("log", "publisher", "transport", "witness", "mirror")
    hubs = {hub: world.hub_file(hub) for hub in ("430200", "440100")}
    keys = [world.key_entry(role, f"{role}-{PROVINCE}") for role in roles]
    hubs[PROVINCE] = world.hub_file(PROVINCE, keys=keys, endpoints=[f"{base}/federation/"])
    builder = world.TrustBuilder(hubs=hubs)
    trust = folder / "trust"
    for path, data in builder.build().items():
        (trust / path).parent.mkdir(parents=True, exist_ok=True)
        (trust / path).write_bytes(data)
    (folder / "root.json").write_bytes(builder.bootstrap())
    witness = note_key("prov.example/w43", COSIGNATURE, federation.signer(f"witness-{PROVINCE}").public)
    (folder / "policy").write_text(f"witness w43 {witness.vkey}\nquorum w43\n")
    secrets = {}
    for role in roles:
        key = Ed25519PrivateKey.from_private_bytes(world.seed(f"{role}-{PROVINCE}"))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        secrets[f"file:{role}.pem"] = pem
    settings = {
        "origin": f"fed.example/{PROVINCE}/r1",
        "roles": ("subscriber", "witness", "mirror"),
        "folder": folder / "data",
        "guard": folder / "guard.sqlite",
        "trust": trust,
        "root": folder / "root.json",
        "witness_policy": folder / "policy",
        **{f"{role}_key": {"ref": f"file:{role}.pem"} for role in roles},
        **changes,
    }
    return PluginContext(
        plugin_id="federation",
        config=FederationConfig.model_validate(settings),
        secret=lambda reference: Secret(secrets[reference.ref]),
        clock=Fixed(federation.clock),
        log=logging.getLogger("federation"),
        metrics=None,  # type: ignore[arg-type]
        http=httpx.AsyncClient,
        storage=None,  # type: ignore[arg-type]
        folder=folder / "scratch",
    )


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


async def test_a_hub_serves_its_node_below_federation(
    federation: Any, nodes: Any, city_log: Any, tmp_path: Path, listening: socket.socket, client: httpx.AsyncClient
) -> None:
    context = context_of(federation, tmp_path / "hub", listening)
    begin_node(context)
    app = Starlette()
    app.mount("/federation", hub_routes(context))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    try:
        base = f"http://127.0.0.1:{listening.getsockname()[1]}/federation"
        log, made = city_log()
        text = parse_checkpoint(log.checkpoint())[1].text
        published = log.add_signatures(text, await ask_witness(client, f"{base}/witness", log))
        key = note_key("prov.example/w43", COSIGNATURE, federation.signer(f"witness-{PROVINCE}").public)
        assert cosigned_at(parse_checkpoint(published)[1], key) == int(federation.clock())
        lines = await push(client, f"{base}/mirror", log, made.blobs, auth=federation.auth("430200"))
        assert [line.name for line in lines] == [f"fed.example/{PROVINCE}/mirror"]
        mirrored = await witnessed(client, f"{base}/mirror", log.origin)
        assert mirrored is not None
        assert cosigned_at(parse_checkpoint(mirrored)[1], key) == int(federation.clock())
        answer = await client.get(f"{base}/pack", params={"origin": log.origin}, auth=federation.auth(grant="grant-1"))
        reader = PackReader()
        assert {path.rsplit("/", 1)[1] for path, _ in reader.feed(answer.content)} >= set(made.blobs)
        reader.finish()
        assert (await client.get(f"{base}/trust/timestamp.json")).status_code == 200
        assert (await client.get(f"{base}/trust/..%2froot.json")).status_code == 404
        (tmp_path / "hub" / "trust" / "timestamp.json").write_bytes(b"{}")
        answer = await client.post(f"{base}/witness/add-checkpoint", content=b"old 0\n\n" + log.checkpoint())
        assert (answer.status_code, answer.json()["error"]) == (503, "trust")
    finally:
        server.should_exit = True
        thread.join(10)


def test_hostile_node_whose_state_is_gone_serves_nothing(
    federation: Any, tmp_path: Path, listening: socket.socket
) -> None:
    context = context_of(federation, tmp_path / "hub", listening)
    with pytest.raises(ConfigError, match="is gone"):
        hub_routes(context)
    begin_node(context)
    hub_routes(context)
    with pytest.raises(ConfigError, match="exists already"):
        begin_node(context)
    (tmp_path / "hub/data/node/mirror/progress.sqlite").unlink()
    with pytest.raises(ConfigError, match="is gone"):
        hub_routes(context)


def test_a_hub_that_joined_nothing_serves_nothing(federation: Any, tmp_path: Path, listening: socket.socket) -> None:
    context = context_of(federation, tmp_path / "hub", listening, origin="")
    assert hub_routes(context).routes == []


def test_keys_that_a_role_needs_are_asked_for(federation: Any, tmp_path: Path, listening: socket.socket) -> None:
    for role in ("witness", "mirror", "transport"):
        context = context_of(federation, tmp_path / role, listening, **{f"{role}_key": None})
        with pytest.raises(ConfigError, match=f"no {role}_key"):
            begin_node(context)


def test_the_command_begins_a_node_once(federation: Any, tmp_path: Path, listening: socket.socket) -> None:
    context = context_of(federation, tmp_path / "hub", listening)

    class Host:
        @contextmanager
        def service(self, plugin: str) -> Iterator[PluginContext]:
            assert plugin == "federation"
            yield context

    app = typer.Typer()
    app.add_typer(nodes_app, name="node")

    @app.callback()
    def root(ctx: typer.Context) -> None:
        ctx.obj = Host()

    first = CliRunner().invoke(app, ["node", "init"])
    assert first.exit_code == 0, first.output
    assert "witness prov.example/w43" in first.output
    assert f"mirror fed.example/{PROVINCE}/mirror" in first.output
    again = CliRunner().invoke(app, ["node", "init", "--json"])
    assert again.exit_code == 2
    assert "exists already" in again.output
