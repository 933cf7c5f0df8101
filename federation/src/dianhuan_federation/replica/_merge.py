"""V11: what was verified goes into the replica, many logs in one atomic commit, and a log is replayed from its files.

Order of a merge: verify, write the log's files, flush them, commit rows and states in one transaction, tidy up. A crash
before the commit leaves files that no state counts and that the next delivery writes again; after it nothing is left to
do but tidying. So a commit without its files cannot be.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from dianhuan_federation.core import (
    Code,
    EntryResult,
    Grant,
    LogState,
    Refused,
    Report,
    Retraction,
    State,
    Submission,
    Verifier,
    open_envelope,
)
from dianhuan_federation.core._entry_steps import unsigned_grant
from dianhuan_federation.replica._files import Intact, ReplicaLog
from dianhuan_federation.replica._group import Group
from dianhuan_federation.replica._judge import Contents, contents, hub_of, judge
from dianhuan_federation.replica._records import other_record, record_batch
from dianhuan_federation.replica._statements import (
    REDACTED,
    Covering,
    covering,
    instant,
    pending_result,
    read_entry,
    statement_row,
    targets_of,
    text_list,
    wanted_blobs,
)
from dianhuan_federation.replica._states import Stored, fingerprint, load_state, store_state
from dianhuan_federation.replica._tables import FEDERATED_LOG, FEDERATED_STATEMENT
from dianhuan_sdk import ConfigError, InputError, StoragePort

SILENCE = 26 * 3600
"""Seconds without a new witnessed head after which a log counts as stale: a daily heartbeat and two hours."""

REPLAY = "replay"
"""In place of a transport: the log's own files."""

