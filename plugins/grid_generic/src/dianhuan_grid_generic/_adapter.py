"""The adapter: a file, a watched folder or a paged REST source, each by its mapping."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import httpx

from dianhuan_grid_generic import green_button
from dianhuan_grid_generic._config import GenericConfig, RestConfig, StreamConfig, file_config, resolve_mapping
from dianhuan_sdk import (
    Batch,
    Checkpoint,
    CheckReport,
    ConfigError,
    Cursor,
    DianhuanError,
    Discard,
    GridAdapterSpec,
    PluginContext,
    SourceRef,
    StreamInfo,
    TableContract,
    Window,
)
from dianhuan_sdk.rest import pages
from dianhuan_sdk.tabular import (
    FileReader,
    Folder,
    Mapping,
    ensure_complete,
    read_file,
    read_in_thread,
    read_rows,
    within,
)
from dianhuan_standards import TABLES


class GenericAdapter:
    """Reads one configured source; stream ids are table names."""

    def __init__(self, context: PluginContext) -> None:
        assert isinstance(context.config, GenericConfig)
        self._context = context
        self._streams = context.config.streams

    async def check(self) -> CheckReport:
        """Are files, folders and mappings there?"""
        for name, stream in self._streams.items():
            try:
                mapping = resolve_mapping(stream.mapping)
                if mapping is not None and mapping.table and mapping.table != name:
                    return CheckReport(False, f"{name}: its mapping is for {mapping.table}", "name another mapping")
                if stream.file is not None:
                    ensure_complete(stream.file)
                if stream.rest is not None and stream.rest.bearer is not None:
                    self._context.secret(stream.rest.bearer)
            except DianhuanError as error:
                return CheckReport(False, f"{name}: {error.message}", error.hint)
            if stream.folder is not None and not stream.folder.path.is_dir():
                return CheckReport(False, f"{name}: no folder {stream.folder.path}", "make it, or correct the path")
        return CheckReport(True)

    async def discover(self) -> Sequence[StreamInfo]:
        """The configured tables."""
        return [StreamInfo(name, (name,), TABLES[name].zh, TABLES[name].name) for name in self._streams]

    async def read(
        self, stream: str, window: Window | None = None, cursor: Cursor | None = None
    ) -> AsyncIterator[Batch | Checkpoint | Discard]:
        """Read a table: see `GridAdapter.read`."""
        if stream not in self._streams:
            raise ConfigError(
                f"no stream {stream!r} in this source",
                expected=f"one of {', '.join(self._streams)}",
                hint="add it under `streams`",
            )
        config, contract = self._streams[stream], TABLES[stream]
        mapping = resolve_mapping(config.mapping)
        if config.folder is not None:
            items = self._folder(config, contract, mapping, window, cursor)
        elif config.rest is not None:
            items = self._rest(config.rest, contract, mapping, window, cursor)
        else:
            items = self._file(config, contract, mapping, window)
        async for item in items:
            yield item

    async def _file(
        self, config: StreamConfig, contract: TableContract, mapping: Mapping | None, window: Window | None
    ) -> AsyncIterator[Batch | Checkpoint | Discard]:
        path = config.file
        assert path is not None
        source: SourceRef | None = None
        stats: Counter[str] = Counter()
        async for batch in read_in_thread(reader_of(contract, mapping)(path.resolve(), None, stats)):
            source = batch.source
            yield within(batch, window)
        yield Checkpoint({"file": path.name, "sha256": source.sha256 if source else ""}, path.name, dict(stats))

    async def _folder(
        self,
        config: StreamConfig,
        contract: TableContract,
        mapping: Mapping | None,
        window: Window | None,
        cursor: Cursor | None,
    ) -> AsyncIterator[Batch | Checkpoint | Discard]:
        assert config.folder is not None
        folder = Folder(**dict(config.folder))
        now, log = self._context.clock.now(), self._context.log
        async for item in folder.read(contract, reader_of(contract, mapping), now, log, window, cursor):
            yield item

    async def _rest(
        self,
        config: RestConfig,
        contract: TableContract,
        mapping: Mapping | None,
        window: Window | None,
        cursor: Cursor | None,
    ) -> AsyncIterator[Batch | Checkpoint | Discard]:
        params = {}
        if window is not None:
            wanted = ((config.start_param, window.start), (config.end_param, window.end))
            params = {name: day.isoformat() for name, day in wanted if name}
        start = "" if window is not None else str((cursor or {}).get("at", ""))
        async with self._context.http() as client:
            async for page in pages(client, config, start=start, params=params, sign=self._sign(config)):
                source = SourceRef(page.url, page.sha256)
                count = 0
                if page.rows:
                    async for batch in read_in_thread(read_rows(page.rows, mapping, contract, source)):
                        part = within(batch, window)
                        count += part.rows.num_rows
                        yield part
                # The last page is asked for again next time: rows may have been added to it.
                yield Checkpoint({"at": page.next or page.position}, f"page {page.position}", {"rows": count})

    def _sign(self, config: RestConfig) -> Callable[[httpx.Request], None] | None:
        if config.bearer is None:
            return None
        secret = self._context.secret(config.bearer)

        def sign(request: httpx.Request) -> None:
            request.headers["Authorization"] = f"Bearer {secret.reveal()}"

        return sign


def reader_of(contract: TableContract, mapping: Mapping | None) -> FileReader:
    """What reads one file of a table: Green Button XML by its first bytes, anything else by the mapping."""

    def read(path: Path, source: SourceRef | None, stats: Counter[str]) -> Iterator[Batch]:
        ensure_complete(path)
        if contract.name == "load_curve" and green_button.is_green_button(path):
            return green_button.read_green_button(path, contract, source)
        return read_file(path, mapping, contract, source, stats)

    return read


SPEC = GridAdapterSpec(
    id="grid_generic",
    zh="通用电网数据（映射文件）",
    en="Generic grid data by a mapping file",
    config_model=GenericConfig,
    factory=GenericAdapter,
    delivery=("file", "folder", "rest"),
    file_config=file_config,
)
