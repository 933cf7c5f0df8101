"""What the kit found out about a plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["bronze", "silver", "gold"]
Status = Literal["done", "failed", "todo", "exempt"]
_LEVELS: tuple[Level, ...] = ("bronze", "silver", "gold")


class NotMet(Exception):
    """A check's answer: what was seen instead of what is asked."""


class NotTried(Exception):
    """A check's answer: it cannot be tried yet, and what is missing."""


@dataclass(frozen=True, slots=True)
class Result:
    """Outcome of one check.

    Args:
        check: id of the check, e.g. `model.deterministic`.
        subject: what was looked at: the plugin, or one of its models or adapters.
        level: the level that asks for it.
        status: `done` (it holds), `failed`, `todo` (could not be tried), `exempt` (with the reason given).
        words: what was seen, what is missing, or why it is exempt.
    """

    check: str
    subject: str
    level: Level
    status: Status
    words: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All results of one plugin."""

    plugin: str
    results: Sequence[Result]

    @property
    def level(self) -> Level | None:
        """The highest level that asks for something and has it, with those below; None below bronze."""
        reached: Level | None = None
        for level in _LEVELS:
            asked = [r for r in self.results if r.level == level]
            if any(r.status not in ("done", "exempt") for r in asked):
                break
            reached = level if asked else reached
        return reached

    @property
    def failed(self) -> Sequence[Result]:
        """The checks that do not hold."""
        return [r for r in self.results if r.status == "failed"]

    def as_dict(self) -> Mapping[str, Any]:
        """The report for machines."""
        return {"plugin": self.plugin, "level": self.level, "results": [asdict(r) for r in self.results]}
