"""The hub's copy of the trust repository, brought up to date from peers and bundles; never to an older state."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from dianhuan_federation.bundle import FolderFiles
from dianhuan_federation.core import PATHS, Trust, load_trust
from dianhuan_federation.log_store import write_durably
from dianhuan_federation.replica import Layered
from dianhuan_federation.suites import known_suites
from dianhuan_federation.sync._sources import Source
from dianhuan_sdk import StoragePort, TransientError

SEEN = "trust/seen"
MAX_METADATA = 2 * 1024 * 1024
MAX_HUB_FILES = 5000


class TrustStore:
    """The trust repository in a folder, and the versions seen last.

    Args:
        folder: the copy.
        bootstrap: the pinned root metadata.
        storage: keeps the versions seen, with the hub's other state.
        now: POSIX seconds.
    """

    def __init__(self, folder: Path, bootstrap: bytes, storage: StoragePort, now: int) -> None:
        self._folder = folder
        self._bootstrap = bootstrap
        self._storage = storage
        self._now = now

    @property
    def files(self) -> Mapping[str, bytes]:
        """The copy's files by path."""
        return FolderFiles(self._folder)

    @property
    def seen(self) -> dict[str, int]:
        """Role → version of the repository accepted last."""
        data = self._storage.state(SEEN)
        return {} if data is None else msgspec.json.decode(data, type=dict[str, int])

    def load(self) -> Trust:
        """The trust of now.

        Raises:
            Refused: the copy does not hold.
        """
        trust = load_trust(self._bootstrap, self.files, self._now, seen=self.seen, suites=known_suites())
        self._remember(trust)
        return trust

    def adopt(self, files: Mapping[str, bytes]) -> Trust:
        """Take metadata that came from somewhere, if it holds together with the copy and is not older.

        Raises:
            Refused: it does not; the copy stays as it is.
        """
        trust = load_trust(
            self._bootstrap, Layered(files, self.files), self._now, seen=self.seen, suites=known_suites()
        )
        names = sorted((path for path in files if PATHS.fullmatch(f"trust/{path}")), key=_order)
        for path in names:
            data = files[path]
            target = self._folder / path
            if not target.exists() or target.read_bytes() != data:
                write_durably(target, data)
        self._remember(trust)
        return trust

    async def refresh(self, source: Source) -> bool:
        """Look at a source for newer metadata; true if there was some.

        Raises:
            TransientError: no usable answer.
            Refused: what is there does not hold.
        """
        stamp = await source.get("trust/timestamp.json", MAX_METADATA)
        if stamp is None or self.files.get("timestamp.json") == stamp:
            return False
        found = {"timestamp.json": stamp}
        root = max((int(m[1]) for path in self.files if (m := _ROOT.fullmatch(path))), default=1)
        while (data := await source.get(f"trust/{root + 1}.root.json", MAX_METADATA)) is not None:
            root += 1
            found[f"{root}.root.json"] = data
            if len(found) > 64:
                raise TransientError(f"{source.name} has an endless chain of roots")
        for path in _versions(stamp, "snapshot.json"):
            await self._fetch(source, path, found)
            for role in _versions(found.get(path, b""), ""):
                await self._fetch(source, role, found)
                for hub in _hub_files(found.get(role, b"")):
                    await self._fetch(source, hub, found)
        self.adopt(found)
        return True

    async def _fetch(self, source: Source, path: str, found: dict[str, bytes]) -> None:
        known = self.files.get(path)
        # A hub file is named by its digest; other metadata of a known version was verified when it was adopted.
        if known is not None:
            found[path] = known
        elif PATHS.fullmatch(f"trust/{path}") and len(found) < MAX_HUB_FILES:
            data = await source.get(f"trust/{path}", MAX_METADATA)
            if data is not None:
                found[path] = data

    def _remember(self, trust: Trust) -> None:
        if dict(trust.versions) != self.seen:
            self._storage.commit([], {SEEN: msgspec.json.encode(dict(trust.versions))})


_ROOT = re.compile(r"([1-9][0-9]{0,8})\.root\.json")


def _order(path: str) -> tuple[int, str]:
    """Timestamp last, so that a crash half-way leaves the old repository whole."""
    return (1 if path == "timestamp.json" else 0, path)


def _versions(data: bytes, only: str) -> Iterable[str]:
    """File names of the metadata that a timestamp or snapshot lists; nothing of it is verified yet."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError, RecursionError):
        listed = msgspec.json.decode(data)["signed"]["meta"]
        return [f"{int(meta['version'])}.{name}" for name, meta in listed.items() if only in ("", name)][:64]
    return []


def _hub_files(data: bytes) -> Iterable[str]:
    with suppress(msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError, RecursionError):
        listed = msgspec.json.decode(data)["signed"].get("targets", {})
        found = []
        for path, target in listed.items():
            folder, _, name = path.rpartition("/")
            found.append(f"targets/{folder}/{target['hashes']['sha256']}.{name}")
        return found[:MAX_HUB_FILES]
    return []
