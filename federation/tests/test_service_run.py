"""The background work of a hub's federation part."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from dianhuan_federation import service
from dianhuan_federation.nodes._service import HubTrust


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


async def test_a_full_disk_today_is_no_reason_not_to_publish_tomorrow(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    waits = iter([0.0, 0.0])

    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    def error(text: str, *values: object) -> None:
        said.append(text % values)

    monkeypatch.setattr("dianhuan_federation.publish.publisher_of", full)
    monkeypatch.setattr(service, "_seconds_until", lambda *_: next(waits))
    context: Any = SimpleNamespace(
        clock=SimpleNamespace(now=lambda: None, today=lambda: None), log=SimpleNamespace(error=error)
    )
    with pytest.raises(RuntimeError):  # there is no third day
        await service._publish_daily(context, SimpleNamespace(publish_at="02:00"))
    assert ["No space left" in words for words in said] == [True, True]


def test_a_node_knows_hubs_that_sign_with_further_suites(
    world: ModuleType, sync_parts: ModuleType, tmp_path: Path
) -> None:
    both = world.hub_file(world.HUB, required_suites=["ed25519", "sm2-sm3"])
    home = sync_parts.Home(world, tmp_path / "home", world.TrustBuilder(hubs={world.HUB: both}))
    trust = HubTrust((home.folder / "root.json").read_bytes(), home.folder / "trust", home.subscriber().context)
    assert world.HUB in trust().hubs
