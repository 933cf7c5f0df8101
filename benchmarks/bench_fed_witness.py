"""The witness: cosignatures a second, each on the disk before it is answered, beside `aics-witness` where it is there.

    python benchmarks/bench_fed_witness.py [--logs 20] [--rounds 20] [--runs 5]

Both witnesses run in a process of their own and are asked over HTTP on loopback by one client that keeps its
connection, log after log, with a consistency proof each time. Requests are made before the clock starts. The order of
the two alternates from run to run. What the disk does with fsync decides: the script says what one fsync takes here.
"""

from __future__ import annotations

import argparse
import http.client
import importlib.util
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import _report

from dianhuan_federation.core import (
    ED25519,
    Checkpoint,
    Ed25519Signer,
    consistency_proof,
    format_note,
    leaf_hash,
    nodes_of,
    note_key,
    sign_note,
    tree_root,
)
from dianhuan_federation.nodes._wire import format_add_checkpoint

OURS = """
import sys, time
from hashlib import sha256
from pathlib import Path
import uvicorn
from starlette.applications import Starlette
from dianhuan_federation.core import Ed25519Signer, Freshness, Hub, HubKey, Trust
from dianhuan_federation.nodes import Limits
from dianhuan_federation.nodes._errors import on_error
from dianhuan_federation.nodes._heads import HeadStore
from dianhuan_federation.nodes._witness import Witness
from dianhuan_sdk import DianhuanError
folder, logs = Path(sys.argv[1]), int(sys.argv[3])
signer = lambda name: Ed25519Signer(sha256(name.encode()).digest())
hubs = {}
for number in range(logs):
    hub = f"43{number:04d}"
    key = HubKey("log", signer(f"log {hub}").public, 0, 2**40, None)
    hubs[hub] = Hub(hub, hub, {f"bench.example/{hub}/r1": 0}, (key,), frozenset({"ed25519"}), ())
trust = Trust(hubs, {"prov-43": Freshness.FRESH}, {})
heads = HeadStore(folder, create=True)
witness = Witness("w.example/1", signer("witness"), heads, lambda: trust, time.time, Limits())
app = Starlette(routes=witness.routes(), exception_handlers={DianhuanError: on_error})
uvicorn.run(app, port=int(sys.argv[2]), log_level="error", lifespan="off")
"""


def signer(name: str) -> Ed25519Signer:
    """A signer by name."""
    return Ed25519Signer(sha256(name.encode()).digest())


def requests(logs: int, rounds: int) -> list[bytes]:
    """`add-checkpoint` bodies: each log grows by one entry a round."""
    bodies = []
    for size in range(1, rounds + 1):
        for number in range(logs):
            origin = f"bench.example/43{number:04d}/r1"
            leaves = [leaf_hash(b"%d" % i) for i in range(size)]
            text = Checkpoint(origin, size, tree_root(leaves)).text
            note = format_note(text, [sign_note(text, origin, signer(f"log 43{number:04d}"))])
            proof = consistency_proof(nodes_of(leaves), size - 1, size) if size > 1 else []
            bodies.append(format_add_checkpoint(size - 1, proof, note))
    return bodies


def ask(port: int, path: str, bodies: list[bytes]) -> tuple[float, list[float]]:
    """Seconds in all, and of each request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    each = []
    began = time.perf_counter()
    for body in bodies:
        start = time.perf_counter()
        connection.request("POST", path, body)
        # A server that writes head and body apart would else wait 40 ms for our delayed acknowledgement.
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        answer = connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{answer.status} {data[:300]!r}")
        each.append(time.perf_counter() - start)
    connection.close()
    return time.perf_counter() - began, each


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until it listens and answers."""
    for _ in range(200):
        if process.poll() is not None:
            raise SystemExit("the witness ended")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            connection.request("GET", "/" + "0" * 64 + "/checkpoint")
            connection.getresponse().read()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the witness does not answer")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def ours(folder: Path, logs: int, bodies: list[bytes]) -> tuple[float, list[float]]:
    """Our witness."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", OURS, folder / "state", str(port), str(logs)])
    try:
        wait_for(port, process)
        return ask(port, "/add-checkpoint", bodies)
    finally:
        process.terminate()
        process.wait(10)


def theirs(folder: Path, logs: int, bodies: list[bytes]) -> tuple[float, list[float]]:
    """`aics-witness`."""
    config = folder / "witness.json"
    command = [sys.executable, "-m", "aics_witness"]
    subprocess.run([*command, "init", "--name", "w.example/1", "--config", config], check=True, capture_output=True)
    settings = json.loads(config.read_text())
    settings["logs"] = [
        {"origin": origin, "vkeys": [note_key(origin, ED25519, signer(f"log 43{n:04d}").public).vkey]}
        for n in range(logs)
        for origin in [f"bench.example/43{n:04d}/r1"]
    ]
    config.write_text(json.dumps(settings))
    port = free_port()
    process = subprocess.Popen(
        [*command, "serve", "--listen", f"127.0.0.1:{port}", "--config", config], stderr=subprocess.DEVNULL
    )
    try:
        wait_for(port, process)
        return ask(port, "/add-checkpoint", bodies)
    finally:
        process.terminate()
        process.wait(10)


def fsync_seconds() -> float:
    """Median seconds of one fsync of 4 KiB."""
    with tempfile.NamedTemporaryFile() as file:

        def once() -> None:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())

        return statistics.median(_report.timed(once, 50))


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    bodies = requests(options.logs, options.rounds)
    witnesses = {"ours": ours}
    if importlib.util.find_spec("aics_witness") is not None:
        witnesses["aics-witness"] = theirs
    seconds: dict[str, list[float]] = {name: [] for name in witnesses}
    each: dict[str, list[float]] = {name: [] for name in witnesses}
    for run in range(options.runs):
        for name in sorted(witnesses, reverse=bool(run % 2)):
            with tempfile.TemporaryDirectory() as folder:
                total, single = witnesses[name](Path(folder), options.logs, bodies)
            seconds[name].append(total)
            each[name] += single
    facts: dict[str, Any] = {"cosignatures_a_run": len(bodies), "fsync_ms": round(1000 * fsync_seconds(), 3)}
    for name in witnesses:
        facts[name] = {
            "cosignatures_per_second": round(len(bodies) / statistics.median(seconds[name]), 1),
            "seconds": _report.summary(seconds[name]),
            "p50_ms": round(1000 * statistics.median(each[name]), 2),
            "p99_ms": round(1000 * statistics.quantiles(each[name], n=100)[98], 2),
        }
    _report.write("fed_witness", facts)


if __name__ == "__main__":
    main()
