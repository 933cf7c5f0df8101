"""One city's log: rows drawn from a seed, statements, envelopes, cosigned heads, files as a mirror keeps them."""

from __future__ import annotations

import importlib.util
import random
import shutil
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from dianhuan_federation.bundle import log_hash
from dianhuan_federation.core import Ed25519Signer, parse_checkpoint
from dianhuan_federation.core._rows import row_root

DAY = 86_400
INDUSTRIES = ('"C2614"', '"C3011"', '"B0610"', '"H6110"', "null")
MODELS = ("m05-night-only", "m01-flat-load", "m12-holiday")


@cache
def world() -> ModuleType:
    """The builders of the conformance vectors: fixed keys, trust repository, statements; keys are made once a name."""
    path = Path(__file__).parents[2] / "conformance" / "federation" / "conformance_world.py"
    spec = importlib.util.spec_from_file_location("conformance_world", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["conformance_world"] = module
    spec.loader.exec_module(module)
    plain = module.signer

    @cache
    def signer(name: str) -> Ed25519Signer:
        made: Ed25519Signer = plain(name)
        return made

    module.signer = signer  # type: ignore[attr-defined]
    return module


def draw_rows(rng: random.Random, hub: str, batch: int, count: int, at: int) -> bytes:
    """Canonical warning rows in order of their id; the schema's check stands in `bench_fed_country`."""
    iso = world().iso
    day, raised = iso(at - DAY)[:10], iso(at)[:11]
    lines = []
    for number in range(count):
        r = rng.getrandbits(60)
        lines.append(
            f'{{"day":"{day}","division":"{hub}","enterprise":"9143010{r % 10}M{"AFH"[r % 3]}{r % 10**8:08d}",'
            f'"enterprise_name":null,"industry":{INDUSTRIES[r % 5]},'
            f'"model_id":"{MODELS[r % 3]}","model_version":"1.2","raised_at":"{raised}{r % 24:02d}:{r % 60:02d}:00Z",'
            f'"record_id":"{hub}-{batch:04d}-{number:06d}","score":"0.{r % 10_000:04d}"}}\n'
        )
    return "".join(lines).encode()


class City:
    """A city's log.

    Args:
        code: GB/T 2260.
        seed: of its rows.
        median: rows a day, median of a log-normal with sigma 0.8, at most 20,000.
    """

    def __init__(self, code: str, seed: int, median: int = 400) -> None:
        self.code = code
        self.rng = random.Random(f"{seed}/{code}")
        self.median = median
        self.log: Any = world().Log(code)
        self.log.add_policy()
        self.batches = 0
        self.rows = 0
        self.published_at = 0
        self._written = 0

    @property
    def origin(self) -> str:
        """Its log."""
        origin: str = self.log.origin
        return origin

    @property
    def size(self) -> int:
        """Entries in its published head."""
        return parse_checkpoint(self.log.heads[-1])[0].size if self.log.heads else 0

    def add_day(self, at: int, count: int | None = None, payload: bytes | None = None) -> bytes:
        """Log one batch about the day before; its rows."""
        if count is None:
            count = max(1, min(20_000, round(self.median * self.rng.lognormvariate(0, 0.8))))
        if payload is None:
            payload = draw_rows(self.rng, self.code, self.batches, count, at)
        count = payload.count(b"\n")
        iso = world().iso
        fields = self.log.batch_fields(
            payload, count, row_root(payload), period={"start": iso(at - DAY), "end": iso(at)}
        )
        statement = self.log.statement("result-batch", "warnings", fields, payload, issued_at=iso(at))
        self.log.add(statement)
        self.batches += 1
        self.rows += count
        return payload

    def add_heartbeat(self, at: int) -> None:
        """Log that it is alive."""
        fields = {"streams": 1}
        self.log.add(self.log.statement("heartbeat", "heartbeats", fields, issued_at=world().iso(at)))

    def publish(self, at: int, witnesses: tuple[str, ...] | None = None) -> None:
        """Sign a head; all witnesses cosign at that time."""
        self.published_at = at
        self.log.publish(at, *(() if witnesses is None else (witnesses,)))

    def write(self, folder: Path) -> None:
        """Write what is new as a mirror keeps it: `mirror/logs/<hash>/…`, `blob/sha256/…`; frees the payloads."""
        place = folder / "mirror" / "logs" / log_hash(self.origin)
        files = self.log.tiles()
        for old in (place / "tile").glob("**/*.p"):
            shutil.rmtree(old)
        for path, data in files.items():
            target = place / path
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
        (place / "checkpoints").mkdir(parents=True, exist_ok=True)
        for note in self.log.heads[self._written :]:
            (place / "checkpoints" / str(parse_checkpoint(note)[0].size)).write_bytes(note)
        self._written = len(self.log.heads)
        blobs = folder / "blob" / "sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        for name, blob in self.log.blobs.items():
            (blobs / name).write_bytes(blob)
        self.log.blobs.clear()
        aside = place / ".checkpoint.new"
        aside.write_bytes(self.log.heads[-1])
        aside.replace(place / "checkpoint")
