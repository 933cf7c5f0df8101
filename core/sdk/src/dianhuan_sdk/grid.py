"""Grid data: the adapter protocol and its descriptor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel

from dianhuan_sdk.batches import Batch, Checkpoint, Cursor, Discard, Window
from dianhuan_sdk.context import PluginContext


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream that an adapter offers: its id, the tables it fills, and words."""

    id: str
    tables: tuple[str, ...]
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """Answer of `check()`: may the adapter start, and if not, what is missing and what to do."""

    ok: bool
    message: str = ""
    hint: str = ""


class GridAdapter(Protocol):
    """Reads one source of grid data."""

    async def check(self) -> CheckReport:
        """Try the source without reading data."""
        ...

    async def discover(self) -> Sequence[StreamInfo]:
        """The streams that can be read."""
        ...

    def read(
        self, stream: str, window: Window | None = None, cursor: Cursor | None = None
    ) -> AsyncIterator[Batch | Checkpoint | Discard]:
        """Read a stream.

        Args:
            stream: an id of `discover()`.
            window: civil days wanted (a backfill); None reads what is new after the cursor. With a window the
                cursor is ignored and the host stores no checkpoint, so that a backfill never moves the live one.
            cursor: position of the last stored checkpoint, or None for the beginning.

        Yields:
            Batches, and checkpoints after units that are complete (a file, a page); `Discard` where one turns out
            not to be.

        Raises:
            SourceError: sorted by what the host does about it.
            InputError: one unit is unreadable; the adapter may also yield its rows as rejects and go on.
        """
        ...


@dataclass(frozen=True, slots=True)
class GridAdapterSpec:
    """Descriptor that a plugin registers for one adapter.

    Args:
        id: stable id, e.g. `grid_hunan`.
        zh, en: labels.
        config_model: pydantic model of one configured source.
        factory: makes the adapter from its context; `context.config` is a `config_model`.
        delivery: how data comes, for people and for `plugin inspect`.
        file_config: makes the config for `dianhuan ingest STREAM FILE`: `(stream, file, mapping file or None)`;
            None where the adapter reads no single files.
    """

    id: str
    zh: str
    en: str
    config_model: type[BaseModel]
    factory: Callable[[PluginContext], GridAdapter]
    delivery: tuple[Literal["file", "folder", "rest", "sftp"], ...] = field(default=("file",))
    file_config: Callable[[str, Path, Path | None], BaseModel] | None = None
