"""Calls into plugins: exceptions, hangs and series of failures stay with the plugin."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import pytest

from dianhuan_hub.kernel.clock import FixedClock, SystemClock
from dianhuan_hub.kernel.guard import Guard
from dianhuan_sdk import ConfigError, InputError, PluginError, TransientError


class Steps:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.instant = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.instant

    def today(self) -> date:
        return self.instant.date()


def fail() -> None:
    raise ValueError("broken")


def test_answer_passes_and_progress_is_noted() -> None:
    clock = Steps()
    guard = Guard("vendor", clock)
    assert guard.last_progress is None
    assert guard.call("step", lambda: 7) == 7
    assert guard.last_progress == clock.instant
    assert guard.call("step", lambda: 8, timeout=30) == 8


def test_exception_names_plugin_and_step() -> None:
    guard = Guard("vendor", Steps())
    with pytest.raises(PluginError, match="plugin vendor: read: ValueError: broken") as caught:
        guard.call("read", fail)
    assert "plugin disable vendor" in caught.value.hint
    assert isinstance(caught.value.__cause__, ValueError)
    assert guard.last_error is caught.value


@pytest.mark.parametrize("kind", [ConfigError, InputError, TransientError])
def test_reports_about_source_and_input_pass_and_do_not_open_the_breaker(kind: type[Exception]) -> None:
    guard = Guard("vendor", Steps(), failures=1)

    def tell() -> None:
        raise kind("words")

    for _ in range(3):
        with pytest.raises(kind):
            guard.call("read", tell, timeout=30)
    assert not guard.is_open


def test_hostile_system_exit_stays_with_the_plugin() -> None:
    def leave() -> None:
        raise SystemExit(4)

    with pytest.raises(PluginError, match="SystemExit"):
        Guard("vendor", Steps()).call("read", leave)


def test_breaker_opens_rests_and_lets_one_call_through() -> None:
    clock = Steps()
    guard = Guard("vendor", clock, failures=2, pause=timedelta(minutes=5))
    calls: list[int] = []

    def count() -> None:
        calls.append(1)
        raise ValueError("broken")

    for _ in range(2):
        with pytest.raises(PluginError, match="broken"):
            guard.call("read", count)
    assert guard.is_open
    with pytest.raises(PluginError, match="failed 2 times in a row"):
        guard.call("read", count)
    assert len(calls) == 2
    clock.instant += timedelta(minutes=5)
    assert not guard.is_open
    with pytest.raises(PluginError, match="broken"):
        guard.call("read", count)
    assert guard.is_open
    assert len(calls) == 3
    clock.instant += timedelta(minutes=5)
    assert guard.call("read", lambda: 1) == 1
    with pytest.raises(PluginError, match="broken"):
        guard.call("read", count)
    assert not guard.is_open


def test_hostile_hang_of_a_synchronous_call() -> None:
    never = threading.Event()
    with pytest.raises(PluginError, match=r"check: no answer within 0\.05 s"):
        Guard("vendor", Steps()).call("check", lambda: never.wait(10), timeout=0.05)
    never.set()


async def test_asynchronous_calls() -> None:
    guard = Guard("vendor", SystemClock())

    async def answer() -> int:
        return 3

    async def hang() -> None:
        await asyncio.Event().wait()

    assert await guard.acall("check", answer) == 3
    with pytest.raises(PluginError, match="no answer within"):
        await guard.acall("check", hang, timeout=0.05)


async def test_a_cancelled_call_is_no_failure() -> None:
    guard = Guard("vendor", SystemClock(), failures=1)

    async def hang() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(guard.acall("check", hang))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not guard.is_open


async def test_hostile_cancellation_by_the_plugin_is_its_failure() -> None:
    async def cancelled() -> None:
        inner = asyncio.create_task(asyncio.sleep(10))
        inner.cancel()
        await inner

    with pytest.raises(PluginError, match="CancelledError"):
        await Guard("vendor", SystemClock()).acall("read", cancelled)


async def test_items_are_guarded_one_by_one_and_closed() -> None:
    guard = Guard("vendor", SystemClock())
    closed = []

    async def numbers(last: str) -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
            if last == "raise":
                raise ValueError("broken")
            if last == "hang":
                await asyncio.Event().wait()
        finally:
            closed.append(last)

    assert [n async for n in guard.items("read", lambda: numbers("end"))] == [1, 2]
    for last, words in (("raise", "ValueError: broken"), ("hang", "no answer within")):
        seen = []
        items = guard.items("read", functools.partial(numbers, last), timeout=0.05)
        with pytest.raises(PluginError, match=words):  # noqa: PT012
            async for n in items:
                seen.append(n)
        assert seen == [1, 2]
    assert closed == ["end", "raise", "hang"]


def test_clocks() -> None:
    clock = FixedClock.on(date(2026, 1, 2))
    assert clock.today() == date(2026, 1, 2)
    assert clock.now() == datetime(2026, 1, 1, 22, 30, tzinfo=UTC)
    assert SystemClock().now().utcoffset() == timedelta(0)
    with pytest.raises(ValueError, match="aware"):
        FixedClock(datetime(2026, 1, 1))  # noqa: DTZ001
