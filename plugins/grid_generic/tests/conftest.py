"""What the tests of grid_generic share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from dianhuan_sdk import LOCAL_ZONE, Batch, Checkpoint, PluginContext, Secret, SecretRef


class Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def today(self) -> date:
        return self.now().astimezone(LOCAL_ZONE).date()


class Metrics:
    def count(self, name: str, amount: float = 1.0, **labels: str) -> None: ...

    def gauge(self, name: str, value: float, **labels: str) -> None: ...


@pytest.fixture
def context(tmp_path: Path) -> Callable[[Any], PluginContext]:
    """A context as the host makes it, for one config; every secret is `s3cret`."""

    def secret(ref: SecretRef) -> Secret:
        return Secret("s3cret")

    def make(config: Any) -> PluginContext:
        folder = tmp_path / "scratch"
        folder.mkdir(exist_ok=True)
        return PluginContext(
            plugin_id="grid_generic",
            config=config,
            secret=secret,
            clock=Clock(),
            log=logging.getLogger("grid_generic"),
            metrics=Metrics(),
            http=lambda: httpx.AsyncClient(trust_env=False),
            storage=None,  # type: ignore[arg-type]
            folder=folder,
        )

    return make


@pytest.fixture
def drain() -> Callable[..., list[Batch | Checkpoint]]:
    """All that a stream gives."""

    def run(adapter: Any, stream: str, **more: Any) -> list[Batch | Checkpoint]:
        async def collect() -> list[Batch | Checkpoint]:
            return [item async for item in adapter.read(stream, **more)]

        return asyncio.run(collect())

    return run


@pytest.fixture
def measured() -> Callable[[str], Path]:
    """A measured data set; skips where the shared data is absent."""

    def find(name: str) -> Path:
        path = Path(__file__).resolve().parents[3].parent / "shared" / "data" / name
        if not path.exists():
            pytest.skip(f"measured data not here: ../shared/data/{name}")
        return path

    return find
