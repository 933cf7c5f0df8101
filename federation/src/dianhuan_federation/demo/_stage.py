"""The stage: folders of the parties, commands as they are typed, hubs that serve."""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import httpx
import typer

from dianhuan_sdk import ConfigError, DianhuanError

_MAIN = (sys.executable, "-c", "from dianhuan_hub.cli import main; main()")
READY_SECONDS = 60.0


class Stage:
    """Runs commands in a folder and shows them.

    Args:
        folder: of the demo; an earlier demo in it is replaced.
        command: `dianhuan` itself.
        quiet: show nothing.
    """

    def __init__(self, folder: Path, command: Any, *, quiet: bool) -> None:
        self.folder = folder.absolute()
        self._command = command
        self._quiet = quiet
        marker = folder / ".demo"
        if folder.exists() and any(folder.iterdir()) and not marker.exists():
            raise ConfigError(
                f"{folder} holds something else", hint="give another folder: dianhuan federation demo FOLDER"
            )
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        marker.touch()

    def say(self, step: str, zh: str, en: str) -> None:
        """Announce a step."""
        if not self._quiet:
            typer.echo(f"\n━━ {step}. {zh} · {en}")

    def tell(self, words: str) -> None:
        """Say something."""
        if not self._quiet:
            typer.echo(words)

    def federation(self, *words: object) -> None:
        """A federation command that needs no hub."""
        self._run("federation", *words)

    def answer(self, *words: object) -> dict[str, Any]:
        """The JSON answer of a federation command that needs no hub."""
        return self._run("federation", *words)[-1]

    def hub(self, name: str, *words: object, fails: bool = False) -> list[dict[str, Any]]:
        """A command in the hub of a party; answers its JSON lines.

        Raises:
            typer.Exit: it ended otherwise than expected.
        """
        return self._run("--hub", name, *words, fails=fails)

    def _run(self, *words: object, fails: bool = False) -> list[dict[str, Any]]:
        """One command, as it is typed, but in this process: thirty starts of Python would be most of the demo."""
        typed = [str(word) for word in words]
        self.tell("$ dianhuan " + " ".join(word if word and " " not in word else f"'{word}'" for word in typed))
        printed, before = io.StringIO(), Path.cwd()
        os.chdir(self.folder)
        try:
            with redirect_stdout(printed), redirect_stderr(printed):
                code = self._command.main(typed, prog_name="dianhuan", standalone_mode=False)
        except DianhuanError as error:
            code = 1
            printed.write(json.dumps(error.as_dict(), ensure_ascii=False) + "\n")
        finally:
            os.chdir(before)
        if bool(code) != fails:
            typer.echo(printed.getvalue(), err=True)
            raise typer.Exit(1)
        return [json.loads(line) for line in printed.getvalue().splitlines() if line.startswith("{")]

    @contextmanager
    def serving(self, name: str, port: int) -> Iterator[str]:
        """A hub that serves; SIGTERM at the end."""
        environ = {**os.environ, "DIANHUAN_API__PORT": str(port)}
        log = (self.folder / name / "serve.log").open("w")
        with log:
            server = subprocess.Popen(
                [*_MAIN, "--hub", name, "serve"], cwd=self.folder, env=environ, stdout=log, stderr=log
            )
            url = f"http://127.0.0.1:{port}"
            try:
                _wait(server, url)
                yield url
            finally:
                server.terminate()
                server.wait(30)

    def ask(self, url: str, key: str, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A question over GraphQL."""
        self.tell(f"POST {url}/graphql {' '.join(query.split())}")
        headers = {"Authorization": f"Bearer {key}"}
        body = {"query": query, "variables": dict(variables or {})}
        answer: dict[str, Any] = httpx.post(f"{url}/graphql", json=body, headers=headers, timeout=60).json()
        return answer

    def write(self, name: str, text: str, *, more: bool = False) -> Path:
        """Write a file of the stage."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a" if more else "w", encoding="utf-8") as file:
            file.write(text)
        return path


def service_key(name: str, divisions: str) -> tuple[str, str]:
    """A new service key and its section of hub.toml."""
    key = secrets.token_urlsafe(24)
    digest = hashlib.sha256(key.encode()).hexdigest()
    section = (
        f'\n[keys.{name}]\nsha256 = "{digest}"\nrole = "agency"\ndivisions = ["{divisions}"]\npurpose = "演示 demo"\n'
    )
    return key, section


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: subprocess.Popen[bytes], url: str) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and server.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise ConfigError(f"the hub at {url} did not start", hint="see serve.log in its folder")
