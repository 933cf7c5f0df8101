"""The running gateway's door for commands of the same machine: JSON lines over a Unix socket in the data folder.

`dianhuan serve` owns the database, so that `dianhuan gateway …` could not open it; whoever may read the data folder
may use the door.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dianhuan_hub.gateway._desk import Decision
from dianhuan_sdk import LOCAL_ZONE, DianhuanError, InputError

if TYPE_CHECKING:
    from dianhuan_hub.gateway._desk import DeviceDesk
    from dianhuan_hub.gateway._gateway import Gateway
    from dianhuan_hub.store import DeviceRow

_LONGEST = 1 << 20
_WAIT_S = 60.0


class Door:
    """Serves commands while the gateway runs.

    Args:
        path: of the socket.
        gateway: whom it serves.
    """

    def __init__(self, path: Path, gateway: Gateway) -> None:
        self._path = path
        self._gateway = gateway
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen; a socket that a killed process has left is replaced."""
        self._path.unlink(missing_ok=True)
        try:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self._path))
            self._path.chmod(0o600)  # before anybody can connect
            self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=_LONGEST)
        except OSError as error:  # a path that is too long for a socket, for example
            words = f"无法本机管理 · no commands while it runs: {error}"
            self._gateway.facts.say("door", "gateway", words)

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), _WAIT_S)
            answer = await asyncio.to_thread(_answer, self._gateway, line)
            writer.write(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError, TimeoutError):
            pass  # the caller has gone, or it was no caller of ours
        finally:
            writer.close()


def _answer(gateway: Gateway, line: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(line)
        return {"ok": run(gateway.desk, gateway, asked)}
    except DianhuanError as error:
        return {"error": error.as_dict()}
    except (ValueError, TypeError, KeyError) as error:
        return {"error": InputError(f"no such command: {type(error).__name__}").as_dict()}


def run(desk: DeviceDesk, gateway: Gateway, asked: Mapping[str, Any]) -> Any:
    """One command, whether it came by the door or the hub was opened for it.

    Raises:
        DianhuanError: it cannot be done.
    """
    do, device = asked["do"], str(asked.get("device", ""))
    if do == "status":
        return gateway.status()
    if do == "devices":
        return [device_object(row) for row in desk.devices(asked.get("state", ""))]
    if do == "show":
        row = desk.get(device)
        frames = [{"received_at": _text(at), "frame": raw.decode("latin-1")} for at, raw in desk.frames(row.device_id)]
        return {**device_object(row), **gateway.device_status(row.device_id), "frames": frames}
    if do == "approve":
        return device_object(gateway.approve(device, Decision(**asked["decision"]), asked["actor"]))
    if do == "refuse":
        return device_object(desk.refuse(device, asked["actor"], asked.get("note", "")))
    if do == "replay":
        until = str(asked.get("until", ""))
        end = _instant(until) if until else datetime.now(UTC)
        return asdict(gateway.replay(device, _instant(str(asked["since"])), end))
    if do in gateway.commands:
        return gateway.commands[do](asked)  # of rooms above that share the door
    raise InputError(f"no command {do!r}", expected="status, devices, show, approve, refuse or replay")


def call(path: Path, asked: Mapping[str, Any]) -> Any:
    """Ask the gateway that runs on this data folder.

    Raises:
        ConnectionError: none runs.
        DianhuanError: what it says.
    """
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(_WAIT_S)
        try:
            line.connect(str(path))
        except OSError as error:
            raise ConnectionError(str(error)) from None
        line.sendall(json.dumps(asked, ensure_ascii=False).encode() + b"\n")
        with contextlib.closing(line.makefile("rb")) as file:
            answer = json.loads(file.readline() or b"{}")
    if "error" in answer:
        said = answer["error"]
        raise InputError(said["message"], expected=said["expected"], hint=said["hint"])
    return answer.get("ok")


def device_object(row: DeviceRow) -> dict[str, Any]:
    """A device for machines; never a key or password, only where they are kept."""
    values = asdict(row)
    return {name: _text(value) if isinstance(value, datetime) else value for name, value in values.items()}


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is no time", expected="YYYY-MM-DD or YYYY-MM-DDTHH:MM") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=LOCAL_ZONE)


def _text(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
