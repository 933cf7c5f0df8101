"""Registers one plugin with pluggy and collects its descriptors, with every implementation called on its own."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterable, Mapping
from typing import Any

import pluggy
from pydantic import BaseModel

from dianhuan_sdk import PluginError
from dianhuan_sdk import hooks as hookspecs


def _registration_hooks() -> dict[str, type[Any]]:
    found = {}
    for name, function in inspect.getmembers(hookspecs, inspect.isfunction):
        answer = typing.get_type_hints(function).get("return") if name.startswith("dianhuan_") else None
        if typing.get_origin(answer) is Iterable:
            found[name] = typing.get_args(answer)[0]
    return found


REGISTRATION: Mapping[str, type[Any]] = _registration_hooks()
"""Registration hooks of the SDK (those that return `Iterable[Descriptor]`), and the descriptor of each."""

_ID = re.compile(r"[a-z][a-z0-9_-]{1,60}")


def plugin_manager() -> pluggy.PluginManager:
    """A manager of its own: two hubs can live in one process."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def collect(manager: pluggy.PluginManager, plugin: object, name: str) -> dict[str, list[Any]]:
    """Register a plugin and call its registration hooks.

    A bare hook call would stop at the first implementation that raises, and would not say whose it was.

    Returns:
        hook → descriptors.

    Raises:
        PluginError: the plugin declares something that is not a registration.
        Exception: whatever the plugin raises; the caller guards.
    """
    manager.register(plugin, name)
    manager.check_pending()  # a misspelt hook
    return {hook: _descriptors(manager, hook, kind, name) for hook, kind in REGISTRATION.items()}


def _descriptors(manager: pluggy.PluginManager, hook: str, kind: type[Any], name: str) -> list[Any]:
    caller: pluggy.HookCaller = getattr(manager.hook, hook)
    found: list[Any] = []
    for implementation in caller.get_hookimpls():
        if implementation.plugin_name != name:
            continue
        if implementation.wrapper or implementation.hookwrapper:
            raise PluginError(f"{hook} is a wrapper", expected="a plain function", hint="remove wrapper=True")
        answer: Any = implementation.function()
        if inspect.iscoroutine(answer):
            answer.close()
            raise PluginError(f"{hook} is asynchronous", expected="a plain function", hint="write `def`")
        for descriptor in answer or ():
            _check(descriptor, kind, hook)
            found.append(descriptor)
    return found


def _check(descriptor: object, kind: type[Any], hook: str) -> None:
    if not isinstance(descriptor, kind):
        raise PluginError(
            f"{hook} returned a {type(descriptor).__name__}",
            expected=f"an iterable of {kind.__name__}",
            hint="return descriptors of dianhuan_sdk",
        )
    identity, model = getattr(descriptor, "id", None), getattr(descriptor, "config_model", None)
    if not isinstance(identity, str) or not _ID.fullmatch(identity):
        raise PluginError(f"{hook}: id {identity!r}", expected="lower-case letters, digits, - and _", hint="rename it")
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise PluginError(f"{hook}: {identity}: config_model {model!r}", expected="a pydantic model class")