GRANT = "urn:dianhuan:federation:grant:v1"
MAX_LOGS = 64
MAX_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """What arrived, or did not, from one log.

    Args:
        origin: the log.
        submission: what arrived; None where nothing did.
        via: http, folder or bundle.
        error: why nothing arrived.
    """

    origin: str
    submission: Submission | None
    via: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of one delivery.

    Args:
        origin: the log.
        state: of the log: FRESH, STALE, MISSING, QUARANTINE or PENDING.
        code: reason code, `E-NET` where nothing arrived; empty if all is well.
        detail: words.
        before, size: verified entries before and after.
        root: root of the verified tree, in hex.
        statements: new statements by state.
        rows: new rows.
        via: transport.
    """

    origin: str
    state: str
    code: str
    detail: str
    before: int
    size: int
    root: str
    statements: Mapping[str, int] = field(default_factory=dict)
    rows: int = 0
    via: str = ""


@dataclass(slots=True)
class _Open:
    """A log of the group that is not committed yet."""

    log: ReplicaLog
    before: int
    size: int
    replay: bool
    merged: Merged


class Merge:
    """Merges deliveries into the replica.

    Args:
        storage: the hub's storage; its tables are `FEDERATED_TABLES`.
        folder: the replica's folder.
        verifier: with trust, witness policy and the present time.
    """

    def __init__(self, storage: StoragePort, folder: Path, verifier: Verifier) -> None:
        self._storage = storage
        self._folder = folder
        self._verifier = verifier
        self._known = {row["origin"]: row for row in storage.read(FEDERATED_LOG.name).read_all().to_pylist()}
        self._loaded: dict[str, Stored] = {}
        self._lacking: dict[str, list[dict[str, Any]]] | None = None

    def take(self, deliveries: Iterable[Delivery]) -> Iterator[Merged]:
        """Merge deliveries as they come; each is answered once it is committed."""
        group, open_logs = Group(self._storage), list[_Open]()
        for delivery in deliveries:
            if any(o.merged.origin == delivery.origin for o in open_logs):
                yield from self._commit(group, open_logs)
                group, open_logs = Group(self._storage), []
            open_logs.append(self._one(delivery, group))
            if len(open_logs) >= MAX_LOGS or group.rows >= MAX_ROWS:
                yield from self._commit(group, open_logs)
                group, open_logs = Group(self._storage), []
        yield from self._commit(group, open_logs)

    def replay(self, origins: Iterable[str], *, everything: bool = False) -> Iterator[Merged]:
        """Verify logs again from their files and write all their rows anew.

        Args:
            origins: the logs.
            everything: up to the last head on disk, also where no state is stored (a rebuild); else up to the state.
        """
        for origin in origins:
            log = ReplicaLog(self._folder, origin)
            stored = None if everything else self._stored(origin)
            submission = log.submission(None if stored is None else stored.state.size)
            if submission is None:
                continue
            group = Group(self._storage)
            yield from self._commit(group, [self._replayed(submission, stored, log, group)])

    def size(self, origin: str) -> int:
        """Verified entries of a log."""
        row = self._known.get(origin)
        return 0 if row is None else int(row["size"])

    def release(self, origin: str) -> None:
        """Take from a quarantined log again.

        Raises:
            ConfigError: it is not in quarantine.
        """
        row = self._known.get(origin)
        if row is None or row["code"] != Code.FORK:
            raise ConfigError(f"{origin} is not in quarantine", expected="a log that `show` lists as QUARANTINE")
        group = Group(self._storage)
        self._list(group, {**row, "code": "", "detail": "released", "state": freshness(row, self._verifier.now)})
        self._storage.commit(group.batches("federation:release"))

    def outdated(self) -> list[str]:
        """Logs to be judged again.

        Those whose hub's keys changed since, that a merge marked, or that hold a grant whose assignee's key was not in
        the trust data when it arrived and is now.
        """
        found = []
        countersigned = self._countersigned()
        for origin, row in sorted(self._known.items()):
            if not row["size"]:
                continue
            try:
                hub = hub_of(self._verifier, origin)
            except InputError:
                continue
            stored = load_state(self._storage, origin)
            if stored is None:
                continue
            self._loaded[origin] = stored
            if stored.judged_under != fingerprint(hub) or origin in countersigned:
                found.append(origin)
        return found

    def _countersigned(self) -> set[str]:
        """Logs with a grant that was refused for want of its assignee's signature, and carries it by today's keys."""
        equals = {"kind": GRANT, "state": "SOFT_FAIL", "code": str(Code.POLICY)}
        found = set()
        for row in self._storage.read(FEDERATED_STATEMENT.name, equals=equals).read_all().to_pylist():
            entry = ReplicaLog(self._folder, row["origin"]).entry(row["index"], self.size(row["origin"]))
            read = read_entry(entry)
            if read is None or not isinstance(grant := read[1].predicate, Grant) or row["witnessed_at"] is None:
                continue
            assignee, time = self._verifier.trust.hub(grant.assignee), int(row["witnessed_at"].timestamp())
            keys = {} if assignee is None else assignee.role("publisher")
            counting = {name: key.key for name, key in keys.items() if key.counts_at(time)}
            if row["detail"] == unsigned_grant(grant) and open_envelope(entry).signed_by(counting):
                found.add(row["origin"])
        return found

    def _stored(self, origin: str) -> Stored | None:
        """What is stored of a log; what `outdated` has read is used once, since a merge changes it."""
        return self._loaded.pop(origin, None) or load_state(self._storage, origin)

    def _one(self, delivery: Delivery, group: Group) -> _Open:
        log = ReplicaLog(self._folder, delivery.origin)
        row = self._known.get(delivery.origin)
        stored = self._stored(delivery.origin)
        if row is not None and row["code"] == Code.FORK:
            return self._unchanged(delivery, log, group, row["state"], row["code"], row["detail"])
        if delivery.submission is None:
            return self._unchanged(delivery, log, group, "", "E-NET", delivery.error)
        submission = log.with_waiting(delivery.submission)
        blobs = Intact(submission.blobs)
        submission = replace(submission, blobs=blobs)
        report, found = judge(self._verifier, submission, stored, log)
        verdict = report.verdict
        if verdict.state is State.ACCEPTED:
            return self._grown(delivery, report, found, stored, log, group, blobs)
        if verdict.state is State.PENDING:
            log.wait(submission)
        if verdict.state is State.OLD and stored is not None:
            self._resume(delivery.origin, stored.state, submission.blobs, group, log)
            return self._unchanged(delivery, log, group)
        state = {State.QUARANTINED: "QUARANTINE", State.PENDING: "PENDING"}.get(verdict.state, "")
        evidence = log.evidence(report.evidence) if report.evidence else None
        return self._unchanged(delivery, log, group, state, str(verdict.code or ""), verdict.detail, evidence)

    def _grown(
        self,
        delivery: Delivery,
        report: Report,
        found: Contents,
        stored: Stored | None,
        log: ReplicaLog,
        group: Group,
        blobs: Intact,
    ) -> _Open:
        origin, state = delivery.origin, report.state
        hub = hub_of(self._verifier, origin)
        before = 0 if stored is None else stored.state.size
        withdrawn = self._withdraws(found.entries, state)
        # An empty fingerprint asks for a replay, so that a crash right after the commit does not lose it.
        group.state.update(store_state(state, before, "" if withdrawn else fingerprint(hub)))
        log.keep(report, before, found.blobs)
        counts = self._add(group, found, origin, state, covering(report))
        resumed = self._resume(origin, state, blobs, group, log)
        rows = sum(len(e.rows) for e in found.entries if e.verdict.state is State.ACCEPTED)
        trouble = ("", "")
        if blobs.damaged:
            trouble = (
                str(Code.DIGEST),
                f"{len(blobs.damaged)} payloads were damaged on their way; they are asked for again",
            )
        row = self._log_row(delivery, self._columns(report, origin), "", *trouble)
        self._list(group, row)
        all_counts = dict(counts + resumed)
        merged = Merged(origin, row["state"], *trouble, before, state.size, row["root"], all_counts, rows, delivery.via)
        return _Open(log, before, state.size, withdrawn, merged)

    def _replayed(self, submission: Submission, stored: Stored | None, log: ReplicaLog, group: Group) -> _Open:
        origin = submission.origin
        delivery = Delivery(origin, submission, REPLAY)
        report, found = judge(self._verifier, submission, None, log)
        verdict, state = report.verdict, report.state
        if verdict.state is not State.ACCEPTED:
            kept = "PENDING" if verdict.state is State.PENDING else ""
            return self._unchanged(delivery, log, group, kept, str(verdict.code or ""), verdict.detail)
        if stored is not None:
            # A better cosigned note of the same head, and the witnesses' last times, are knowledge to keep.
            state = replace(state, witnessed=stored.state.witnessed, checkpoint=stored.state.checkpoint)
        group.replayed.add(origin)
        group.state.update(store_state(state, 0, fingerprint(hub_of(self._verifier, origin))))
        counts = self._add(group, found, origin, state, covering(report))
        known = self._known.get(origin)
        problem = (known["state"], known["code"], known["detail"]) if known and known["code"] else ("", "", "")
        row = self._log_row(delivery, self._columns(report, origin), *problem)
        self._list(group, row)
        size, rows = state.size, sum(len(e.rows) for e in found.entries if e.verdict.state is State.ACCEPTED)
        merged = Merged(origin, row["state"], row["code"], "", size, size, row["root"], counts, rows, REPLAY)
        return _Open(log, size, size, False, merged)

    def _columns(self, report: Report, origin: str) -> dict[str, Any]:
        """What an accepted report says about its log."""
        hub = hub_of(self._verifier, origin)
        return {
            "hub": hub.id,
            "province": hub.id[:2],
            "name": hub.name,
            "size": report.state.size,
            "root": report.state.frontier.root().hex(),
            "witnessed_at": instant(report.heads[0].time),
            "witnesses": text_list(report.witnesses),
            "last_ok_at": instant(self._verifier.now),
        }

    def _add(self, group: Group, found: Contents, origin: str, state: LogState, head_of: Covering) -> Counter[str]:
        """Put statements and records into the group; how many statements came to which state."""
        hub = hub_of(self._verifier, origin)
        counts: Counter[str] = Counter()
        for entry in found.entries:
            kept = found.kept.get(entry.index, ())
            row = statement_row(entry, origin, hub, state.digests.get(entry.index), head_of(entry.index), kept)
            group.statements.append(row)
            counts[row["state"]] += 1
            hidden = entry.verdict.state is not State.ACCEPTED
            records = record_batch(entry, origin, hub, hidden)
            if records is not None:
                group.add_rows(*records)
            elif not hidden:
                other = other_record(entry, origin, hub, found.blobs)
                if other is not None:
                    group.add_other(*other)
        return counts

    def _resume(
        self, origin: str, state: LogState, blobs: Mapping[str, bytes], group: Group, log: ReplicaLog
    ) -> Counter[str]:
        """Judge stored batches of a log again that waited for a payload which is at hand now."""
        waiting = {row["index"]: row for row in self._without_payload(origin)}
        results = []
        for index, row in waiting.items():
            pending = pending_result(row, log.entry(index, state.size))
            if pending is not None and any(name in blobs for name, _ in wanted_blobs(pending)):
                with suppress(Refused):
                    results.append(self._verifier.resume(pending, blobs, state))
        found = contents(self._verifier, results, blobs)
        for name, blob in found.blobs.items():
            log.keep_blob(name, blob)
        return self._add(
            group, found, origin, state, lambda i: (waiting[i]["checkpoint_size"], waiting[i]["witnesses"])
        )

    def _without_payload(self, origin: str) -> Sequence[dict[str, Any]]:
        """Stored statements of a log that wait for a payload; read once for all logs of a group, few as they are."""
        if self._lacking is None:
            equals = {"state": "PENDING", "code": str(Code.MISSING)}
            self._lacking = {}
            for row in self._storage.read(FEDERATED_STATEMENT.name, equals=equals).read_all().to_pylist():
                self._lacking.setdefault(row["origin"], []).append(row)
        return self._lacking.get(origin, ())

    def _unchanged(
        self,
        delivery: Delivery,
        log: ReplicaLog,
        group: Group,
        state: str = "",
        code: str = "",
        detail: str = "",
        evidence: str | None = None,
    ) -> _Open:
        columns: dict[str, Any] = {} if evidence is None else {"evidence": evidence}
        if not code:
            columns["last_ok_at"] = instant(self._verifier.now)
        row = self._log_row(delivery, columns, state, code, detail)
        if delivery.origin in self._known or self._is_trusted(delivery.origin):
            self._list(group, row)  # else a stranger could fill the register of logs with names
        size, root = row["size"], row["root"] or ""
        merged = Merged(delivery.origin, row["state"], code, detail, size, size, root, via=delivery.via)
        return _Open(log, size, size, False, merged)

    def _log_row(
        self, delivery: Delivery, columns: Mapping[str, Any], state: str, code: str, detail: str
    ) -> dict[str, Any]:
        """The row of `federated_log` after this delivery."""
        hub = delivery.origin.split("/")[-2] if delivery.origin.count("/") >= 2 else ""
        empty = {"hub": hub, "province": hub[:2], "size": 0}
        before = self._known.get(delivery.origin) or {**dict.fromkeys(f.name for f in FEDERATED_LOG.fields), **empty}
        row = {**before, **columns, "origin": delivery.origin, "code": code, "detail": detail}
        if delivery.via != REPLAY:
            row |= {"last_pull_at": instant(self._verifier.now), "via": delivery.via}
        row["state"] = state or freshness(row, self._verifier.now)
        return row

    def _list(self, group: Group, row: dict[str, Any]) -> None:
        self._known[row["origin"]] = row
        group.logs.append(row)

    def _is_trusted(self, origin: str) -> bool:
        with suppress(InputError):
            return hub_of(self._verifier, origin).id != ""
        return False

    def _withdraws(self, entries: Sequence[EntryResult], state: LogState) -> bool:
        """Does a retraction among them withdraw a policy or grant, so that earlier batches are to be judged again?"""
        return any(
            target.digest in state.book.policies or target.digest in state.book.grants
            for entry in entries
            if isinstance(entry.predicate, Retraction) and entry.verdict.state is State.ACCEPTED
            for target in targets_of(entry)
        )

    def _commit(self, group: Group, open_logs: Sequence[_Open]) -> list[Merged]:
        if not open_logs:
            return []
        redacted = group.redacted()
        drop = self._redact(group, redacted)
        batches = group.batches(f"federation:{open_logs[0].merged.via}")
        for item in open_logs:
            # Before the commit: a crash after it must not leave what was to be dropped.
            item.log.drop_blobs(drop.get(item.merged.origin, ()))
        os.sync()  # one flush for the files of all these logs, before the commit that counts them
        self._storage.commit(batches, group.state)
        self._lacking = None
        for item in open_logs:
            if item.size > item.before:
                item.log.tidy(item.before, item.size)
        merged = [item.merged for item in open_logs]
        for item in open_logs:
            if item.replay:
                list(self.replay([item.merged.origin]))
        return merged

    def _redact(self, group: Group, redacted: Mapping[str, set[int]]) -> dict[str, list[str]]:
        """Mark statements whose payload is to be dropped; origin → names of the files to remove."""
        drop: dict[str, list[str]] = {}
        fresh = {(row["origin"], row["index"]): row for row in group.statements}
        for origin, indices in redacted.items():
            rest = sorted(i for i in indices if (origin, i) not in fresh)
            stored = self._storage.read(FEDERATED_STATEMENT.name, equals={"origin": origin, "index": rest})
            rows = [*stored.read_all().to_pylist(), *(fresh[origin, i] for i in indices if (origin, i) in fresh)]
            for row in rows:
                drop.setdefault(origin, []).extend(msgspec.json.decode(row["blobs"], type=list[str]))
                row["blobs"] = "[]"
                if row["state"] in ("ACCEPTED", "PENDING") and row["rows"] is not None:
                    row |= {"state": "ACCEPTED", "code": "", "detail": REDACTED}
                if (origin, row["index"]) not in fresh:
                    group.statements.append(row)
        return drop


def freshness(row: Mapping[str, Any], now: int) -> str:
    """FRESH, STALE or MISSING, by the time at which witnesses last saw the log."""
    if not row["size"] or row["witnessed_at"] is None:
        return "MISSING"
    return "FRESH" if now - row["witnessed_at"].timestamp() <= SILENCE else "STALE"
