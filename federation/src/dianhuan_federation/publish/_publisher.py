"""The publisher of a city hub: what the policies allow, signed, logged, witnessed, served as static files."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from hashlib import sha256
from pathlib import Path

from dianhuan_federation.bundle import FolderFiles
from dianhuan_federation.core import (
    PASSPORT,
    Dispute,
    Encoding,
    Envelope,
    Grant,
    GrantAcceptance,
    Heartbeat,
    ModelDefinition,
    Redaction,
    Ref,
    ResultBatch,
    Retraction,
    ShardClose,
    Target,
    digests,
    frontier_from_nodes,
    key_id,
    lines_of,
    open_envelope,
    parse,
    parse_checkpoint,
    prove_record,
    read_predicate,
    read_statement,
)
from dianhuan_federation.evaluation import read_passport
from dianhuan_federation.guard import CheckpointGuard
from dianhuan_federation.log_store import CHECKPOINT, TileLog
from dianhuan_federation.policy import SharingTerms, read_terms
from dianhuan_federation.publish._commitments import commit_to, open_commitment
from dianhuan_federation.publish._desk import Desk
from dianhuan_federation.publish._journal import Journal, entries_of, only_one, statements_of
from dianhuan_federation.publish._ledger import Ledger
from dianhuan_federation.publish._plan import Plan, Planner
from dianhuan_federation.publish._recover import read_again, take_back
from dianhuan_federation.publish._report import PublishReport
from dianhuan_federation.publish._settings import Settings
from dianhuan_federation.publish._witnesses import WitnessClient, check_not_behind, gather, own_head
from dianhuan_sdk import Clock, ConfigError, InputError, SourceError, StoragePort


class Publisher:
    """Publishes the results of one hub.

    Every method takes the publisher's lock, opens the log against its guard, asks witnesses and mirrors whether they
    have seen more, and finishes what a crash left behind, before it does anything. They block while witnesses are
    asked: call them in a thread.

    Args:
        settings: identity, keys, folders, policies.
        storage: the hub's storage.
        clock: time.
        witnesses: witnesses and mirrors.
    """

    def __init__(
        self, settings: Settings, storage: StoragePort, clock: Clock, witnesses: Sequence[WitnessClient] = ()
    ) -> None:
        self.settings = settings
        self._storage = storage
        self._clock = clock
        self._witnesses = witnesses
        self._journal = Journal(settings, storage)

    def begin(self) -> PublishReport:
        """Begin the log, once; of a later epoch beside the one before, whose releases stay known.

        Raises:
            ConfigError: it was begun before, here or as a witness saw it.
        """
        with only_one(self.settings.private):
            known, origin = self._journal.ledger(), self.settings.origin
            if known.origin == origin and known.size:
                raise ConfigError(f"the hub has published into {origin} before", expected="a new origin")
            check_not_behind(self.settings, 0, lambda size: b"", self._witnesses)
            ledger = known if known.origin == origin else known.next_epoch(origin)
            if self.settings.epoch > 1 and not ledger.follows:
                ledger.forget_all_before(self._clock.today().isoformat())
            self._journal.rewrite(ledger)
            self._make_room()
            log = TileLog.create(self.settings.log, origin, self.settings.log_key, self._guard())
            return PublishReport(origin, log.size)

    def publish(self, today: date, *, dry_run: bool = False) -> PublishReport:
        """Publish what is due: policies, new and changed rows, statistics, withdrawals; a heartbeat if nothing is.

        Args:
            today: the civil day; rows about it are not complete and wait.
            dry_run: draft everything and sign, write and send nothing.
        """
        with self._open() as (log, ledger):
            desk = self._desk(ledger, today)
            plan = self._planner().plan(desk)
            self._beat(desk)
            if dry_run:
                return self._report(plan.desk, plan)
            return self._carry_out(log, desk, plan)

    def heartbeat(self, today: date) -> PublishReport:
        """Say that the hub is alive, unless something was logged today."""
        return self._one(today, self._beat)

    def retract(
        self, today: date, index: int, record_ids: Sequence[str], reason: str, legal_basis: str
    ) -> PublishReport:
        """Say that an earlier statement of ours, or some of its rows, no longer holds.

        Args:
            today: the civil day.
            index: of the statement.
            record_ids: rows that are meant; none for all of it.
            reason, legal_basis: words that everybody reads.
        """

        def make(desk: Desk) -> None:
            stream = self._entry_stream(desk.ledger, index)
            known = set(self._standing(desk.ledger, stream, index))
            unknown = set(record_ids) - known
            if unknown:
                raise InputError(
                    f"record {min(unknown)} does not stand in entry {index}", expected="a record that is not withdrawn"
                )
            if desk.ledger.entries[index].digest in desk.ledger.withdrawn and not record_ids:
                raise InputError(f"entry {index} was retracted before")
            for ids in _portions(list(record_ids)):
                fields = {"targets": [desk.ledger.target(index, ids)], "reason": reason, "legal_basis": legal_basis}
                desk.state(Retraction, stream, fields)

        return self._one(today, make)

    def redact(self, today: date, index: int, reason: str, legal_basis: str) -> PublishReport:
        """Order that the payload of an earlier batch is dropped everywhere, and drop it here; its leaf remains.

        Args:
            today: the civil day.
            index: of the batch.
            reason, legal_basis: words that everybody reads.
        """

        def make(desk: Desk) -> None:
            stream = self._entry_stream(desk.ledger, index)
            if not desk.ledger.entries[index].blobs or index in desk.ledger.redacted:
                raise InputError(f"entry {index} has no payload to be dropped", expected="a batch that has one")
            fields = {"targets": [desk.ledger.target(index, [])], "reason": reason, "legal_basis": legal_basis}
            desk.state(Redaction, stream, fields)

        return self._one(today, make)

    def dispute(
        self, today: date, origin: str, index: int, digest: str, record_ids: Sequence[str], reason: str
    ) -> PublishReport:
        """Contest a statement of another log; its own state does not change by that.

        Args:
            today: the civil day.
            origin: the other log.
            index, digest: of its statement.
            record_ids: rows that are meant; none for all.
            reason: words that everybody reads.
        """

        def make(desk: Desk) -> None:
            if origin == self.settings.origin:
                raise InputError("a dispute about the own log", expected="`retract` for what is wrong here")
            target = Target(index=index, digest=digest, record_ids=list(record_ids))
            desk.state(Dispute, "disputes", {"disputed": origin, "target": target, "reason": reason})

        return self._one(today, make)

    def publish_model(self, today: date, passport: bytes, license: str) -> PublishReport:
        """Publish a model's definition: its passport as a file that everybody may read.

        Args:
            today: the civil day.
            passport: as `evaluation.passport_bytes` makes it.
            license: SPDX identifier.

        Raises:
            InputError: no passport, this version stands in the log already, or the gate refuses its words.
        """
        found = read_passport(passport)
        model, version = found.model_id, found.model_version

        def make(desk: Desk) -> None:
            if f"{model} {version}" in desk.ledger.models:
                raise InputError(f"model {model} {version} is published already", expected="a new version")
            for words in (model, version, found.purpose_zh, found.purpose_en):
                self.settings.gate.check_text(words)
            digest = sha256(passport).hexdigest()
            file = Encoding(
                media_type=PASSPORT,
                digest=digests(passport),
                size=len(passport),
                uncompressed_size=len(passport),
            )
            fields = {"model": Ref(id=model, version=version, digest=digest), "files": [file], "license": license}
            desk.state(ModelDefinition, "models", fields, blobs={digest: passport})

        return self._one(today, make)

    def log_grant(self, today: date, envelope: bytes) -> PublishReport:
        """Log a grant that both sides have signed: the provider at its place in the stream that it names, the consumer
        as a statement of its own that names the envelope.

        Raises:
            InputError: no grant of this log, not signed by both, not the next of its stream, or of another policy.
        """

        def make(desk: Desk) -> None:
            opened = open_envelope(envelope)
            grant = read_predicate(read_statement(opened.payload))
            ours = opened.signed_by({key_id(k.public): k.public for k in self.settings.publisher_keys})
            if not isinstance(grant, Grant) or self.settings.hub not in (grant.assignee, grant.assigner):
                raise InputError("not a grant of or for this hub", expected=f"a grant that names {self.settings.hub}")
            if len(ours) != len(self.settings.publisher_keys) or len(opened.signatures) <= len(ours):
                raise InputError(f"grant {grant.id} is not signed by both sides", hint="dianhuan federation grant")
            self._other_side(opened, grant)
            if grant.origin != self.settings.origin:
                desk.state(GrantAcceptance, "accepted-grants", _accepted(grant, envelope))
                return
            place = desk.ledger.streams.get(grant.stream, (0, None))
            if (grant.stream_seq, grant.prev_statement_digest) != (place[0] + 1, place[1]):
                raise InputError(
                    f"grant {grant.id} is number {grant.stream_seq} of stream {grant.stream}",
                    expected=f"number {place[0] + 1}, after {place[1]}",
                )
            if grant.policy.digest not in {p.digest for p in desk.ledger.policies.values()}:
                raise InputError(f"grant {grant.id} names no policy in force", hint="publish the policy first")
            desk.place(opened.payload, grant.stream, policy=grant.policy.id, envelope=envelope)

        return self._one(today, make)

    def _other_side(self, opened: Envelope, grant: Grant) -> None:
        """The second signature is that of the hub which the grant names, as far as the trust data are at hand."""
        if self.settings.trust is None:
            return
        hub_id = grant.assignee if grant.assigner == self.settings.hub else grant.assigner
        hub = self.settings.trust.hub(hub_id)
        keys = {} if hub is None else {name: known.key for name, known in hub.role("publisher").items()}
        if not opened.signed_by(keys):
            raise InputError(
                f"grant {grant.id} is not signed by hub {hub_id}",
                expected="a publisher key that its province vouches for",
                hint="bring the trust repository up to date, or have it signed again",
            )

    def close_shard(self, today: date, successor: str, reason: str) -> PublishReport:
        """End the log; it goes on under another origin."""

        def make(desk: Desk) -> None:
            desk.state(ShardClose, "shard", {"successor": successor, "reason": reason})

        return self._one(today, make)

    def ledger(self) -> Ledger:
        """What was published, after what a crash left behind is finished."""
        with self._open() as (_, ledger):
            return ledger

    def open_commitment(self, record_id: str) -> bytes:
        """The file that shows an inspector on site which readings stood behind a record.

        Raises:
            InputError: the record was not published with a commitment, or its readings changed since.
        """
        with self._open() as (log, ledger):
            for stream in ledger.records.values():
                place = stream.get(record_id)
                file = None if place is None else self._commitment(log, ledger, place.index)
                if place is not None and file is not None:
                    payload = self._served(ledger, place.index)
                    proof = prove_record(FolderFiles(log.folder), place.index, payload, record_id)
                    return open_commitment(self._storage, file, record_id, proof)
        raise InputError(f"record {record_id} was not published with a commitment", hint="see `publish --json`")

    def recover(self, log: Mapping[str, bytes], blobs: Mapping[str, bytes]) -> PublishReport:
        """Take the log back from a mirror, and read the ledger again from it.

        Args:
            log: files of the mirror below the log's prefix.
            blobs: its payloads by the SHA-256 of their bytes in hex.

        Raises:
            ConfigError: no mirror has what was signed; then the province closes the shard.
        """
        with only_one(self.settings.private):
            guard = self._guard()
            take_back(self.settings, guard, log, self._seen())
            opened = TileLog(self.settings.log, self.settings.origin, self.settings.log_key, guard)
            ledger = self._journal_or_again(opened, blobs)
            witnessed = gather(opened, self.settings, self._witnesses, self._blobs_of(ledger))
            return PublishReport(self.settings.origin, ledger.size, witnessed=witnessed)

    def self_check(self) -> dict[str, str]:
        """Check of everything on the disk: what was checked → empty, or what is wrong."""
        found: dict[str, str] = {}

        def check(name: str, do: Callable[[], object]) -> None:
            try:
                do()
                found[name] = ""
            except (InputError, ConfigError, SourceError, OSError) as error:
                found[name] = str(error)

        with only_one(self.settings.private):
            guard = self._guard()
            check("log", lambda: self._log(guard).fsck())
            if found["log"]:
                return found
            log = self._log(guard)
            ledger = self._ledger(log)
            check("witnesses", lambda: self._not_behind(log))
            check("payloads", lambda: self._all_served(ledger))
            check("policies", lambda: [read_terms(data) for _, data in self.settings.policies])
        return found

    @contextmanager
    def _open(self) -> Iterator[tuple[TileLog, Ledger]]:
        with only_one(self.settings.private):
            log = self._log(self._guard())
            self._not_behind(log)
            yield log, self._ledger(log)

    def _guard(self) -> CheckpointGuard:
        return CheckpointGuard(self.settings.guard)

    def _log(self, guard: CheckpointGuard) -> TileLog:
        return TileLog(self.settings.log, self.settings.origin, self.settings.log_key, guard)

    def _ledger(self, log: TileLog) -> Ledger:
        return self._journal_or_again(log, {})

    def _not_behind(self, log: TileLog) -> None:
        check_not_behind(
            self.settings, log.size, lambda size: frontier_from_nodes(log.nodes(), size).root(), self._witnesses
        )

    def _journal_or_again(self, log: TileLog, blobs: Mapping[str, bytes]) -> Ledger:
        """The committed ledger, or one read again where the log went on without it."""
        ledger = self._journal.settle(log)
        if ledger is None:
            planner = self._planner()
            statements = statements_of(entries_of(log, 0, log.size))
            ledger = read_again(
                self.settings,
                self._journal.ledger(),
                statements,
                blobs,
                list(self._terms()),
                lambda source: planner.flat(source)[0],
            )
            self._journal.rewrite(ledger)
            self._journal.drop_redacted(ledger)
        return ledger

    def _make_room(self) -> None:
        """Put the files of an earlier epoch aside, where they are still served under its name."""
        try:
            head, _ = parse_checkpoint((self.settings.log / CHECKPOINT).read_bytes())
        except FileNotFoundError:
            return
        if head.origin != self.settings.origin:
            self.settings.log.rename(self.settings.public / f"log-{head.origin.rpartition('/')[2]}")

    def _terms(self) -> Iterator[SharingTerms]:
        for _, data in self.settings.policies:
            try:
                yield read_terms(data)
            except InputError:
                continue

    def _planner(self) -> Planner:
        return Planner(self.settings, self._storage, self._journal.kept)

    def _desk(self, ledger: Ledger, today: date) -> Desk:
        return Desk(self.settings, ledger, self._clock.now(), today)

    def _one(self, today: date, make: Callable[[Desk], None]) -> PublishReport:
        with self._open() as (log, ledger):
            desk = self._desk(ledger, today)
            make(desk)
            return self._carry_out(log, desk, Plan(desk))

    def _carry_out(self, log: TileLog, desk: Desk, plan: Plan) -> PublishReport:
        self._journal.publish(log, desk)
        witnessed = gather(log, self.settings, self._witnesses, self._blobs_of(desk.ledger))
        report = self._report(desk, plan)
        return PublishReport(report.origin, log.size, report.drafts, report.refused, report.left_out, witnessed)

    def _blobs_of(self, ledger: Ledger) -> Callable[[str], dict[str, Path]]:
        """Hub id → payloads that it may hold, by digest."""
        now = self._clock.now()

        def blobs(hub: str) -> dict[str, Path]:
            paths = {digest: self.settings.blob(digest) for digest in ledger.blobs_for(hub, now)}
            return {digest: path for digest, path in paths.items() if path.exists()}

        return blobs

    def _report(self, desk: Desk, plan: Plan) -> PublishReport:
        return PublishReport(self.settings.origin, desk.ledger.size, desk.drafts, plan.refused, plan.left_out)

    def _beat(self, desk: Desk) -> None:
        day = desk.today.isoformat()
        if not desk.drafts and not any(entry.day == day for entry in desk.ledger.entries[-1:]):
            desk.state(Heartbeat, "heartbeat", {"streams": len(desk.ledger.records)})

    def _entry_stream(self, ledger: Ledger, index: int) -> str:
        ledger.target(index, [])
        return ledger.entries[index].stream

    def _standing(self, ledger: Ledger, stream: str, index: int) -> list[str]:
        return [id for id, place in ledger.records.get(stream, {}).items() if place.index == index]

    def _commitment(self, log: TileLog, ledger: Ledger, index: int) -> bytes | None:
        """What the city keeps of a batch's commitment, made again where the file is lost; None if there is none."""
        file = self._journal.kept(index)
        batch = read_predicate(read_statement(statements_of(entries_of(log, index, index + 1))[0]))
        if file is not None or not isinstance(batch, ResultBatch) or batch.inputs.commitment is None:
            return file
        ids = {parse(line)["record_id"] for line in lines_of(self._served(ledger, index))}
        place = (batch.origin, batch.stream, batch.stream_seq)
        made = commit_to(self._storage, self.settings.pseudonym_key, place, self._planner().behind(ids))
        if made is None or made.inputs.commitment != batch.inputs.commitment:
            raise InputError(
                f"the file of the commitment of entry {index} is lost, and the readings do not give it again",
                expected="unchanged readings, or the file below private/commitments",
                hint="take the file from a backup",
            )
        return made.file

    def _served(self, ledger: Ledger, index: int) -> bytes:
        path = self.settings.blob(ledger.entries[index].blobs[0])
        if not path.exists():
            raise InputError(f"the payload of entry {index} is not served any more", hint="was it redacted?")
        return gzip.decompress(path.read_bytes())

    def _all_served(self, ledger: Ledger) -> None:
        for index, entry in enumerate(ledger.entries):
            for digest in entry.blobs if index not in ledger.redacted else ():
                if sha256(self.settings.blob(digest).read_bytes()).hexdigest() != digest:
                    raise InputError(f"the payload of entry {index} is not the one that was signed")

    def _seen(self) -> int | None:
        """The largest size that all witnesses have seen; None if one cannot be asked, or there is none."""
        sizes = []
        for client in self._witnesses:
            try:
                data = client.latest(self.settings.origin)
                sizes.append(0 if data is None else own_head(self.settings, data).size)
            except (SourceError, InputError):
                return None
        return max(sizes, default=None)


def _accepted(grant: Grant, envelope: bytes) -> dict[str, object]:
    return {
        "grant": grant.id,
        "assigner": grant.assigner,
        "policy": grant.policy,
        "purpose": grant.purpose,
        "envelope": sha256(envelope).hexdigest(),
        "valid_from": grant.valid_from,
        "valid_until": grant.valid_until,
    }


def _portions(ids: list[str]) -> list[list[str]]:
    return [ids[i : i + 64] for i in range(0, len(ids), 64)] or [[]]
