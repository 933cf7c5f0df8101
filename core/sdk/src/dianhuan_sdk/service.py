"""Services: the long-lived part of a plugin, with one configuration and, where it needs them, tables of its own.

A service may have any of: tables that the plugin owns, work in the background, HTTP routes, a field of the GraphQL
root, and (through `CommandHost`) commands that need the hub. All of them get the same `PluginContext`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from pydantic import BaseModel

from dianhuan_sdk.context import PluginContext
from dianhuan_sdk.contracts import TableContract

_Message: TypeAlias = MutableMapping[str, Any]
ASGIApp: TypeAlias = Callable[
    [_Message, Callable[[], Awaitable[_Message]], Callable[[_Message], Awaitable[None]]], Awaitable[None]
]
"""An ASGI 3 application."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks over GraphQL; the hub has checked the key.

    Args:
        name: of the service key.
        purpose: purpose of use, as it stands in the audit log.
        divisions: beginnings of the GB/T 2260 codes that the key sees; None where it sees everything here.
    """

    name: str
    purpose: str
    divisions: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class GraphQLPart:
    """One field of the GraphQL root.

    Args:
        field: its name in the schema; a name that is taken refuses the plugin.
        type: gives the Strawberry type when the API is built, so that a command that serves nothing imports none of
            it; names of its types must be the plugin's own.
        resolve: makes the value of that type for one request. It and its fields run in the hub's event loop: what
            reads the storage port is `async` and does so in a thread.
        lists: names of fields below it that take `first` and answer with that many rows: their cost is counted so.
    """

    field: str
    type: Callable[[], type[Any]]
    resolve: Callable[[PluginContext, Caller], object]
    lists: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """Descriptor that a plugin registers for a service.

    Args:
        id: stable id; its settings stand under `[plugins.PLUGIN.ID]`.
        zh, en: labels.
        config_model: pydantic model of the settings; the defaults must hold, so that the plugin loads without any.
        tables: contracts that the plugin owns (`owner` is its id). The hub stores them: a row replaces the row of its
            key, and nothing of the replaced row is kept. The plugin may read and write them without declaring them.
        run: work in the background while the hub serves; cancelled at the end, started again after an error.
        routes: an ASGI application, served below `/PLUGIN`; whom it answers is its own business.
        graphql: a field of the GraphQL root.
    """

    id: str
    zh: str
    en: str
    config_model: type[BaseModel]
    tables: tuple[TableContract, ...] = ()
    run: Callable[[PluginContext], Awaitable[None]] | None = None
    routes: Callable[[PluginContext], ASGIApp] | None = None
    graphql: GraphQLPart | None = None


class CommandHost(Protocol):
    """What a plugin's command finds in `typer.Context.obj`: the hub, opened when it is asked for."""

    def service(self, plugin: str) -> AbstractContextManager[PluginContext]:
        """The context of a plugin's service, in the hub that the command line names.

        Raises:
            ConfigError: there is no hub there, or its settings are wrong.
            PluginError: the plugin is not loaded or has no service.
        """
        ...
