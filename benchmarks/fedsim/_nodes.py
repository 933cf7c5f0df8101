"""The country's nodes: one mirror a province, in a few processes; each serves the logs of its cities."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fedsim._cities import PROVINCES
from benchmarks.fedsim._city import City, world
from benchmarks.fedsim._reader import READER


class Nodes:
    """Node processes over a folder.

    Args:
        folder: `nodes/<province>/…`, `trust/`, `root.json`, `policy.txt`, `now`.
        cities: all of them, each with a published head.
        processes: how many processes serve.
    """

    def __init__(self, folder: Path, cities: Sequence[City], processes: int = 2) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        hubs = {c.code: world().hub_file(c.code) for c in cities} | {READER: world().hub_file(READER)}
        self.builder = world().TrustBuilder(hubs=hubs, provinces=tuple(f"prov-{p}" for p in PROVINCES))
        (folder / "root.json").write_bytes(self.builder.bootstrap())
        for path, data in self.builder.build().items():
            target = folder / "trust" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        (folder / "policy.txt").write_bytes(world().policy_text())
        self.provinces = sorted({c.code[:2] for c in cities})
        # Held from here on and handed to the processes, so that no other run on this machine can get the same port.
        self._listening = {p: socket.create_server(("127.0.0.1", 0)) for p in self.provinces}
        self.ports = {p: held.getsockname()[1] for p, held in self._listening.items()}
        self.processes = processes
        self._running: list[subprocess.Popen[str]] = []

    def set_time(self, now: int) -> None:
        """What the nodes' clocks show."""
        aside = self.folder / ".now"
        aside.write_text(str(now))
        aside.replace(self.folder / "now")

    def place(self, city: City) -> Path:
        """Folder of the node that mirrors a city."""
        return self.folder / "nodes" / city.code[:2]

    def url(self, city: City) -> str:
        """Address of the node that mirrors a city."""
        return f"http://127.0.0.1:{self.ports[city.code[:2]]}"

    def cut(self, province: str, down: bool) -> None:
        """Cut a province off, or connect it again."""
        flag = self.folder / "nodes" / province / "down"
        flag.touch() if down else flag.unlink(missing_ok=True)

    def answered(self) -> tuple[int, int]:
        """Requests that all nodes answered so far, and the bytes of their bodies."""
        files = [self.folder / "nodes" / p / "requests" for p in self.provinces]
        counts = [file.read_text().split() for file in files if file.exists()]
        return sum(int(c[0]) for c in counts), sum(int(c[1]) for c in counts)

    def start(self) -> None:
        """Start the processes; every city must have been written once."""
        for number in range(self.processes):
            held = {p: self._listening[p].fileno() for p in self.provinces[number :: self.processes]}
            mine = [f"{p}={fd}" for p, fd in held.items()]
            if mine:
                self._running.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "benchmarks.fedsim._serve", str(self.folder), *mine],
                        stdout=subprocess.PIPE,
                        text=True,
                        cwd=Path(__file__).parents[2],
                        pass_fds=tuple(held.values()),
                    )
                )
        for process in self._running:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                self.stop()
                raise SystemExit("a node process did not start")

    def stop(self) -> None:
        """End the processes."""
        for process in self._running:
            process.terminate()
            process.wait(20)
            if process.stdout is not None:
                process.stdout.close()
        self._running.clear()
        for held in self._listening.values():
            held.close()
