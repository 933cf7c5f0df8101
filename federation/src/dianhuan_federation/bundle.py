"""Bundles: logs, payloads and trust in one plain tar, the same bytes as over HTTP, for a stick or any file exchange."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from dianhuan_federation.core import (
    ACCEPTED,
    BLOCK,
    Code,
    ContainerCaps,
    Inventory,
    LogState,
    Member,
    Policy,
    Refused,
    Report,
    Signer,
    Step,
    Submission,
    Suites,
    Trust,
    Verdict,
    Verifier,
    bundles_of,
    canonical,
    cap,
    load_trust,
    open_envelope,
    padding,
    parse,
    parse_checkpoint,
    read_header,
    seal,
    tiles_of,
    write_header,
)
from dianhuan_federation.suites import known_suites
from dianhuan_sdk import InputError

MANIFEST = "bundle.json"
MANIFEST_TYPE = "application/vnd.dianhuan.bundle+json"
MANIFEST_KIND = "urn:dianhuan:federation:bundle:v1"
MAX_MANIFEST = 64 * 1024 * 1024
MAX_ZEROS = 10_240


class TarFiles(Mapping[str, bytes]):
    """The files of a bundle by path, read when they are asked for.

    Args:
        path: the tar file.
        caps: limits.

    Raises:
        Refused: V0 `E-CAP`: the container is damaged, cut off, or holds what no bundle holds.
    """

    def __init__(self, path: Path, caps: ContainerCaps | None = None) -> None:
        self._path = path
        self._places: dict[str, int] = {}
        self._inventory = Inventory(caps or ContainerCaps())
        self._scan()

    @property
    def sizes(self) -> Mapping[str, int]:
        """Path → bytes."""
        return self._inventory.sizes

    def __getitem__(self, path: str) -> bytes:
        with self._path.open("rb") as file:
            file.seek(self._places[path])
            return file.read(self.sizes[path])

    def __contains__(self, path: object) -> bool:
        return path in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def _scan(self) -> None:
        end = self._path.stat().st_size
        place = folders = 0
        with self._path.open("rb") as file:
            while True:
                block = file.read(BLOCK)
                if len(block) != BLOCK:
                    raise cap("an archive without its end", "two empty blocks at the end")
                place += BLOCK
                if not block.strip(b"\0"):
                    break
                member = read_header(block)
                if member is None:
                    folders += 1
                    if folders > self._inventory.caps.members:
                        raise cap("an archive of folders", "files")
                    continue
                self._inventory.add(member)
                self._places[member.path] = place
                place += member.size
                if place + padding(member.size) > end:
                    raise cap(f"{member.path} is cut off", f"{member.size} bytes")
                file.seek(place)
                if file.read(padding(member.size)).strip(b"\0"):
                    raise cap(f"bytes between {member.path} and the next file", "zeros")
                place += padding(member.size)
            rest = file.read(MAX_ZEROS + 1)
        if not BLOCK <= len(rest) <= MAX_ZEROS or rest.strip(b"\0"):
            raise cap("bytes after the end of the archive", "an empty block and at most 10 KiB of zeros")


class _Below(Mapping[str, bytes]):
    """The files below a prefix, under their paths without it."""

    def __init__(self, files: Mapping[str, bytes], prefix: str) -> None:
        self._files = files
        self._prefix = prefix

    def __getitem__(self, path: str) -> bytes:
        return self._files[self._prefix + path]

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self._prefix + path in self._files

    def __iter__(self) -> Iterator[str]:
        return (path[len(self._prefix) :] for path in self._files if path.startswith(self._prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class FolderFiles(Mapping[str, bytes]):
    """The files of a folder by relative path: a log or a trust repository as it lies on the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, path: str) -> bytes:
        try:
            return (self._folder / path).read_bytes()
        except OSError:
            raise KeyError(path) from None

    def __iter__(self) -> Iterator[str]:
        files = (p.relative_to(self._folder) for p in sorted(self._folder.rglob("*")) if p.is_file())
        return (p.as_posix() for p in files if not p.name.startswith("."))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def log_hash(origin: str) -> str:
    """The folder name of a log: SHA-256 of its origin, in hex."""
    return sha256(origin.encode()).hexdigest()


