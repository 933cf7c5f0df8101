"""Runs in a process of its own: imports one module and prints what the import did, as JSON.

Only ever imported by such a process. The SDK, Arrow and numpy are imported before the clock
starts: every plugin may use them.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import threading
import time
from typing import Any

import dianhuan_sdk  # noqa: F401

_NETWORK = frozenset({"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto"})


def probe(module: str) -> dict[str, Any]:
    """Seconds, threads left, network events, files opened for writing, forbidden packages."""
    seen: list[str] = []
    written: list[str] = []

    def listen(event: str, args: tuple[Any, ...]) -> None:
        if event in _NETWORK:
            seen.append(event)
        elif (
            event == "open"
            and isinstance(args[0], (str, bytes))
            and isinstance(args[2], int)
            and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        ):
            name = str(args[0])
            if "__pycache__" not in name and name != os.devnull:
                written.append(name)

    before = threading.active_count()
    sys.addaudithook(listen)
    began = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        importlib.import_module(module)
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "threads": threading.active_count() - before,
        "network": sorted(set(seen)),
        "written": written,
        "forbidden": sorted({"duckdb", "dianhuan_hub"} & sys.modules.keys()),
    }


def main(module: str) -> None:
    """Probe and print."""
    print(json.dumps(probe(module)))
