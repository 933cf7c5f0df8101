"""What the tests of grid_hunan share."""

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
            plugin_id="grid_hunan",
            config=config,
            secret=secret,
            clock=Clock(),
            log=logging.getLogger("grid_hunan"),
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


ARCHIVE = (
    "户号,户名,统一社会信用代码,用电地址,区县代码,行业分类,用电类别,合同容量,运行容量,电压等级,计量点编号,电表资产号,"
    "综合倍率,所属线路,所属台区,上网方式,立户日期,销户日期,状态,关联生效日期,关联失效日期"
)
CURVE = "户号,计量点编号,电表资产号,日期,综合倍率,数据类型," + ",".join(f"P{i}" for i in range(1, 97))
OUTAGE = "停电编号,线路编号,台区编号,停电类型,停电时间,复电时间,停电原因"


@pytest.fixture
def headers() -> dict[str, str]:
    """Header line of each stream's file."""
    return {"archive": ARCHIVE, "curve": CURVE, "correction": CURVE, "outage": OUTAGE}


@pytest.fixture
def put(tmp_path: Path, headers: dict[str, str]) -> Callable[..., Path]:
    """Write a file of a stream as the grid company would; gives its path."""
    folder = tmp_path / "grid"
    folder.mkdir()

    def write(name: str, *lines: str, encoding: str = "gb18030") -> Path:
        stream = {"correct": "correction"}.get(name.split("_")[0], name.split("_")[0])
        path = folder / name
        path.write_bytes("".join(f"{line}\n" for line in (headers[stream], *lines)).encode(encoding))
        return path

    return write


@pytest.fixture
def curve_line() -> Callable[..., str]:
    """A line of a curve file."""

    def make(point: str, day: str = "2026-01-05", value: Any = 0.5, multiplier: Any = 100, kind: int = 1) -> str:
        values = value if isinstance(value, list) else [value] * 96
        return ",".join(["H1", point, "A1", day, str(multiplier), str(kind), *map(str, values)])

    return make