def log_files_of(files: Mapping[str, bytes], origin: str) -> Mapping[str, bytes]:
    """The files of one log in a bundle, under their paths in the log."""
    return _Below(files, f"logs/{log_hash(origin)}/")


def log_files(origin: str, files: Mapping[str, bytes], start: int = 0) -> Iterator[tuple[str, bytes]]:
    """What a bundle holds of one log.

    Args:
        origin: the log.
        files: its files: `checkpoint`, `checkpoints/<size>`, tiles.
        start: entries before this one are known to the receiver.

    Raises:
        InputError: a tile is missing.
    """
    prefix = f"logs/{log_hash(origin)}/"
    head, _ = parse_checkpoint(files["checkpoint"])
    yield f"{prefix}origin", f"{origin}\n".encode()
    yield f"{prefix}checkpoint", files["checkpoint"]
    for path in files:
        folder, _, size = path.partition("/")
        if folder == "checkpoints" and size.isdigit() and start < int(size) < head.size:
            yield prefix + path, files[path]
    for tile in [*tiles_of(head.size, start), *bundles_of(head.size, start)]:
        if tile.path not in files:
            raise InputError(f"the log lacks {tile.path}", hint="run fsck on the log")
        yield prefix + tile.path, files[tile.path]


def export_bundle(
    target: Path, contents: Iterable[tuple[str, bytes]], *, exporter: str, signer: Signer, created_at: int
) -> Mapping[str, int]:
    """Write a bundle, whole or not at all; the same contents give the same bytes.

    Args:
        target: the file to write.
        contents: path → bytes, as `trust/…`, `log_files` and `blobs/sha256/<hex>` give them.
        exporter: hub id of the one who exports.
        signer: its transport key.
        created_at: POSIX seconds.

    Returns:
        Path → bytes written.

    Raises:
        Refused: V0 `E-CAP`: a path that bundles do not have, or beyond the limits.
    """
    files = dict(sorted(contents))
    inventory = Inventory()
    manifest = canonical(
        {
            "kind": MANIFEST_KIND,
            "exporter": exporter,
            "created_at": datetime.fromtimestamp(created_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "files": [[path, len(data)] for path, data in files.items()],
        }
    )
    files = {MANIFEST: seal(MANIFEST_TYPE, manifest, [signer]), **files}
    aside = target.with_name(f".{target.name}.new")
    try:
        with aside.open("wb") as file:
            for path, data in files.items():
                member = Member(path, len(data))
                inventory.add(member)
                file.write(write_header(member) + data + bytes(padding(len(data))))
            file.write(bytes(2 * BLOCK))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(target)
    finally:
        with suppress(FileNotFoundError):
            aside.unlink()
    return inventory.sizes


@dataclass(frozen=True, slots=True)
class BundleReport:
    """The answer about one bundle.

    Args:
        verdict: about the container, the trust repository and the manifest.
        exporter: hub id of the one who exported it.
        trust: what the bundle's trust repository says, where it holds.
        logs: origin → answer.
    """

    verdict: Verdict
    exporter: str = ""
    trust: Trust | None = None
    logs: Mapping[str, Report] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OpenBundle:
    """A bundle whose container, trust and manifest hold.

    Args:
        exporter: hub id of the one who exported it.
        trust: by which it is judged.
        metadata: files of its trust repository; empty where that one is older than what is known.
        submissions: what it holds of each log, not verified.
    """

    exporter: str
    trust: Trust
    metadata: Mapping[str, bytes]
    submissions: Sequence[Submission]


@dataclass(frozen=True, slots=True)
class BundleReader:
    """Verifies bundles; nothing is written anywhere.

    Args:
        bootstrap: the root metadata that was handed over in person.
        policy: whose cosignatures are needed.
        now: POSIX seconds.
        reader: hub id of the one who verifies; empty for an auditor.
        seen: versions of the trust metadata accepted last.
        denied: hub ids, origins and key ids never to be trusted.
        caps: limits of the container.
        suites: signature suites by which hub keys are loaded.
    """

    bootstrap: bytes
    policy: Policy
    now: int
    reader: str = ""
    seen: Mapping[str, int] = field(default_factory=dict)
    denied: Sequence[str] = ()
    caps: ContainerCaps = field(default_factory=ContainerCaps)
    suites: Suites = field(default_factory=known_suites)

    def verify(self, path: Path, states: Mapping[str, LogState] | None = None) -> BundleReport:
        """V0 to V10 over everything in the bundle; never raises on what a stranger wrote into it.

        Args:
            path: the tar file.
            states: origin → what is known of that log.
        """
        try:
            opened = self.open(path)
        except Refused as refused:
            return BundleReport(Verdict.of(refused))
        report = BundleReport(ACCEPTED, opened.exporter, opened.trust)
        verifier = Verifier(opened.trust, self.policy, self.now, self.reader)
        submissions = opened.submissions
        logs = {s.origin: verifier.verify(s, (states or {}).get(s.origin)) for s in submissions}
        return replace(report, logs=logs)

    def open(self, path: Path, known: Trust | None = None) -> OpenBundle:
        """The container, its trust repository and its manifest, checked; the logs in it are not verified yet.

        Args:
            path: the tar file.
            known: trust to judge by where the bundle's own is older than `seen`, as in one that was long on its way.

        Raises:
            Refused: V0 or V1, or `E-SIG` where the manifest is not the exporter's.
        """
        files = TarFiles(path, self.caps)
        exporter = _check_manifest(files)
        metadata = _Below(files, "trust/")
        try:
            trust = load_trust(
                self.bootstrap, metadata, self.now, seen=self.seen, denied=self.denied, suites=self.suites
            )
        except Refused:
            if known is None:
                raise
            trust, metadata = known, _Below(files, "nothing/")
        _check_exporter(files, exporter, trust)
        return OpenBundle(exporter, trust, metadata, list(_submissions(files)))


def _check_manifest(files: TarFiles) -> str:
    """The exporter named by the manifest, which lists exactly the files that are there."""
    if files.sizes.get(MANIFEST, MAX_MANIFEST + 1) > MAX_MANIFEST:
        raise cap(f"no {MANIFEST}, or one above {MAX_MANIFEST} bytes", "one signed manifest")
    try:
        document = parse(open_envelope(files[MANIFEST]).payload)
        exporter, kind = document["exporter"], document["kind"]
        listed = dict(document["files"])
        if kind != MANIFEST_KIND or not isinstance(exporter, str) or len(listed) != len(document["files"]):
            raise InputError(f"a manifest of kind {kind!r}")
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise cap(f"{MANIFEST} is no manifest: {error}", MANIFEST_KIND) from None
    there = {path: size for path, size in files.sizes.items() if path != MANIFEST}
    if listed != there:
        wrong = min(str(path) for path in listed.keys() | there.keys() if listed.get(path) != there.get(path))
        raise cap(f"the manifest and the files differ in {wrong[:160]}", "the whole bundle, as it was exported")
    return exporter


def _check_exporter(files: TarFiles, exporter: str, trust: Trust) -> None:
    envelope = open_envelope(files[MANIFEST])
    hub = trust.hub(exporter)
    keys = {} if hub is None else {k: key.key for k, key in hub.role("transport").items()}
    if envelope.payload_type != MANIFEST_TYPE or not envelope.signed_by(keys):
        raise Refused(
            Step.V6, Code.SIG, f"the manifest is not signed by hub {exporter[:40]}", expected="its transport key"
        )


def _submissions(files: TarFiles) -> Iterator[Submission]:
    blobs = _Below(files, "blobs/sha256/")
    for path in files:
        folder, _, name = path.rpartition("/")
        if name != "origin" or not path.startswith("logs/"):
            continue
        origin = files[path].decode("utf-8", "replace").removesuffix("\n")
        if folder != f"logs/{log_hash(origin)}" or f"{folder}/checkpoint" not in files:
            raise cap(
                f"{folder} is not the folder of {origin[:120]!r} with a checkpoint", "logs/<SHA-256 of the origin>"
            )
        log = _Below(files, f"{folder}/")
        sizes = sorted((p for p in log if p.startswith("checkpoints/")), key=lambda p: int(p.partition("/")[2]))
        yield Submission(origin, log["checkpoint"], [log[p] for p in sizes], log, blobs)


__all__ = [
    "MANIFEST",
    "BundleReader",
    "BundleReport",
    "FolderFiles",
    "OpenBundle",
    "TarFiles",
    "export_bundle",
    "log_files",
    "log_files_of",
    "log_hash",
]
