"""The subscriber: pulls from peers, takes bundles, merges, acknowledges, and says how every peer is."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx

from dianhuan_federation.bundle import MANIFEST, BundleReader, FolderFiles, TarFiles
from dianhuan_federation.config import FederationConfig, Peer
from dianhuan_federation.core import (
    ACCEPTED,
    ORIGIN,
    PARQUET,
    Code,
    Refused,
    Signer,
    Step,
    Trust,
    Verdict,
    Verifier,
    parse_policy,
)
from dianhuan_federation.nodes import RequestAuth
from dianhuan_federation.replica import (
    FEDERATED_LOG,
    FEDERATED_STATEMENT,
    Delivery,
    Merge,
    Merged,
    ReplicaLog,
    freshness,
    read_entry,
    wanted_blobs,
)
from dianhuan_federation.sync._export import export
from dianhuan_federation.sync._guard import AddressGuard, GuardedTransport, Resolver, resolve
from dianhuan_federation.sync._parquet import ParquetSandbox
from dianhuan_federation.sync._pull import MAX_NEW, PACK_LOGS, Want, pull
from dianhuan_federation.sync._receipts import FOLDER as RECEIPTS
from dianhuan_federation.sync._receipts import store_receipts, write_receipts
from dianhuan_federation.sync._round import AT_ONCE, Job, deliveries, new_entries
from dianhuan_federation.sync._sources import SECONDS, FolderSource, HttpSource, Source
from dianhuan_federation.sync._trust import TrustStore
from dianhuan_sdk import ConfigError, PluginContext, TransientError

Place = Path | str
Places = tuple[Place, ...]
"""Addresses or a folder, in the order in which they are tried."""

TREES = ("log", "logs", "mirror")
REFRESHED = 3
"""Sources that are asked for newer trust metadata in one round."""

MANY = 1 << 40
"""New entries taken of one log where a person says `--everything`."""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What one round or one bundle brought.

    Args:
        merged: one answer per log.
        verdict: about the bundle's container, trust and manifest; None for a pull.
        exporter: hub id of the bundle's exporter.
        trust: true where newer trust metadata was adopted.
        notes: what else a person should know.
    """

    merged: Sequence[Merged] = ()
    verdict: Verdict | None = None
    exporter: str = ""
    trust: bool = False
    notes: Sequence[str] = ()

    @property
    def ok(self) -> bool:
        """Is everything that arrived verified?"""
        whole = all(not m.code and not m.statements.get("REJECTED") for m in self.merged)
        return whole and (self.verdict is None or self.verdict.code is None)


