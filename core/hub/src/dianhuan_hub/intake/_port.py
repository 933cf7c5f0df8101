"""The storage port: what a plugin sees of the store, narrowed to what its manifest declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import pyarrow as pa

from dianhuan_hub.intake._intake import Intake, Source
from dianhuan_hub.intake._unit import Gathered
from dianhuan_hub.store import Query, Store, count_by, read_state, read_stream
from dianhuan_sdk import Batch, Manifest, PluginError, Receipt, SourceRef, TableContract


class HubStorage:
    """`StoragePort` of one plugin.

    Args:
        store, intake: of the hub; every row a plugin commits is checked like any other.
        manifest: of the plugin.
        version: of its distribution, for lineage.
        owned: contracts of the tables that the plugin owns, by name.
    """

    def __init__(
        self, store: Store, intake: Intake, manifest: Manifest, version: str, owned: Mapping[str, TableContract]
    ) -> None:
        self._store = store
        self._intake = intake
        self._manifest = manifest
        self._version = version
        self._owned = owned

    def read(
        self,
        table: str,
        *,
        columns: Sequence[str] | None = None,
        equals: Mapping[str, object] | None = None,
        start: date | None = None,
        end: date | None = None,
        prefix: Mapping[str, str | Sequence[str]] | None = None,
        order: Sequence[tuple[str, bool]] = (),
        after: Sequence[object] | None = None,
        limit: int | None = None,
    ) -> pa.RecordBatchReader:
        """See `dianhuan_sdk.StoragePort.read`."""
        query = self._query(table, equals, start, end, prefix)
        return read_stream(self._store.engine, query, columns, order=order, after=after, limit=limit)

    def count(
        self,
        table: str,
        by: Sequence[str],
        *,
        equals: Mapping[str, object] | None = None,
        start: date | None = None,
        end: date | None = None,
        prefix: Mapping[str, str | Sequence[str]] | None = None,
    ) -> pa.Table:
        """See `dianhuan_sdk.StoragePort.count`."""
        return count_by(self._store.engine, self._query(table, equals, start, end, prefix), by)

    def commit(self, batches: Sequence[Batch], state: Mapping[str, bytes] | None = None) -> Receipt:
        """See `dianhuan_sdk.StoragePort.commit`."""
        gathered = Gathered()
        for batch in batches:
            self._declared(batch.table, "writes", self._manifest.capabilities.writes)
            self._intake.check_and_gather(gathered, batch)
        source = Source(self._manifest.id, self._manifest.id, self._version, "commit", None)
        ref = batches[0].source if batches else SourceRef("")
        receipt = self._intake.commit(source, gathered, ref, None, state={self._manifest.id: state or {}})
        return Receipt(receipt.load_id, receipt.accepted, receipt.quarantined, receipt.unchanged, receipt.corrected)

    def state(self, key: str) -> bytes | None:
        """See `dianhuan_sdk.StoragePort.state`."""
        with self._store.engine.cursor() as con:
            return read_state(con, self._manifest.id, key)

    def _query(
        self,
        table: str,
        equals: Mapping[str, object] | None,
        start: date | None,
        end: date | None,
        prefix: Mapping[str, str | Sequence[str]] | None,
    ) -> Query:
        self._declared(table, "reads", self._manifest.capabilities.reads)
        owned = self._owned.get(table)
        return Query(table, equals=equals or {}, prefix=prefix or {}, start=start, end=end, owned=owned)

    def _declared(self, table: str, kind: str, tables: tuple[str, ...]) -> None:
        if table not in tables and table not in self._owned:
            raise PluginError(
                f"plugin {self._manifest.id} {kind} {table}, which its manifest does not declare",
                expected=f"one of {', '.join(tables) or '(none)'}",
                hint=f"add {table} to capabilities.{kind} in its plugin.toml",
            )
