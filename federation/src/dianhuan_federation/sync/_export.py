"""A bundle of what is verified here, for a stick or any other exchange; nothing that the receiver has is sent again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from dianhuan_federation.bundle import TarFiles, export_bundle, log_files
from dianhuan_federation.core import (
    Grant,
    ModelDefinition,
    ResultBatch,
    Retraction,
    SharePolicy,
    Signer,
    bundles_of,
    parse_checkpoint,
    unpack_entries,
)
from dianhuan_federation.replica import ReplicaLog, read_entry, wanted_blobs

Log = tuple[str, Mapping[str, bytes], Mapping[str, bytes]]
"""Origin, files, payloads."""


def export(
    path: Path,
    replica: Path,
    own: Log | None,
    trust: Mapping[str, bytes],
    *,
    since: Mapping[str, int],
    receiver: str,
    origins: frozenset[str],
    exporter: str,
    signer: Signer,
    now: int,
) -> Mapping[str, int]:
    """Write a bundle.

    Args:
        path: the file to write.
        replica: folder of the verified replica.
        own: the hub's own log.
        trust: files of the trust repository.
        since: origin → entries that the receiver has.
        receiver: hub id; payloads under a grant in force go only to the one it names, and none under what was
            withdrawn. Leaves, which are digests, go to anyone.
        origins: these logs only; all where empty.
        exporter: hub id of this hub.
        signer: its transport key.
        now: POSIX seconds.

    Returns:
        Path → bytes written.
    """
    logs = [] if own is None else [own]
    for file in sorted(replica.glob("*/origin")):
        log = ReplicaLog(replica, file.read_text("utf-8").removesuffix("\n"))
        if (log.folder / "checkpoint").exists():
            logs.append((log.origin, log.files(), log.blobs()))
    contents: dict[str, bytes] = {f"trust/{name}": data for name, data in trust.items()}
    for origin, files, blobs in logs:
        if not origins or origin in origins:
            contents.update(_log(origin, files, blobs, since.get(origin, 0), receiver, now))
    return export_bundle(path, contents.items(), exporter=exporter, signer=signer, created_at=now)


def sizes_in(bundle: Path) -> dict[str, int]:
    """Origin → size of each log in a bundle: what its receiver has once it is imported.

    Raises:
        Refused: V0: the file is no bundle.
    """
    files = TarFiles(bundle)
    heads = (parse_checkpoint(files[path])[0] for path in files if path.endswith("/checkpoint"))
    return {head.origin: head.size for head in heads}


def _log(
    origin: str, files: Mapping[str, bytes], blobs: Mapping[str, bytes], start: int, receiver: str, now: int
) -> Iterator[tuple[str, bytes]]:
    size = parse_checkpoint(files["checkpoint"])[0].size
    if size <= start:
        return
    yield from log_files(origin, files, start)
    policies: dict[str, SharePolicy] = {}
    granted: set[str] = set()
    known = [(index, read) for index, entry in _entries(files, size) if (read := read_entry(entry)) is not None]
    withdrawn = {t.digest for _, (_, e) in known if isinstance(e.predicate, Retraction) for t in e.predicate.targets}
    for index, read in known:
        digest, said = read[0], read[1].predicate
        if digest in withdrawn and isinstance(said, (SharePolicy, Grant)):
            continue
        if isinstance(said, SharePolicy):
            policies[digest] = said
        elif isinstance(said, Grant) and receiver and said.assignee == receiver:
            if said.valid_from.timestamp() <= now < said.valid_until.timestamp():
                granted.add(said.policy.digest)
        elif index >= start and isinstance(said, (ResultBatch, ModelDefinition)):
            policy = policies.get(said.policy.digest) if isinstance(said, ResultBatch) else None
            klass = "unconditional" if isinstance(said, ModelDefinition) else policy.klass if policy else "withheld"
            under_grant = isinstance(said, ResultBatch) and said.policy.digest in granted
            if klass == "unconditional" or (klass == "conditional" and under_grant):
                for name, _ in wanted_blobs(read[1]):
                    if name in blobs:
                        yield f"blobs/sha256/{name}", blobs[name]


def _entries(files: Mapping[str, bytes], size: int) -> Iterator[tuple[int, bytes]]:
    for bundle in bundles_of(size):
        entries = unpack_entries(files[bundle.path], bundle.width)
        yield from enumerate(entries, bundle.index * 256)
