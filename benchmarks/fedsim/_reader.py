"""The reader: a real hub, opened as `dianhuan serve` opens it, with the federation's service and subscriber."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks.fedsim._city import world
from dianhuan_federation.config import FederationConfig
from dianhuan_federation.sync import Subscriber
from dianhuan_hub.app import Hub, open_hub
from dianhuan_hub.kernel.config import load_config, write_template

READER = "440000"


class SimClock:
    """A clock that is set."""

    def __init__(self, now: int) -> None:
        self.time = now

    def now(self) -> datetime:
        """The instant."""
        return datetime.fromtimestamp(self.time, UTC)

    def today(self) -> date:
        """The day."""
        return self.now().date()


class Reader:
    """A hub that follows logs.

    Args:
        folder: the hub's.
        country: the folder with trust metadata, pinned root and witness policy.
        peers: `origin` with `url` or `folder` of each log.
        now: POSIX seconds.
    """

    def __init__(self, folder: Path, country: Path, peers: Sequence[dict[str, str]], now: int) -> None:
        self.clock = SimClock(now)
        folder.mkdir(parents=True)
        key = Ed25519PrivateKey.from_private_bytes(world().seed(f"transport-{READER}"))
        pem = folder / "transport.pem"
        pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        pem.chmod(0o600)
        write_template(folder / "hub.toml", "广东省", READER)
        listed = ", ".join("{" + ", ".join(f"{k} = {json.dumps(v)}" for k, v in p.items()) + "}" for p in peers)
        with (folder / "hub.toml").open("a", encoding="utf-8") as file:
            file.write(
                f"""
[plugins.federation.hub]
origin = "fed.example/{READER}/r1"
roles = ["subscriber"]
guard = {json.dumps(str(folder / "guard"))}
trust = {json.dumps(str(folder / "trust"))}
root = {json.dumps(str(country / "root.json"))}
witness_policy = {json.dumps(str(country / "policy.txt"))}
transport_key = {{ref = {json.dumps(f"file:{pem}")}}}
allow_private = ["127.0.0.0/8"]
peers = [{listed}]
"""
            )
        for path in sorted((country / "trust").rglob("*.json")):
            target = folder / "trust" / path.relative_to(country / "trust")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
        self.hub: Hub = open_hub(load_config(folder, {}), clock=self.clock)
        _, self.context = self.hub.service("federation")
        assert isinstance(self.context.config, FederationConfig)
        self.subscriber = Subscriber.of(self.context, self.context.config)

    def count(self, table: str, **equals: Any) -> int:
        """Rows of a table."""
        found = self.context.storage.read(table, columns=["origin"], equals=equals).read_all()
        return int(found.num_rows)

    def close(self) -> None:
        """Close the hub."""
        self.subscriber.close()
        self.hub.close()
