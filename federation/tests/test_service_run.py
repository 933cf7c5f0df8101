"""The background work of a hub's federation part."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from dianhuan_federation import service
from dianhuan_federation.nodes._service import HubTrust
from dianhuan_sdk import LOCAL_ZONE


async def test_pulls_end_with_the_publications_that_fail(
    world: ModuleType, sync_parts: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub starts the work again after an error; a pull left over would go on beside the new one."""
    home = sync_parts.Home(world, tmp_path / "home")
    context = home.subscriber().context
    settings = context.config.model_copy(
        update={"roles": ("publisher", "subscriber"), "publish_at": "02:00", "sync_minutes": 60}
    )
    pulling: list[str] = []

    async def follow(context: Any, subscriber: Any) -> None:
        pulling.append("on")
        try:
            await asyncio.Event().wait()
        finally:
            pulling.append("off")

    async def fails(context: Any, config: Any) -> None:
        await asyncio.sleep(0)
        raise RuntimeError("a defect")

    monkeypatch.setattr("dianhuan_federation.sync.follow", follow)
    monkeypatch.setattr(service, "_publish_daily", fails)
    monkeypatch.setattr(service, "_settings", lambda _: settings)
    with pytest.raises(ExceptionGroup):
        await service._run(context)
    assert pulling == ["on", "off"]


async def test_a_hub_without_a_log_of_its_own_follows_its_peers(
    world: ModuleType, sync_parts: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = sync_parts.Home(world, tmp_path / "home").subscriber(origin="", sync_minutes=60, signs=False).context
    followed: list[str] = []

    async def follow(context: Any, subscriber: Any) -> None:
        followed.append(subscriber.reader)

    monkeypatch.setattr("dianhuan_federation.sync.follow", follow)
    await service._run(context)
    assert followed == [""]


@pytest.mark.parametrize(("hour", "waits"), [(1, [3600.0 * 1, 3600.0]), (12, [0.0, 3600.0])])
async def test_a_time_that_was_missed_is_made_up_and_a_full_disk_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, hour: int, waits: list[float]
) -> None:
    said: list[str] = []
    slept: list[float] = []

    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 2:
            raise asyncio.CancelledError

    def error(text: str, *values: object) -> None:
        said.append(text % values)

    now = datetime(2027, 1, 15, hour, tzinfo=LOCAL_ZONE)
    monkeypatch.setattr("dianhuan_federation.publish.publisher_of", full)
    monkeypatch.setattr(service.asyncio, "sleep", sleep)
    context: Any = SimpleNamespace(
        clock=SimpleNamespace(now=lambda: now, today=now.date), log=SimpleNamespace(error=error)
    )
    with pytest.raises(asyncio.CancelledError):
        await service._publish_daily(context, SimpleNamespace(publish_at="02:00"))
    assert slept[:2] == waits
    assert ["No space left" in words for words in said] == [True, True]


def test_a_node_knows_hubs_that_sign_with_further_suites(
    world: ModuleType, sync_parts: ModuleType, tmp_path: Path
) -> None:
    both = world.hub_file(world.HUB, required_suites=["ed25519", "sm2-sm3"])
    home = sync_parts.Home(world, tmp_path / "home", world.TrustBuilder(hubs={world.HUB: both}))
    trust = HubTrust((home.folder / "root.json").read_bytes(), home.folder / "trust", home.subscriber().context)
    assert world.HUB in trust().hubs
