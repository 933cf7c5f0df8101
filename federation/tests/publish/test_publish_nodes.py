"""A publisher with a real witness and a real mirror on loopback, out of a hub's settings, by command."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner

from dianhuan_federation.cli import app
from dianhuan_federation.config import FederationConfig
from dianhuan_federation.core import COSIGNATURE, bundles_of, key_id, load_trust, note_key, open_envelope
from dianhuan_federation.guard import CheckpointGuard
from dianhuan_federation.log_store import TileLog
from dianhuan_federation.nodes import Cosigner, NodeConfig, create_node, node_app
from dianhuan_federation.suites import Sm2Signer
from dianhuan_sdk import PluginContext, Secret, SecretRef

City = Any


@pytest.fixture
def node(world: ModuleType, tmp_path: Path) -> Iterator[str]:
    """A province's witness and mirror; its base address."""
    builder = world.TrustBuilder()
    trust = load_trust(builder.bootstrap(), builder.build(), world.NOW)
    listening = socket.create_server(("127.0.0.1", 0))
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    guard = CheckpointGuard(tmp_path / "access.guard")
    config = NodeConfig(
        folder=tmp_path / "node",
        bases=[base],
        access=TileLog.create(tmp_path / "access", "fed.example/430000/access", world.signer("access"), guard),
        witness=Cosigner("prov.example/w43", world.signer("w43")),
        mirror=Cosigner("prov.example/m43", world.signer("m43")),
    )
    create_node(config)
    app = node_app(config, lambda: trust, lambda: world.NOW)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    yield base
    server.should_exit = True
    thread.join(10)


class Host:
    """What a command finds in its context: the federation's service of one city."""

    def __init__(self, city: City, config: FederationConfig) -> None:
        self.config = config
        self._city = city

    @contextmanager
    def service(self, plugin: str) -> Iterator[PluginContext]:
        """See `CommandHost.service`."""
        assert plugin == "federation"
        yield PluginContext(
            plugin_id=plugin,
            config=self.config,
            secret=lambda ref: Secret(Path(ref.ref.removeprefix("file:")).read_text()),
            clock=self._city.clock,
            log=logging.getLogger("test"),
            metrics=None,  # type: ignore[arg-type]
            http=lambda: httpx.AsyncClient(timeout=10),
            storage=self._city.storage,
            folder=self._city.folder / "federation",
        )


