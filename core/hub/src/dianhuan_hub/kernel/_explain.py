"""From a pydantic error to a `ConfigError` that names the place, what was given, what is right and what to do."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dianhuan_sdk import ConfigError, SecretRef

M = TypeVar("M", bound=BaseModel)


def validated(
    model: type[M],
    table: Mapping[str, Any],
    *,
    file: str,
    path: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    private: frozenset[str] = frozenset(),
) -> M:
    """An instance of `model` from a table of the configuration.

    Args:
        model: the pydantic model that the table must fit.
        table: the table as read.
        file: the file it comes from, for the message.
        path: where the table stands in the file, e.g. `("sources", "zhuzhou", "config")`.
        environment: path of a key → environment variable that set it, for the message.
        private: names of keys whose values are never shown.

    Raises:
        ConfigError: for the first thing that is wrong.
    """
    try:
        return model.model_validate(dict(table))
    except ValidationError as error:
        raise explain(error, model, file, path, environment or {}, private) from None


def explain(
    error: ValidationError,
    model: type[BaseModel],
    file: str,
    path: Sequence[str],
    environment: Mapping[str, str],
    private: frozenset[str],
) -> ConfigError:
    """The `ConfigError` for the first of pydantic's errors, with the number of further ones."""
    details = error.errors()
    first = details[0]
    inner = [str(part) for part in _without_union_tags(first["loc"], first["type"])]
    place = ".".join([*path, *inner]) or "(top level)"
    origin = environment.get(place)
    where = f"environment variable {origin}" if origin else file
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    if first["type"] == "extra_forbidden":
        known = sorted(_keys_at(model, first["loc"][:-1]))
        near = difflib.get_close_matches(str(first["loc"][-1]), known, 1)
        return ConfigError(
            f"{where}: unknown key {place}{more}",
            expected=f"one of {', '.join(known)}" if known else "no such key",
            hint=f"did you mean {near[0]}?" if near else f"remove {place} or correct its name",
        )
    if first["type"] == "missing":
        return ConfigError(
            f"{where}: {place} is missing{more}", expected=_doc(model, first["loc"]), hint=f"add {place} to {file}"
        )
    given = "a value that is not shown" if _is_private(first, private) else _short(first["input"])
    return ConfigError(
        f"{where}: {place} = {given}{more}",
        expected=_expected(first, model),
        hint=f"unset or correct {origin}" if origin else f"correct {place} in {file}",
    )


def _without_union_tags(loc: tuple[int | str, ...], kind: str) -> tuple[int | str, ...]:
    # pydantic appends the member's name to the location of an error inside a union, e.g. `tuple[str, ...]`
    return tuple(part for part in loc if not (isinstance(part, str) and ("[" in part or part in {"str", "int"})))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _is_private(detail: ErrorDetails, private: frozenset[str]) -> bool:
    """A password typed where `env:NAME` belongs must not be echoed: secrets are told by type, not by name."""
    parts = [str(part) for part in detail["loc"]]
    return (
        private.intersection(parts) != frozenset()
        or detail.get("ctx", {}).get("class_name") == SecretRef.__name__
        or (parts[-1:] == ["ref"] and detail["type"] == "string_pattern_mismatch")
    )


def _expected(detail: ErrorDetails, model: type[BaseModel]) -> str:
    if detail.get("ctx", {}).get("class_name") == SecretRef.__name__ or detail["loc"][-1:] == ("ref",):
        return 'a reference to a secret: { ref = "env:NAME" } or { ref = "file:PATH" }'
    text = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    doc = _doc(model, detail["loc"])
    return f"{text} ({doc})" if doc else text


def _doc(model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    owner = _model_at(model, loc[:-1])
    info = owner.model_fields.get(str(loc[-1])) if owner and loc else None
    return (info.description or "") if info else ""


def _keys_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    owner = _model_at(model, loc)
    return list(owner.model_fields) if owner else []


def _model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    here: Any = model
    for part in loc:
        if isinstance(here, type) and issubclass(here, BaseModel):
            info = here.model_fields.get(str(part))
            here = info.annotation if info else None
        elif typing.get_origin(here) in (dict, Mapping, list, tuple):
            here = typing.get_args(here)[-1 if typing.get_origin(here) in (dict, Mapping) else 0]
        if typing.get_origin(here) in (typing.Union, types.UnionType):
            members = [m for m in typing.get_args(here) if isinstance(m, type) and issubclass(m, BaseModel)]
            here = members[0] if len(members) == 1 else here
    return here if isinstance(here, type) and issubclass(here, BaseModel) else None
