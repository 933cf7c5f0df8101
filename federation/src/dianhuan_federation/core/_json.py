"""Canonical JSON (RFC 8785) without floats, and a parser that refuses what a canonical writer never emits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from dianhuan_sdk import InputError

MAX_INTEGER = 2**53 - 1
"""Largest magnitude that every JSON reader keeps exactly (RFC 8785 section 3.2.2.3, I-JSON)."""

MAX_DEPTH = 16


def canonical(value: object) -> bytes:
    """The one canonical UTF-8 encoding of a JSON value.

    Raises:
        InputError: a float, an integer beyond ±(2^53-1), a lone surrogate, a key that is no text or another type.
    """
    ordered = _ordered(value, 0)
    try:
        return json.dumps(ordered, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise InputError("a text holds a lone surrogate", expected="Unicode scalar values") from None


def _ordered(value: object, depth: int) -> object:
    if depth > MAX_DEPTH:
        raise InputError(f"nested deeper than {MAX_DEPTH}")
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise InputError(f"integer {value}", expected="within ±(2^53-1), larger numbers as text")
        return value
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise InputError("an object key that is no text")
        # Code points and UTF-16 units differ in order only beyond ASCII.
        plain = all(map(str.isascii, value))
        keys: list[str] = sorted(value, key=None if plain else lambda key: key.encode("utf-16-be", "surrogatepass"))
        return {key: _ordered(value[key], depth + 1) for key in keys}
    if isinstance(value, (list, tuple)):
        return [_ordered(item, depth + 1) for item in value]
    raise InputError(f"a {type(value).__name__}", expected="null, bool, integer, text, list or object; no floats")


def parse(data: bytes) -> Any:
    """Parse JSON strictly; the spelling need not be canonical.

    Raises:
        InputError: not UTF-8, a byte order mark, duplicate keys, floats, NaN, large integers, lone surrogates or
            nesting deeper than `MAX_DEPTH`.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_float=_no_float,
            parse_constant=_no_float,
            parse_int=_integer,
        )
    except UnicodeDecodeError:
        raise InputError("not UTF-8") from None
    except RecursionError:
        raise InputError(f"nested deeper than {MAX_DEPTH}") from None
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON: {error}") from None
    # The hooks have judged numbers and keys; what is left can only stand in a text with escapes or many brackets.
    if b"\\u" in data or data.count(b"{") + data.count(b"[") > MAX_DEPTH:
        canonical(value)
    return value


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InputError(f"key {key[:40]!r} stands twice in one object")
        found[key] = value
    return found


def _no_float(text: str) -> NoReturn:
    raise InputError(f"number {text[:40]}", expected="integers; decimals are texts")


def _integer(text: str) -> int:
    if len(text) > 17 or text == "-0" or abs(value := int(text)) > MAX_INTEGER:
        raise InputError(f"integer {text[:40]}", expected="within ±(2^53-1) and no negative zero")
    return value
