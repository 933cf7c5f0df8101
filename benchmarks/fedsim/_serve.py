"""A process that serves several provinces' nodes, each a real `node_app` under uvicorn on a port of its own.

    python -m benchmarks.fedsim._serve FOLDER 43=5 44=6 …

The numbers are file descriptors of sockets that listen. Time is what stands in `FOLDER/now`. A province whose folder
holds a file `down` is cut off: it answers 503.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from starlette.responses import PlainTextResponse

from benchmarks.fedsim._city import world
from dianhuan_federation.bundle import FolderFiles
from dianhuan_federation.core import load_trust
from dianhuan_federation.guard import CheckpointGuard
from dianhuan_federation.log_store import TileLog
from dianhuan_federation.nodes import Cosigner, NodeConfig, create_node, node_app


class Cut:
    """The app, unless the province is cut off; counts requests and bytes of their answers in `requests`."""

    def __init__(self, app: Any, folder: Path) -> None:
        self._app = app
        self._folder = folder
        self.requests = 0
        self.bytes = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        app = PlainTextResponse("cut off", 503) if (self._folder / "down").exists() else self._app

        async def counted(message: Any) -> None:
            self.bytes += len(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self.requests += 1
                (self._folder / "requests").write_text(f"{self.requests} {self.bytes}")
            await send(message)

        await app(scope, receive, counted)


async def main() -> None:
    """Serve until killed."""
    root = Path(sys.argv[1])
    trust = load_trust((root / "root.json").read_bytes(), FolderFiles(root / "trust"), world().NOW)
    servers = []
    for name, _, number in (argument.partition("=") for argument in sys.argv[2:]):
        listening = socket.socket(fileno=int(number))
        folder = root / "nodes" / name
        folder.mkdir(parents=True, exist_ok=True)
        origin = f"fed.example/{name}0000/access"
        access = TileLog.create(
            folder / "access", origin, world().signer(f"access-{name}"), CheckpointGuard(folder / "access.guard")
        )
        config = NodeConfig(
            folder=folder,
            bases=[f"http://127.0.0.1:{listening.getsockname()[1]}"],
            access=access,
            mirror=Cosigner(f"prov.example/m{name}", world().signer(f"m{name}")),
            trust_folder=root / "trust",
        )
        create_node(config)
        app = node_app(config, lambda: trust, lambda: float((root / "now").read_text()))
        server = uvicorn.Server(uvicorn.Config(Cut(app, folder), log_level="error", lifespan="off"))
        servers.append(server.serve(sockets=[listening]))
    print("ready", flush=True)
    await asyncio.gather(*servers)


if __name__ == "__main__":
    asyncio.run(main())
