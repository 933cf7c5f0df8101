"""What the commands share: options, the answer as JSON, times, and errors in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from dianhuan_federation.core import Verdict
from dianhuan_sdk import DianhuanError, InputError

Root = Annotated[
    Path, typer.Option("--trust", exists=True, dir_okay=False, help="根信任文件 · root.json as handed over")
]
Witnesses = Annotated[Path, typer.Option("--policy", exists=True, dir_okay=False, help="见证策略 · witness policy")]
Bundle = Annotated[Path, typer.Option("--bundle", exists=True, dir_okay=False, help="数据包 · bundle (tar)")]
Now = Annotated[
    str, typer.Option("--now", help="判定时刻 · time to judge by, RFC 3339 (default: this machine's clock)")
]
Reader = Annotated[str, typer.Option("--reader", help="本方代码 · own hub id, empty for an auditor")]


def verdict_of(verdict: Verdict) -> Mapping[str, str | None]:
    """A verdict as the commands print it."""
    return {
        "state": str(verdict.state),
        "step": str(verdict.step) if verdict.step else None,
        "code": str(verdict.code) if verdict.code else None,
        "detail": verdict.detail,
    }


def print_json(value: object) -> None:
    """One line of JSON on stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def time_of(text: str) -> int:
    """POSIX seconds of a time given as an option; this machine's clock for an empty text.

    Raises:
        InputError: no RFC 3339 time with a zone.
    """
    if not text:
        return int(datetime.now(UTC).timestamp())
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise InputError(f"time {text[:40]!r}", expected="RFC 3339 with a zone, e.g. 2026-11-24T06:30:00Z")
    return int(time.timestamp())


@contextmanager
def told() -> Iterator[None]:
    """Expected errors as JSON on stderr and exit code 2."""
    try:
        yield
    except DianhuanError as error:
        typer.echo(json.dumps(error.as_dict(), ensure_ascii=False), err=True)
        raise typer.Exit(2) from None