@pytest.fixture
def host(city: City, world: ModuleType, node: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A joined city with key files, a witness policy that trusts the node, and the clock of the small federation."""
    monkeypatch.setattr("time.time", lambda: float(world.NOW))
    files = tmp_path / "settings"
    files.mkdir()
    for role in ("log", "publisher", "transport"):
        key = Ed25519PrivateKey.from_private_bytes(world.seed(f"{role}-{world.HUB}"))
        block = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        (files / role).write_text(f"dianhuan key role: {role}\n{block}")
    (files / "pseudonym").write_text("a key of the city, random")
    keys = {
        name: note_key(f"prov.example/{name}", COSIGNATURE, world.signer(name).public).vkey for name in ("w43", "m43")
    }
    lines = [*(f"witness {name} {key}" for name, key in keys.items()), "group all all w43 m43", "quorum all", ""]
    (files / "witnesses").write_text("\n".join(lines))
    (files / "root.json").write_bytes(world.TrustBuilder().bootstrap())
    for path, data in world.TrustBuilder().build().items():
        (files / "trust" / path).parent.mkdir(parents=True, exist_ok=True)
        (files / "trust" / path).write_bytes(data)
    city.use("warning-counts", "warnings-to-grantees")
    for id, data in city.settings.policies:
        (files / f"{id}.json").write_bytes(data)

    def ref(name: str) -> SecretRef:
        return SecretRef(ref=f"file:{files / name}")

    config = FederationConfig(
        origin=world.ORIGIN,
        roles=("publisher",),
        guard=city.folder / "guard.sqlite",
        trust=files / "trust",
        root=files / "root.json",
        witness_policy=files / "witnesses",
        log_key=ref("log"),
        publisher_key=ref("publisher"),
        transport_key=ref("transport"),
        pseudonym_key=ref("pseudonym"),
        witnesses=(node,),
        mirrors=(node,),
        policies=tuple(files / f"{id}.json" for id, _ in city.settings.policies),
    )
    return Host(city, config)


@pytest.fixture
def run(host: Host) -> Callable[..., tuple[int, str]]:
    """Run a command; exit code and what it printed."""

    def call(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, list(words), obj=host)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    return call


def test_a_city_publishes_and_recovers_over_http(
    city: City,
    host: Host,
    run: Callable[..., tuple[int, str]],
    world: ModuleType,
    node: str,
    today: date,
    tmp_path: Path,
) -> None:
    assert run("begin-log")[0] == 0
    shutil.copytree(city.folder / "federation", tmp_path / "backup")
    shutil.copy(city.folder / "hub.sqlite", tmp_path / "hub.sqlite")
    code, text = run("publish", "--dry-run")
    assert code == 0
    assert "statistic-batch warning-counts" in text
    assert "count_precision=exact" in text
    code, text = run("publish", "--json")
    report = json.loads(text)
    assert report["witnessed"] == {"names": ["m43", "w43"], "quorum": True, "pending": {}}
    policy = (tmp_path / "settings" / "witnesses").read_bytes()
    assert {str(e.verdict.state) for e in city.verified(policy=policy).entries} == {"accepted"}

    shutil.rmtree(city.folder / "federation")
    shutil.copytree(tmp_path / "backup", city.folder / "federation")
    shutil.copy(tmp_path / "hub.sqlite", city.folder / "hub.sqlite")
    code, text = run("publish")
    assert code == 2
    assert "fetch the log from a mirror" in text
    assert run("recover", "--from", node)[0] == 0
    assert {str(e.verdict.state) for e in city.verified(policy=policy).entries} == {"accepted"}
    assert json.loads(run("publish", "--json")[1])["statements"] == []
    code, text = run("self-check")
    assert (code, set(json.loads(text).values())) == (0, {"ok"})


def test_an_inspection_by_command(
    city: City, run: Callable[..., tuple[int, str]], world: ModuleType, tmp_path: Path
) -> None:
    run("begin-log")
    run("publish")
    (tmp_path / "grant").write_bytes(city.grant("warnings-to-grantees"))
    assert run("log-grant", str(tmp_path / "grant"))[0] == 0
    shown = json.loads(run("publish", "--dry-run", "--json")[1])["statements"][0]["content"][0]
    assert run("publish")[0] == 0
    out = tmp_path / "opening.json"
    assert run("commitment", "open", shown["record_id"], "--out", str(out))[0] == 0
    assert out.stat().st_mode & 0o077 == 0
    settings = tmp_path / "settings"
    check = ["commitment", "check", str(out), "--trust", str(settings / "root.json")]
    check += [
        "--policy",
        str(settings / "witnesses"),
        "--repository",
        str(settings / "trust"),
        "--now",
        world.iso(world.NOW),
    ]
    code, text = run(*check)
    assert code == 0
    told = json.loads(text)
    assert (told["record"], told["holds"]) == (shown["record_id"], True)
    assert [reading["day"] for reading in told["readings"]] == [shown["day"]]
    document = json.loads(out.read_text())
    document["opened"][0]["salt"] = "00" * 32
    out.write_text(json.dumps(document))
    assert run(*check)[0] == 1


def test_what_a_person_orders_by_command(city: City, run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    run("begin-log")
    report = json.loads(run("publish", "--json")[1])
    index = next(str(s["index"]) for s in report["statements"] if s["kind"] == "statistic-batch")
    words = ["--reason", "录入有误 · typed wrong", "--legal-basis", "Order 809"]
    for command in (["retract", index, *words], ["redact", index, *words]):
        code, text = run(*command, "--json")
        assert (code, len(json.loads(text)["statements"])) == (0, 1)
    assert run("dispute", "fed.example/440100/r1", "3", "ab" * 32, "--reason", "ours")[0] == 0
    assert run("redact", index, *words)[0] == 2
    assert run("commitment", "open", "nothing", "--out", str(tmp_path / "x"))[0] == 2


def test_a_hub_signs_with_sm2_beside_ed25519(
    city: City, host: Host, run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    pytest.importorskip("gmssl_pyx")
    key = Sm2Signer.generate()
    (tmp_path / "settings" / "sm2").write_text(key.pem())
    host.config = host.config.model_copy(
        update={"more_publisher_keys": (SecretRef(ref=f"file:{tmp_path / 'settings' / 'sm2'}"),)}
    )
    run("begin-log")
    assert run("publish")[0] == 0
    log = city.log()
    entries = [entry for bundle in bundles_of(log.size) for entry in log.entries(bundle)]
    assert len(entries) > 2
    for entry in entries:
        envelope = open_envelope(entry)
        assert len(envelope.signatures) == 2
        assert envelope.signed_by({key_id(key.public): key.public})


def test_hostile_hub_that_has_not_joined(city: City) -> None:
    done = CliRunner().invoke(app, ["publish"], obj=Host(city, FederationConfig()))
    assert done.exit_code == 2
    assert "未加入联邦" in done.output
