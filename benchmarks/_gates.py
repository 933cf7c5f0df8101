"""The hub's gates for findings that were made outside of a hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from dianhuan_hub.screening import Gates
from dianhuan_sdk import Block, Finding, ModelContext, ModelSpec


def hub_gates(
    block: Block, context: ModelContext, tables: Mapping[str, pa.Table], found: Sequence[tuple[ModelSpec, Finding]]
) -> list[bool]:
    """Whether each finding passes the gates of its model; no case is open."""
    gates = Gates(block, context, tables, {})
    gates.prepare([f.entity_id for _, f in found])
    return [all(answer.passed for answer in gates.answer(f, s.gates)) for s, f in found]
