"""Violators that stop or lie low after a visit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dianhuan_simulator._stories import Story

_STANDS_STILL = frozenset({"before_acceptance"})
"""Kinds that stand still while they pause; all others go back to what they do lawfully."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """Entities that pause on a day: whose phase and boost are lifted, and who stand still."""

    lifted: list[int]
    stopped: list[int]


class Pauses:
    """Days [from, to) on which a violator of a block does not violate; empty until somebody visits."""

    def __init__(self, acts: Sequence[Story]) -> None:
        self._of: dict[int, list[tuple[int, int]]] = {}
        self._careful: dict[int, float] = {}
        self._kind = {s.entity: s.kind for s in acts if s.violation}

    def add(self, entity: int, start: int, end: int, careful: float) -> None:
        """A pause, and the level of the load that follows it."""
        self._of.setdefault(entity, []).append((start, end))
        self._careful[entity] = careful

    def level(self, entity: int, offset: int) -> float:
        """Factor of the violation's load on a day: 0 in a pause, the careful level after one."""
        mine = self._of.get(entity, ())
        if any(start <= offset < end for start, end in mine):
            return 0.0
        return self._careful[entity] if any(end <= offset for _, end in mine) else 1.0

    def on(self, offset: int) -> Quiet:
        """Who pauses on a day."""
        now = [e for e in self._of if self.level(e, offset) == 0]
        return Quiet(
            [e for e in now if self._kind.get(e) not in _STANDS_STILL],
            [e for e in now if self._kind.get(e) in _STANDS_STILL],
        )

    def parts(self, story: Story) -> Iterator[tuple[int, int]]:
        """The stretches [start, end) of a story that are left."""
        start = story.start
        for pause, resume in sorted(self._of.get(story.entity, ()) if story.violation else ()):
            if pause > start:
                yield start, min(pause, story.end)
            start = max(start, resume)
        if start < story.end:
            yield start, story.end
