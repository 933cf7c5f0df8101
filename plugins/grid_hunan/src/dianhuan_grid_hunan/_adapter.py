"""The adapter: four streams, by file, folder, SFTP or REST."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from dianhuan_grid_hunan._config import FileDelivery, FolderDelivery, HunanConfig, SftpDelivery, file_config
from dianhuan_grid_hunan._profile import StreamProfile, load_profile
from dianhuan_grid_hunan._rest import read_rest
from dianhuan_grid_hunan._sftp import read_sftp
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
    Window,
)
from dianhuan_sdk.tabular import FileReader, Folder, ensure_complete, read_file, read_in_thread, within
from dianhuan_standards import TABLES


class HunanAdapter:
    """Reads one configured source; streams are those of the profile."""

    def __init__(self, context: PluginContext) -> None:
        assert isinstance(context.config, HunanConfig)
        self._context = context
        self._delivery = context.config.delivery
        self._profile = load_profile(context.config.profile)

    async def check(self) -> CheckReport:
        """Is the delivery there, and are its secrets?"""
        delivery = self._delivery
        try:
            if isinstance(delivery, FileDelivery):
                ensure_complete(delivery.path)
            elif isinstance(delivery, FolderDelivery):
                if not delivery.path.is_dir():
                    return CheckReport(False, f"no folder {delivery.path}", "make it, or correct `delivery.path`")
            elif isinstance(delivery, SftpDelivery):
                self._context.secret(delivery.password or delivery.key)  # type: ignore[arg-type]
                async for _ in read_sftp(self._context, delivery, None, _no_reader, None, None):
                    break
            else:
                self._context.secret(delivery.secret)
        except DianhuanError as error:
            return CheckReport(False, error.message, error.hint)
        return CheckReport(True)

    async def discover(self) -> Sequence[StreamInfo]:
        """The profile's streams."""
        return [
            StreamInfo(name, tuple(m.table for m in stream.tables), stream.zh, stream.en)
            for name, stream in self._profile.streams.items()
        ]

    async def read(
        self, stream: str, window: Window | None = None, cursor: Cursor | None = None
    ) -> AsyncIterator[Batch | Checkpoint | Discard]:
        """Read a stream: see `GridAdapter.read`."""
        profile = self._profile.streams.get(stream)
        if profile is None:
            raise ConfigError(
                f"no stream {stream!r}", expected=f"one of {', '.join(self._profile.streams)}", hint="correct it"
            )
        delivery, context = self._delivery, self._context
        if isinstance(delivery, FileDelivery):
            items = self._file(delivery.path, profile, window)
        elif isinstance(delivery, FolderDelivery):
            folder = Folder(delivery.path, profile.pattern, delivery.control_file, delivery.settle_seconds)
            contract = TABLES[profile.tables[0].table]
            items = folder.read(
                contract, reader_of(profile), context.clock.now(), context.log, window, cursor, profile.day_of
            )
        elif isinstance(delivery, SftpDelivery):
            items = read_sftp(context, delivery, profile, reader_of(profile), window, cursor)
        else:
            items = read_rest(context, delivery, self._profile.rest, stream, profile, window, cursor)
        async for item in items:
            yield item

    async def _file(
        self, path: Path, profile: StreamProfile, window: Window | None
    ) -> AsyncIterator[Batch | Checkpoint | Discard]:
        stats: Counter[str] = Counter()
        digest = ""
        async for batch in read_in_thread(reader_of(profile)(path.resolve(), None, stats)):
            digest = batch.source.sha256
            yield within(batch, window)
        yield Checkpoint({"file": path.name, "sha256": digest}, path.name, dict(stats))


def reader_of(profile: StreamProfile) -> FileReader:
    """Reads one file into every table that it fills."""

    def read(path: Path, source: SourceRef | None, stats: Counter[str]) -> Iterator[Batch]:
        for mapping in profile.tables:
            for batch in read_file(path, mapping, TABLES[mapping.table], source, stats):
                source = batch.source
                yield batch

    return read


def _no_reader(path: Path, source: SourceRef | None, stats: Counter[str]) -> Iterator[Batch]:
    return iter(())


SPEC = GridAdapterSpec(
    id="grid_hunan",
    zh="国网湖南",
    en="State Grid Hunan",
    config_model=HunanConfig,
    factory=HunanAdapter,
    delivery=("file", "folder", "sftp", "rest"),
    file_config=file_config,
)
