"""What a publication did, or would do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dianhuan_federation.core import lines_of
from dianhuan_federation.publish._desk import Draft
from dianhuan_federation.publish._plan import Refusal
from dianhuan_federation.publish._witnesses import Witnessing


@dataclass(frozen=True, slots=True)
class PublishReport:
    """The answer of one operation.

    Args:
        origin: the log.
        size: its entries now, or as they would be.
        drafts: the statements, with the rows of each.
        refused: what was due and did not leave.
        left_out: source → rows that no policy shares.
        witnessed: cosignatures; None where nothing was signed (a dry run).
    """

    origin: str
    size: int
    drafts: Sequence[Draft] = ()
    refused: Sequence[Refusal] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    witnessed: Witnessing | None = None

    def as_dict(self, rows: bool = False) -> dict[str, Any]:
        """For machines.

        Args:
            rows: every row that leaves too.
        """
        return {
            "origin": self.origin,
            "size": self.size,
            "statements": [_draft(draft, rows) for draft in self.drafts],
            "refused": [{"policy": r.policy, "stream": r.stream, "reason": r.reason} for r in self.refused],
            "left_out": dict(self.left_out),
            "witnessed": None
            if self.witnessed is None
            else {
                "names": list(self.witnessed.names),
                "quorum": self.witnessed.quorum,
                "pending": self.witnessed.pending,
            },
        }


def _draft(draft: Draft, rows: bool) -> dict[str, Any]:
    lines = lines_of(draft.payload or b"")
    about: dict[str, Any] = {
        "index": draft.index,
        "kind": draft.kind,
        "stream": draft.stream,
        "policy": draft.policy or None,
        "recipients": list(draft.recipients),
        "rows": len(lines),
    }
    if rows:
        about["statement"] = json.loads(draft.statement)
        about["content"] = [json.loads(line) for line in lines]
    return about
