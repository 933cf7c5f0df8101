"""Opening the hub for one command."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dianhuan_hub.cli._state import hub_config

if TYPE_CHECKING:
    from dianhuan_hub.app import Hub
    from dianhuan_sdk import PluginContext

Json = Annotated[bool, typer.Option("--json", help="输出 JSON（每行一个） · print JSON Lines")]
Day = Annotated[str | None, typer.Option("--day", help="日期，默认最新一天 · YYYY-MM-DD, the newest by default")]


@contextmanager
def opened() -> Iterator[Hub]:
    """The hub of this command; closed at its end."""
    from dianhuan_hub.app import open_hub

    with open_hub(hub_config()) as hub:
        yield hub


def ask(asked: dict[str, Any]) -> Any:
    """The running gateway answers; where none runs, the hub is opened for this command."""
    from dianhuan_hub.gateway import call, run

    try:
        return call(hub_config().data_dir / "gateway.sock", asked)
    except ConnectionError:
        with opened() as hub:
            return run(hub.devices, hub.gateway, asked)


class PluginHost:
    """The hub as a plugin's command gets it: `dianhuan_sdk.CommandHost`."""

    @contextmanager
    def service(self, plugin: str) -> Iterator[PluginContext]:
        """See `dianhuan_sdk.CommandHost.service`."""
        with opened() as hub:
            yield hub.service(plugin)[1]


def parsed_day(text: str) -> date:
    """A day written as YYYY-MM-DD.

    Raises:
        InputError: it is none.
    """
    from dianhuan_sdk import InputError

    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is no day", expected="YYYY-MM-DD, e.g. 2026-03-01") from None


def day_or_newest(hub: Hub, text: str | None) -> date:
    """The day that was given, or the newest day that holds curves.

    Raises:
        InputError: no day was given and the hub holds no curves.
    """
    from dianhuan_hub.store import newest_day
    from dianhuan_sdk import InputError

    if text is not None:
        return parsed_day(text)
    newest = newest_day(hub.store.engine)
    if newest is None:
        raise InputError("this hub holds no load curves yet", hint="dianhuan ingest load_curve FILE")
    return newest


def next_day(day: date) -> date:
    """The day after."""
    return day + timedelta(days=1)


def actor() -> str:
    """Who sits at the keyboard, for the audit log."""
    return f"cli:{getpass.getuser()}"