class Subscriber:
    """What a hub does with the federation's other logs.

    Args:
        context: storage, clock, folder.
        config: settings.
        signer: the transport key, for signed requests, receipts and bundles; none: only what is open is asked for.
        resolver: of names, below the check of addresses.
        tls: TLS settings, for a private certificate authority.
        seconds: most seconds of one small answer.

    Raises:
        ConfigError: trust, root or witness policy are not set or cannot be read.
    """

    def __init__(
        self,
        context: PluginContext,
        config: FederationConfig,
        *,
        signer: Signer | None = None,
        resolver: Resolver = resolve,
        tls: ssl.SSLContext | None = None,
        seconds: float = SECONDS,
    ) -> None:
        if config.trust is None or config.root is None or config.witness_policy is None:
            raise ConfigError(
                "this hub has not joined a federation",
                expected="trust, root and witness_policy under [plugins.federation.hub]",
                hint="see `dianhuan federation join`",
            )
        self.context = context
        self.config = config
        self.folder = config.folder or context.folder
        self.replica = self.folder / "replica"
        named = ORIGIN.fullmatch(config.origin)
        self.reader = named[1] if named else ""
        self._signer = signer
        self._sandbox = ParquetSandbox()
        self._guard = AddressGuard(config.allow_private, resolver)
        self._tls = tls or ssl.create_default_context()
        self._seconds = seconds
        self._policy = config.witness_policy
        self._root = config.root
        self._trust = config.trust

    @classmethod
    def of(cls, context: PluginContext, config: FederationConfig) -> Subscriber:
        """The subscriber of a hub, with its transport key where it has one."""
        signer = None
        if config.transport_key is not None:
            from dianhuan_federation.keys import read_signer

            signer = read_signer(context.secret(config.transport_key).reveal(), "transport")
        return cls(context, config, signer=signer)

    @property
    def now(self) -> int:
        """POSIX seconds by the host's clock."""
        return int(self.context.clock.now().timestamp())

    def trust_store(self) -> TrustStore:
        """The copy of the trust repository."""
        return TrustStore(self._trust, _read(self._root, "root"), self.context.storage, self.now)

    def verifier(self, trust: Trust) -> Verifier:
        """A verifier of now."""
        policy = parse_policy(_read(self._policy, "witness_policy"))
        return Verifier(trust, policy, self.now, self.reader, decoders={PARQUET: self._sandbox.decode})

    def close(self) -> None:
        """End the child process that opens Parquet, where one was started."""
        self._sandbox.close()

    def sync(self, origins: Iterable[str] | None = None, *, everything: bool = False) -> SyncReport:
        """Pull what is new, verify it, merge it.

        Args:
            origins: these logs only; all peers by default.
            everything: also from a log that has unusually much at once.

        Raises:
            Refused: our own copy of the trust repository does not hold.
        """
        store = self.trust_store()
        trust = store.load()
        chosen = None if origins is None else set(origins)
        peers = [p for p in self.config.peers if chosen is None or p.origin in chosen]
        plan = self._plan([p for p in peers if p.origin != self.config.origin], trust, MANY if everything else MAX_NEW)
        renewed, notes = asyncio.run(self._refresh(store, list(plan)[:REFRESHED]))
        if renewed:
            trust = store.load()
        merge = Merge(self.context.storage, self.replica, self.verifier(trust))
        merged = list(merge.replay(merge.outdated()))
        jobs = [
            self._job(places, wants[first : first + PACK_LOGS])
            for places, wants in plan.items()
            for first in range(0, len(wants), PACK_LOGS)
        ]
        merged += merge.take(deliveries(jobs, merge.size))
        for path in sorted({path for peer in peers if peer.folder for path in peer.folder.glob("*.tar")}):
            report = self._bundle(path, skip_known=True)
            merged += report.merged
            if report.verdict is not None and report.verdict.code:
                notes.append(f"{path.name}: {report.verdict.detail}")
        self._acknowledge(merged, plan)
        return SyncReport(merged, trust=renewed, notes=notes)

    def import_bundle(self, path: Path) -> SyncReport:
        """Verify a bundle and merge it; never raises on what a stranger wrote into it."""
        report = self._bundle(path)
        self._acknowledge(report.merged, {})
        return report

    def export_bundle(
        self, path: Path, since: Mapping[str, int] | None = None, *, receiver: str = "", origins: Iterable[str] = ()
    ) -> Mapping[str, int]:
        """Write what is verified here as a bundle for a stick or another exchange.

        Args:
            path: the file to write.
            since: origin → entries that the receiver has; nothing of them is sent again.
            receiver: hub id; payloads under a grant go only to the one it names.
            origins: these logs only; all by default.

        Returns:
            Path → bytes written.

        Raises:
            ConfigError: there is no transport key.
        """
        if self._signer is None:
            raise ConfigError("a bundle is signed with the transport key", expected="transport_key, and origin")
        return export(
            path,
            self.replica,
            self._public(),
            self.trust_store().files,
            since=since or {},
            receiver=receiver,
            origins=frozenset(origins),
            exporter=self.reader,
            signer=self._signer,
            now=self.now,
        )

    def show(self) -> list[dict[str, Any]]:
        """Every log that is followed, as it is now, configured ones that were never reached too."""
        rows = {row["origin"]: row for row in self._logs()}
        empty = dict.fromkeys(f.name for f in FEDERATED_LOG.fields)
        for peer in self.config.peers:
            hub = peer.origin.split("/")[-2] if peer.origin.count("/") >= 2 else ""
            rows.setdefault(
                peer.origin, {**empty, "origin": peer.origin, "hub": hub, "size": 0, "state": "MISSING", "code": ""}
            )
        shown = []
        for _, row in sorted(rows.items()):
            if row["state"] not in ("QUARANTINE", "PENDING"):
                row["state"] = freshness(row, self.now)
            shown.append(row)
        return shown

    def rebuild(self, origins: Iterable[str] | None = None) -> SyncReport:
        """`verify --from 0`: verify every log again from its files and write its rows anew."""
        trust = self.trust_store().load()
        found = list(origins) if origins is not None else sorted(self._on_disk())
        merge = Merge(self.context.storage, self.replica, self.verifier(trust))
        return SyncReport(list(merge.replay(found, everything=True)))

    def release(self, origin: str) -> None:
        """Take from a quarantined log again; the evidence stays. For a person to decide, after the hub was heard.

        Raises:
            ConfigError: the log is not in quarantine.
        """
        trust = self.trust_store().load()
        Merge(self.context.storage, self.replica, self.verifier(trust)).release(origin)

    def client(self) -> httpx.AsyncClient:
        """A client that goes to checked addresses only, with no redirects, cookies or proxies of the environment."""
        return httpx.AsyncClient(
            transport=GuardedTransport(self._guard, self._tls),
            timeout=httpx.Timeout(min(30.0, self._seconds), connect=min(10.0, self._seconds)),
            follow_redirects=False,
            trust_env=False,
            headers={"user-agent": "dianhuan-federation"},
        )

    def _plan(self, peers: Sequence[Peer], trust: Trust, most: int) -> dict[Places, list[Want]]:
        """What is wanted where; an address stands in the settings or in signed trust data, and nowhere else."""
        known = {row["origin"]: row["size"] for row in self._logs()}
        missing = self._missing_blobs([p.origin for p in peers], known)
        plan: dict[Places, list[Want]] = {}
        for peer in peers:
            places: Places = (peer.folder,) if peer.folder else (peer.url.rstrip("/"),) if peer.url else ()
            if (
                peer.folder
                and not any((peer.folder / name).is_dir() for name in TREES)
                and any(peer.folder.glob("*.tar"))
            ):
                continue  # only bundles arrive there
            if not places:
                hub = trust.hub(peer.origin.split("/")[-2] if peer.origin.count("/") >= 2 else "")
                places = () if hub is None else tuple(url.rstrip("/") for url in hub.endpoints)
            blobs = tuple(missing.get(peer.origin, ()))
            plan.setdefault(places, []).append(Want(peer.origin, known.get(peer.origin, 0), peer.grant, blobs, most))
        return plan

    def _missing_blobs(self, origins: Sequence[str], sizes: Mapping[str, int]) -> dict[str, list[tuple[str, int]]]:
        """Payloads of earlier statements that have not come yet."""
        equals = {"state": "PENDING", "code": "E-MISSING", "origin": list(origins)}
        rows = self.context.storage.read(FEDERATED_STATEMENT.name, columns=["origin", "index"], equals=equals)
        found: dict[str, list[tuple[str, int]]] = {}
        for row in rows.read_all().to_pylist():
            entry = read_entry(ReplicaLog(self.replica, row["origin"]).entry(row["index"], sizes[row["origin"]]))
            if entry is not None:
                found.setdefault(row["origin"], []).extend(wanted_blobs(entry[1])[:1])
        return found

    def _job(self, places: Places, wants: Sequence[Want]) -> Job:
        async def ask() -> Sequence[Delivery]:
            told = [
                Delivery(w.origin, None, "", "no address, neither in the settings nor in the trust data") for w in wants
            ]
            try:
                async with self.client() as client:
                    for place in places:
                        try:
                            told = await pull(self._source(client, place, wants), wants)
                        except TransientError as error:
                            told = [Delivery(w.origin, None, "", str(error)) for w in wants]
                        if any(delivery.submission is not None for delivery in told):
                            break
            except Exception as error:  # whatever one peer brings about, the others of the round go on
                self.context.log.exception("federation: %s", places)
                told = [Delivery(w.origin, None, "", f"{type(error).__name__}: {error}"[:300]) for w in wants]
            return told

        return ask

    def _source(self, client: httpx.AsyncClient, place: Place, wants: Sequence[Want] = ()) -> Source:
        if isinstance(place, Path):
            return FolderSource(place)
        grants = {want.grant for want in wants if want.grant}
        auth = None
        if self._signer is not None and self.reader:
            # One grant can stand in a request's own header; several stand in the body of a pack request.
            one = grants.pop() if len(grants) == 1 else ""
            auth = RequestAuth(self._signer, grant=one, clock=lambda: self.now)
        return HttpSource(client, place, auth, self._seconds)

    async def _refresh(self, store: TrustStore, places: Iterable[Places]) -> tuple[bool, list[str]]:
        """Look at some sources for newer trust metadata."""
        notes: list[str] = []
        renewed = False
        async with self.client() as client:
            for place in (p for several in places for p in several[:1]):
                try:
                    renewed = await store.refresh(self._source(client, place)) or renewed
                    if renewed and not store.lacking():
                        break
                except (Refused, TransientError) as error:
                    notes.append(f"trust metadata of {place}: {error}")
        return renewed, notes

    def _bundle(self, path: Path, *, skip_known: bool = False) -> SyncReport:
        store, storage = self.trust_store(), self.context.storage
        try:
            known: Trust | None = store.load()
        except Refused:
            known = None
        policy = parse_policy(_read(self._policy, "witness_policy"))
        reader = BundleReader(_read(self._root, "root"), policy, self.now, self.reader, seen=store.seen)
        try:
            mark = f"bundle/{sha256(TarFiles(path)[MANIFEST]).hexdigest()}"
            if skip_known and storage.state(mark) is not None:
                return SyncReport()
            opened = reader.open(path, known)
        except (Refused, KeyError, OSError) as error:
            refused = error if isinstance(error, Refused) else Refused(Step.V0, Code.CAP, f"{path.name}: {error}")
            return SyncReport(verdict=Verdict.of(refused))
        renewed = bool(opened.metadata) and dict(opened.trust.versions) != store.seen
        trust = store.adopt(opened.metadata) if opened.metadata else opened.trust
        merge = Merge(storage, self.replica, self.verifier(trust))
        merged = list(merge.replay(merge.outdated()))
        others = [s for s in opened.submissions if s.origin != self.config.origin]
        arrived = [Delivery(s.origin, s, "bundle") for s in others]
        merged += merge.take(sorted(arrived, key=lambda d: new_entries(d, merge.size)))
        if not any(m.code for m in merged):
            storage.commit([], {mark: b"1"})  # what waits for a quorum or newer trust is looked at again
        return SyncReport(merged, ACCEPTED, opened.exporter, renewed)

    def _acknowledge(self, merged: Sequence[Merged], plan: Mapping[Places, Sequence[Want]]) -> None:
        if self._signer is None or not self.reader:
            return
        taken = [m for m in merged if m.via != "replay"]
        places = {w.origin: p[0] for p, wants in plan.items() if p and isinstance(p[0], str) for w in wants}
        written = write_receipts(self.context.storage, self.folder, taken, places, self.reader, self._signer, self.now)
        sent = asyncio.run(self._send_receipts([(place, digest) for place, digest, _ in written])) if written else set()
        rows = [{**row, "state": "sent"} if digest in sent else row for _, digest, some in written for row in some]
        store_receipts(self.context.storage, rows)

    async def _send_receipts(self, receipts: Sequence[tuple[str, str]]) -> set[str]:
        """Offer receipts to the peers that they are about; a peer that takes none loses nothing."""
        sent: set[str] = set()
        limit = asyncio.Semaphore(AT_ONCE)
        async with self.client() as client:

            async def one(place: str, digest: str) -> None:
                data = (self.folder / RECEIPTS / f"{digest}.json").read_bytes()
                with suppress(TransientError):
                    source = self._source(client, place)
                    async with limit:
                        if isinstance(source, HttpSource) and await source.post("receipts", data) == 201:
                            sent.add(digest)

            await asyncio.gather(*(one(place, digest) for place, digest in receipts if place))
        return sent

    def _logs(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.context.storage.read(FEDERATED_LOG.name).read_all().to_pylist()
        return rows

    def _on_disk(self) -> Iterator[str]:
        for path in self.replica.glob("*/origin"):
            yield path.read_text("utf-8").removesuffix("\n")

    def _public(self) -> tuple[str, FolderFiles, FolderFiles] | None:
        """The hub's own log and payloads, as the publisher serves them."""
        folder = self.folder / "public"
        if not self.config.origin or not (folder / "log" / "checkpoint").exists():
            return None
        return self.config.origin, FolderFiles(folder / "log"), FolderFiles(folder / "blob" / "sha256")


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{what} cannot be read: {error.strerror}", expected="a file") from None
