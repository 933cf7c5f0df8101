"""`dianhuan night`: what a hub does every night, once, now."""

from __future__ import annotations

import asyncio

import typer

from dianhuan_hub.cli._hub import Json, opened
from dianhuan_hub.cli._output import emit, progress


def command(as_json: Json = False) -> None:
    """Read every source, screen the newest day, seal old days, drop old raw files."""
    from dianhuan_hub.night import run_night

    with opened() as hub, progress("夜间作业 night") as advance:
        report = asyncio.run(run_night(hub, lambda _: advance(0)))
    facts = report.as_dict()
    if as_json:
        emit(facts, as_json=True)
    else:
        emit(
            {
                "accepted": sum(load["accepted"] for load in facts["loads"]),
                "quarantined": sum(load["quarantined"] for load in facts["loads"]),
                "screened": [run["day"] for run in facts["screenings"]],
                "warnings": sum(run["warnings"] for run in facts["screenings"]),
                "cases": sum(run["cases"] for run in facts["screenings"]),
                "sealed": facts["sealed"],
                "errors": [f"{step}: {error}" for step, error in report.errors.items()],
            },
            as_json=False,
        )
    if report.errors:
        raise typer.Exit(1)
