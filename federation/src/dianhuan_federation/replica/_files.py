"""The files of a followed log as they are kept: what was verified, so that any record can be proven with no network.

Every file here is derived from verified entries, not copied from a delivery: a courier who damages a hash tile or the
old part of an entry bundle cannot spoil proofs made later. Files are written before the commit that counts them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from dianhuan_federation.bundle import FolderFiles, log_hash
from dianhuan_federation.core import (
    Report,
    Submission,
    Tile,
    bundles_of,
    pack_entries,
    parse_checkpoint,
    tiles_of,
    unpack_entries,
)
from dianhuan_federation.log_store import grown_tiles
from dianhuan_federation.replica._statements import read_entry, wanted_blobs
from dianhuan_sdk import InputError

BLOBS = "blob/sha256"
WAITING = "waiting"


class ReplicaLog:
    """The folder of one followed log: `origin`, `checkpoint`, `checkpoints/<size>`, `tile/…`, `blob/sha256/<hex>`.

    Args:
        root: the replica's folder.
        origin: the log.
    """

    def __init__(self, root: Path, origin: str) -> None:
        self.origin = origin
        self.folder = root / log_hash(origin)

    def files(self) -> FolderFiles:
        """The log's files by path, as `prove_record` and a bundle take them."""
        return FolderFiles(self.folder)

    def blobs(self) -> FolderFiles:
        """SHA-256 in hex → payload bytes."""
        return FolderFiles(self.folder / BLOBS)

    def entry(self, index: int, size: int) -> bytes:
        """One verified entry of the tree of that size."""
        start = index // 256 * 256
        tile = Tile(None, index // 256, min(256, size - start))
        return unpack_entries(self._read(tile), tile.width)[index - start]

    def keep(self, report: Report, before: int, blobs: Mapping[str, bytes]) -> None:
        """Write what a report proves, not durably: the caller flushes once for many logs before it commits.

        Args:
            report: an accepted report.
            before: verified entries before it.
            blobs: payloads to keep.
        """
        size = report.state.size
        self._write("origin", f"{self.origin}\n".encode())
        for bundle in bundles_of(size, before) if size > before else ():
            start = bundle.index * 256
            kept: list[bytes] = []
            if start < before:
                kept = unpack_entries(self._read(Tile(None, bundle.index, before - start)), before - start)
            new = [e.entry for e in report.entries[max(0, start - before) : start + bundle.width - before]]
            self._write(bundle.path, pack_entries([*kept, *new]))
        for tile, data in grown_tiles(self._read, [e.leaf for e in report.entries], before):
            self._write(tile.path, data)
        for head in report.heads:
            path = f"checkpoints/{head.head.size}"
            # The note under which entries were verified stays, so that a replay finds the same witness time.
            if not (self.folder / path).exists():
                self._write(path, head.data)
        for name, blob in blobs.items():
            self.keep_blob(name, blob)
        self._write("checkpoint", report.state.checkpoint)

    def keep_blob(self, name: str, blob: bytes) -> None:
        """Write one payload; its name is its digest, so it is never written twice."""
        if not (self.folder / BLOBS / name).exists():
            self._write(f"{BLOBS}/{name}", blob)

    def tidy(self, before: int, size: int) -> None:
        """Remove partial tiles that a commit has made useless, and what was waiting for it."""
        new = {tile.path for tile in (*tiles_of(size, before), *bundles_of(size, before))}
        for tile in (*tiles_of(before, max(0, before - 1)), *bundles_of(before, max(0, before - 1))):
            if tile.width < 256 and tile.path not in new:
                with suppress(OSError):
                    (self.folder / tile.path).unlink()
                    (self.folder / tile.path).parent.rmdir()
        self.forget_waiting()

    def drop_blobs(self, names: Iterable[str]) -> None:
        """Remove redacted payloads."""
        for name in names:
            with suppress(FileNotFoundError):
                (self.folder / BLOBS / name).unlink()

    def evidence(self, data: bytes) -> str:
        """Keep the evidence of a fork; its path below the replica."""
        path = f"evidence/{sha256(data).hexdigest()[:16]}.json"
        self._write(path, data)
        return f"{self.folder.name}/{path}"

    def submission(self, size: int | None = None) -> Submission | None:
        """What is kept, as if it had just arrived, for a replay; None where there is nothing.

        Args:
            size: up to this head; the largest kept by default.
        """
        folder = self.folder / "checkpoints"
        sizes = sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit()) if folder.is_dir() else []
        sizes = [s for s in sizes if size is None or s <= size]
        if not sizes:
            return None
        notes = [(folder / str(s)).read_bytes() for s in sizes]
        return Submission(self.origin, notes[-1], notes[:-1], self.files(), self.blobs())

    def wait(self, submission: Submission) -> None:
        """Put aside a delivery that is not proven yet, so that a later note alone can complete it."""
        blobs = _named(submission)
        self.forget_waiting()
        self._write("origin", f"{self.origin}\n".encode())
        for path in submission.tiles:
            if path.startswith("tile/"):
                with suppress(InputError):
                    self._write(f"{WAITING}/{Tile.named(path).path}", submission.tiles[path])
        for name, blob in blobs.items():
            self._write(f"{WAITING}/{BLOBS}/{name}", blob)
        for note in (submission.checkpoint, *submission.earlier):
            with suppress(InputError):
                self._write(f"{WAITING}/checkpoints/{parse_checkpoint(note)[0].size}", note)

    def with_waiting(self, submission: Submission) -> Submission:
        """The delivery together with what is waiting; what just arrived comes first."""
        folder = self.folder / WAITING
        if not folder.is_dir():
            return submission
        notes = [path.read_bytes() for path in sorted((folder / "checkpoints").glob("*"))]
        return Submission(
            submission.origin,
            submission.checkpoint,
            [*submission.earlier, *notes],
            Layered(submission.tiles, FolderFiles(folder)),
            Layered(submission.blobs, FolderFiles(folder / BLOBS)),
        )

    def forget_waiting(self) -> None:
        """Remove what was waiting."""
        folder = self.folder / WAITING
        if folder.is_dir():
            for path in sorted(folder.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            folder.rmdir()

    def _read(self, tile: Tile) -> bytes:
        return (self.folder / tile.path).read_bytes()

    def _write(self, path: str, data: bytes) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.new")
        aside.write_bytes(data)
        aside.replace(target)


def _named(submission: Submission) -> dict[str, bytes]:
    """The payloads that the entries of an unproven delivery name."""
    found: dict[str, bytes] = {}
    for path in submission.tiles:
        if not path.startswith("tile/entries/"):
            continue
        with suppress(InputError):
            for entry in unpack_entries(submission.tiles[path], Tile.named(path).width):
                read = read_entry(entry)
                for name, size in wanted_blobs(read[1]) if read else ():
                    if name in submission.blobs and len(submission.blobs[name]) == size:
                        found[name] = submission.blobs[name]
    return found


class Intact(Mapping[str, bytes]):
    """Payloads by their SHA-256; one whose bytes have another counts as absent, so that an intact copy can follow.

    Args:
        blobs: as they arrived.
    """

    def __init__(self, blobs: Mapping[str, bytes]) -> None:
        self._blobs = blobs
        self._checked: tuple[str, bytes] | None = None
        self.damaged: set[str] = set()

    def __getitem__(self, name: str) -> bytes:
        if self._checked is not None and self._checked[0] == name:
            return self._checked[1]
        data = self._blobs[name]
        if sha256(data).hexdigest() != name:
            self.damaged.add(name)
            raise KeyError(name)
        self._checked = (name, data)
        return data

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str) or name not in self._blobs:
            return False
        try:
            self[name]
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._blobs)

    def __len__(self) -> int:
        return len(self._blobs)


class Layered(Mapping[str, bytes]):
    """Files of two places; the first one that has a path gives it."""

    def __init__(self, first: Mapping[str, bytes], second: Mapping[str, bytes]) -> None:
        self._layers = (first, second)

    def __getitem__(self, path: str) -> bytes:
        for layer in self._layers:
            if path in layer:
                return layer[path]
        raise KeyError(path)

    def __contains__(self, path: object) -> bool:
        return any(path in layer for layer in self._layers)

    def __iter__(self) -> Iterator[str]:
        return iter({path: None for layer in self._layers for path in layer})

    def __len__(self) -> int:
        return sum(1 for _ in self)
