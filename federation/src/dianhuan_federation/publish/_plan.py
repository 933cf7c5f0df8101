"""What is due: policies, new rows, changed rows, rows that do not stand any more, whole periods of statistics."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from hashlib import sha256
from typing import Any

from dianhuan_federation.core import (
    Correction,
    Inputs,
    Ref,
    ResultBatch,
    Retraction,
    SharePolicy,
    Target,
    canonical,
    lines_of,
    parse,
)
from dianhuan_federation.policy import (
    KEY,
    NEEDS,
    Compiled,
    SharingTerms,
    compile_rows,
    flatten,
    pseudonym,
    read_terms,
)
from dianhuan_federation.publish._commitments import Commitment, commit_to, committed
from dianhuan_federation.publish._desk import Desk, schema_ref
from dianhuan_federation.publish._ledger import WITHDRAWN, Ledger, Place, line_digest
from dianhuan_federation.publish._settings import Settings
from dianhuan_federation.publish._statistics import CHANGED, LEGAL_BASIS, MAX_NAMED, due_statistics
from dianhuan_sdk import LOCAL_ZONE, InputError, StoragePort

POLICIES = "policies"
MAX_ROWS = 20_000
"""Rows of one batch, beyond the day on which they are reached."""

MAX_TARGETS = 16
LEAST_GONE, GONE_SHARE = 10, 10
"""More rows than this, and one in so many, do not vanish by themselves: a person must say so."""


@dataclass(slots=True)
class Refusal:
    """What was due and did not leave."""

    policy: str
    stream: str
    reason: str


@dataclass(slots=True)
class Plan:
    """What would leave.

    Args:
        desk: the drafts.
        refused: what did not pass, with the reason.
        left_out: source → rows without credit code, division or model version, which no policy shares.
    """

    desk: Desk
    refused: list[Refusal] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)


Kept = Callable[[int], bytes | None]
"""Index of a batch → what the city keeps of its commitment."""


class Planner:
    """Reads the hub's tables once and drafts what is due.

    Args:
        settings: of the publisher.
        storage: the hub's storage.
        kept: files of earlier commitments.
    """

    def __init__(self, settings: Settings, storage: StoragePort, kept: Kept) -> None:
        self._settings = settings
        self._storage = storage
        self._kept = kept
        self._tables: dict[str, list[dict[str, Any]]] = {}

    def plan(self, desk: Desk) -> Plan:
        """Draft everything that is due; one policy that is refused does not stop the others."""
        plan = Plan(desk)
        streams: set[str] = set()
        for label, data in self._settings.policies:
            stream = ""
            try:
                terms = read_terms(data)
                stream = terms.target
                if stream in streams:
                    raise InputError(f"a second policy for stream {stream}", expected="one policy for each stream")
                streams.add(stream)
                self._one(plan, terms, data)
            except InputError as error:
                plan.refused.append(Refusal(label, stream, str(error)))
        return plan

    def flat(self, source: str) -> tuple[list[dict[str, object]], int]:
        """The rows of a source, and how many were left out."""
        return flatten(source, self._read(), self._settings.pseudonym_key)

    def behind(self, ids: Collection[str]) -> dict[str, tuple[str, date]]:
        """Record id → the enterprise and day that its warning is about."""
        key = self._settings.pseudonym_key
        named = ((pseudonym(key, "warning", row["warning_id"]), row) for row in self._read()["warning"])
        return {id: (row["entity_id"], row["day"]) for id, row in named if id in ids}

    def _read(self) -> dict[str, list[dict[str, Any]]]:
        if not self._tables:
            self._tables = {
                name: self._storage.read(name, columns=columns).read_all().to_pylist()
                for name, columns in NEEDS.items()
            }
        return self._tables

    def _one(self, plan: Plan, terms: SharingTerms, data: bytes) -> None:
        desk = plan.desk
        self._log_policy(desk, terms, data)
        if terms.klass == "withheld":
            return
        if not terms.valid_from <= desk.now < terms.valid_until:
            raise InputError(
                f"policy {terms.id} is not in force", expected=f"{terms.valid_from} to {terms.valid_until}"
            )
        recipients: tuple[str, ...] = ()
        if terms.klass == "conditional":
            holders = desk.ledger.holders(desk.ledger.policies[terms.id].digest, desk.now)
            recipients = tuple(who for who in holders if who in terms.assignee)
            if not recipients:
                raise InputError(
                    f"policy {terms.id} is conditional and nobody holds a grant in force under it",
                    expected="a grant signed by both sides",
                    hint="dianhuan federation grant",
                )
        rows, plan.left_out[terms.source] = self.flat(terms.source)
        if terms.aggregation is not None:
            refused = due_statistics(desk, terms, rows)
        else:
            refused = self._due_rows(desk, terms, rows, recipients)
        plan.refused.extend(Refusal(terms.id, terms.target, reason) for reason in refused)

    def _log_policy(self, desk: Desk, terms: SharingTerms, data: bytes) -> None:
        """A policy statement stands before its first batch; the same version never says two things."""
        if terms.assigner != self._settings.hub:
            raise InputError(f"policy {terms.id} of hub {terms.assigner}", expected=self._settings.hub)
        logged = desk.ledger.policies.get(terms.id)
        file = sha256(canonical(parse(data))).hexdigest()
        if logged is not None:
            if terms.version < logged.version:
                raise InputError(
                    f"policy {terms.id} version {terms.version} after {logged.version}", expected="no older version"
                )
            if terms.version == logged.version:
                if not terms.matches(logged.statement) or logged.terms not in ("", file):
                    raise InputError(
                        f"policy {terms.id} was changed without a new version", expected=f"version {terms.version + 1}"
                    )
                if logged.digest in desk.ledger.withdrawn:
                    raise InputError(f"policy {terms.id} was withdrawn", expected=f"version {terms.version + 1}")
                return
        fields = terms.statement_fields()
        fields["schema"] = schema_ref(terms.of.schema_of(terms.schema.id, terms.schema.version))
        desk.state(SharePolicy, POLICIES, fields, terms=file, policy=terms.id)

    def _due_rows(
        self, desk: Desk, terms: SharingTerms, rows: Sequence[Mapping[str, object]], recipients: tuple[str, ...]
    ) -> list[str]:
        start, end = terms.valid_from.astimezone(LOCAL_ZONE).date(), desk.today
        if start >= end:
            return []
        present = compile_rows(terms, rows, start, end, desk.now)
        lines = {str(parse(line)[KEY]): line_digest(line) for line in lines_of(present.rows.payload)}
        by_id = {str(row[KEY]): row for row in rows if str(row[KEY]) in lines}
        day_of = {id: date.fromisoformat(str(row[terms.of.day])[:10]) for id, row in by_id.items()}
        unknown = [(date.fromisoformat(a), date.fromisoformat(b)) for a, b in desk.ledger.unknown_days(terms.target)]
        hidden = {id for id, day in day_of.items() if any(a <= day < b for a, b in unknown)}
        refused = [f"{len(hidden)} rows of days whose earlier batch is not known any more"] if hidden else []
        standing = {
            id: place
            for id, place in desk.ledger.records.get(terms.target, {}).items()
            if place.index not in desk.ledger.redacted
        }
        known = desk.ledger.records.get(terms.target, {})
        barred = desk.ledger.barred.get(terms.target, {})
        new = [id for id in lines if id not in known and id not in hidden and barred.get(id) != lines[id]]
        changed = [id for id in lines if id in standing and standing[id].line != lines[id] and id not in hidden]
        gone = [id for id, p in standing.items() if id not in lines and start.isoformat() <= p.day < end.isoformat()]

        def compiled(ids: Sequence[str]) -> Compiled:
            first, last = min(day_of[id] for id in ids), max(day_of[id] for id in ids)
            return compile_rows(terms, [by_id[id] for id in ids], first, last + timedelta(1), desk.now)

        for ids in by_days(new, day_of):
            with _counted(refused):
                self._row_batch(desk, ResultBatch, compiled(ids), recipients)
        for targets, ids in named(desk.ledger, {id: standing[id] for id in changed}):
            with _counted(refused):
                self._row_batch(desk, Correction, compiled(ids), recipients, targets)
        if len(gone) > max(LEAST_GONE, len(standing) // GONE_SHARE):
            refused.append(
                f"{len(gone)} of {len(standing)} shared rows are gone from the hub: that many are not withdrawn by "
                "themselves; if it is meant, `dianhuan federation retract`"
            )
        else:
            for targets, _ in named(desk.ledger, {id: standing[id] for id in gone}):
                desk.state(
                    Retraction, terms.target, {"targets": targets, "reason": WITHDRAWN, "legal_basis": LEGAL_BASIS}
                )
        return refused

    def _row_batch(
        self,
        desk: Desk,
        model: type[ResultBatch],
        compiled: Compiled,
        recipients: tuple[str, ...],
        supersedes: Sequence[Target] = (),
    ) -> None:
        commitment = self._commitment(desk, compiled, supersedes) if compiled.terms.source == "warnings" else None
        inputs = Inputs(commitment=None, expected=0, present=0, late=0) if commitment is None else commitment.inputs
        files = {} if commitment is None else {f"commitments/{desk.ledger.size}.json": commitment.file}
        reason = CHANGED if model is Correction else ""
        named_model = self._model(desk, compiled)
        desk.batch(model, compiled, recipients, inputs, files, named_model, supersedes, reason)

    def _commitment(self, desk: Desk, compiled: Compiled, supersedes: Sequence[Target]) -> Commitment | None:
        key = self._settings.pseudonym_key
        behind = self.behind(compiled.used)
        before: dict[str, list[str]] | None = {} if supersedes else None
        for target in supersedes:
            file = self._kept(target.index)
            if file is not None and before is not None:
                before.update({id: mine for id, mine in committed(file).items() if id in behind})
        number = desk.ledger.streams.get(compiled.terms.target, (0, ""))[0] + 1
        return commit_to(self._storage, key, (desk.ledger.origin, compiled.terms.target, number), behind, before)

    def _model(self, desk: Desk, compiled: Compiled) -> Ref | None:
        """The one published model behind all rows."""
        rows = [parse(line) for line in lines_of(compiled.rows.payload)]
        models = {(row.get("model_id"), row.get("model_version")) for row in rows}
        if len(models) != 1:
            return None
        id, version = models.pop()
        digest = desk.ledger.models.get(f"{id} {version}")
        return None if digest is None else Ref(id=str(id), version=str(version), digest=digest)


class _counted:
    """One batch that is refused does not stop the next; its reason is kept."""

    def __init__(self, refused: list[str]) -> None:
        self._refused = refused

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, InputError):
            self._refused.append(str(error))
            return True
        return False


def by_days(ids: Iterable[str], day_of: Mapping[str, date]) -> Iterator[list[str]]:
    """Record ids in batches of whole days; a batch ends with the day in which it reaches `MAX_ROWS`."""
    batch: list[str] = []
    last: date | None = None
    for id in sorted(ids, key=lambda id: (day_of[id], id)):
        if len(batch) >= MAX_ROWS and day_of[id] != last:
            yield batch
            batch = []
        batch.append(id)
        last = day_of[id]
    if batch:
        yield batch


def named(ledger: Ledger, places: Mapping[str, Place]) -> Iterator[tuple[list[Target], list[str]]]:
    """Targets and record ids, in portions that fit one statement."""
    portion: dict[int, list[str]] = {}
    count = 0
    for id, place in sorted(places.items(), key=lambda item: (item[1].index, item[0])):
        if count == MAX_NAMED or (place.index not in portion and len(portion) == MAX_TARGETS):
            yield _portion(ledger, portion)
            portion, count = {}, 0
        portion.setdefault(place.index, []).append(id)
        count += 1
    if portion:
        yield _portion(ledger, portion)


def _portion(ledger: Ledger, portion: Mapping[int, list[str]]) -> tuple[list[Target], list[str]]:
    return [ledger.target(index, ids) for index, ids in portion.items()], [id for ids in portion.values() for id in ids]
