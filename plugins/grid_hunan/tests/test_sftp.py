"""SFTP against a real server on loopback: pinned key, password and key, control files, cursor, broken deliveries."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dianhuan_grid_hunan._adapter import SPEC
from dianhuan_grid_hunan._config import HunanConfig
from dianhuan_sdk import AuthError, Batch, Checkpoint, ConfigError, TerminalError, TransientError

asyncssh = pytest.importorskip("asyncssh", reason="the extra `sftp` is not installed")


class Server:
    """An SFTP server over one folder, in a thread with a loop of its own."""

    def __init__(self, root: Path, authorized: Path) -> None:
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

        class Users(asyncssh.SSHServer):  # type: ignore[misc]
            def password_auth_supported(self) -> bool:
                return True

            def validate_password(self, username: str, password: str) -> bool:
                return (username, password) == ("city", "s3cret")

        async def start() -> Any:
            return await asyncssh.listen(
                "127.0.0.1",
                0,
                server_factory=Users,
                server_host_keys=[self.key],
                authorized_client_keys=str(authorized) if authorized.exists() else None,
                sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=os.fsencode(root)),
            )

        self._server = asyncio.run_coroutine_threadsafe(start(), self._loop).result(10)
        self.port = self._server.get_port()
        self.host_key = self.key.export_public_key().decode().strip()

    def close(self) -> None:
        async def stop() -> None:
            self._server.close()
            await self._server.wait_closed()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def user_key(tmp_path: Path) -> Any:
    key = asyncssh.generate_private_key("ssh-ed25519")
    (tmp_path / "authorized").write_bytes(key.export_public_key())
    return key


@pytest.fixture
def server(tmp_path: Path, put, user_key) -> Iterator[Server]:
    running = Server(tmp_path / "grid", tmp_path / "authorized")
    yield running
    running.close()


@pytest.fixture
def adapter(context: Any, server: Server) -> Callable[..., Any]:
    def make(**more: Any) -> Any:
        delivery = {
            "kind": "sftp",
            "host": "127.0.0.1",
            "port": server.port,
            "user": "city",
            "path": "/",
            "host_key": server.host_key,
            "password": {"ref": "env:PASSWORD"},
            "timeout": 5,
        } | more
        delivery = {name: value for name, value in delivery.items() if value is not None}
        return SPEC.factory(context(HunanConfig.model_validate({"delivery": delivery})))

    return make


def points(items: list[Any]) -> list[str]:
    return [r["metering_point_id"] for i in items if isinstance(i, Batch) for r in i.rows.to_pylist()]


def test_files_with_control_files_are_read_once(adapter, drain, put, curve_line, tmp_path: Path) -> None:
    first = put("curve_20260105.csv", curve_line("MP1"))
    put("curve_20260106.csv", curve_line("MP2", day="2026-01-06"))
    put("curve_20260107.csv.part", curve_line("MP3"))
    first.with_suffix(".ok").touch()
    items = drain(adapter(), "curve")
    assert points(items) == ["MP1"]
    assert items[0].source.uri.startswith("sftp://127.0.0.1")
    assert len(items[0].source.sha256) == 64
    (checkpoint,) = [i for i in items if isinstance(i, Checkpoint)]
    assert drain(adapter(), "curve", cursor=checkpoint.cursor) == []
    (first.parent / "curve_20260106.csv.ok").touch()
    assert points(drain(adapter(), "curve", cursor=checkpoint.cursor)) == ["MP2"]
    assert list((tmp_path / "scratch").iterdir()) == []


def test_without_control_files_a_file_must_stand_still(adapter, drain, put, curve_line) -> None:
    put("curve_20260105.csv", curve_line("MP1"))
    assert points(drain(adapter(control_file="", settle_seconds=0.01), "curve")) == ["MP1"]


def test_an_unreadable_file_does_not_stop_the_others(adapter, drain, put, curve_line) -> None:
    put("curve_20260105.csv", curve_line("MP1")).write_bytes(b"nothing,like,it\n")
    put("curve_20260106.csv", curve_line("MP2", day="2026-01-06"))
    items = drain(adapter(control_file="", settle_seconds=0), "curve")
    assert points(items) == ["MP2"]
    assert items[0].rejects.to_pylist()[0]["code"] == "unreadable_file"


def test_by_key(context, drain, server: Server, put, curve_line, user_key) -> None:
    from dataclasses import replace

    from dianhuan_sdk import Secret

    put("curve_20260105.csv", curve_line("MP1")).with_suffix(".ok").touch()
    config = HunanConfig.model_validate(
        {
            "delivery": {
                "kind": "sftp",
                "host": "127.0.0.1",
                "port": server.port,
                "user": "city",
                "path": "/",
                "host_key": server.host_key,
                "key": {"ref": "file:key"},
            }
        }
    )
    private = user_key.export_private_key().decode()
    made = replace(context(config), secret=lambda ref: Secret(private))
    assert points(drain(SPEC.factory(made), "curve")) == ["MP1"]
    wrong = replace(made, secret=lambda ref: Secret("no key"))
    with pytest.raises(ConfigError, match="unreadable"):
        drain(SPEC.factory(wrong), "curve")


async def test_hostile_another_host_key_is_refused(adapter) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    report = await adapter(host_key=other).check()
    assert not report.ok
    assert "pinned host key" in report.message
    assert (await adapter().check()).ok


def test_hostile_a_wrong_user_is_refused_without_showing_the_secret(adapter, drain) -> None:
    with pytest.raises(AuthError) as caught:
        drain(adapter(user="nobody"), "curve")
    assert "s3cret" not in str(caught.value)


def test_a_folder_that_is_not_there(adapter, drain) -> None:
    with pytest.raises(TerminalError, match=r"delivery\.path"):
        drain(adapter(path="/none"), "curve")


def test_nobody_there(adapter, drain, server: Server, context) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(TransientError):
        drain(adapter(port=port), "curve")
