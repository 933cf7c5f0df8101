"""What the tests of replica and sync share; every part is real: SQLite, files, sockets on loopback."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from dianhuan_federation.core import Submission
from dianhuan_federation.replica import FEDERATED_TABLES, Delivery, Merge, Merged

SqliteStore = sys.modules["sync_store"].SqliteStore
TABLES = [table.name for table in FEDERATED_TABLES]


@dataclass
class Subscriber:
    """A replica in a folder."""

    world: ModuleType
    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store = SqliteStore(self.folder / "hub.sqlite", FEDERATED_TABLES)
        self.replica = self.folder / "replica"

    def merge(self, trust: Any = None, **changes: Any) -> Merge:
        """A merge as province 44 would do it now."""
        return Merge(self.store, self.replica, self.world.verifier(trust, **changes))

    def take(self, *submissions: Submission, **changes: Any) -> list[Merged]:
        """Merge some deliveries."""
        return list(self.merge(**changes).take(Delivery(s.origin, s, "folder") for s in submissions))

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table by key."""
        found: list[dict[str, Any]] = self.store.rows(table)
        return found

    def tables(self, leave: Sequence[str] = ()) -> dict[str, list[dict[str, Any]]]:
        """Every table but what depends on when and how a delivery came."""
        own = {"last_pull_at", "last_ok_at", "via", *leave}
        return {t: [{k: v for k, v in row.items() if k not in own} for row in self.rows(t)] for t in TABLES}

    def states(self, table: str = "federated_warning") -> dict[tuple[int, str], tuple[str, int | None]]:
        """(index, record) → (state, successor)."""
        return {(r["index"], r["record_id"]): (r["state"], r["superseded_by"]) for r in self.rows(table)}
