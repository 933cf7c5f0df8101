"""The desk: statements made one after the other, each at the place that the one before leaves it."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dianhuan_federation.core import (
    GZIP,
    Correction,
    Encoding,
    Head,
    Inputs,
    PolicyRef,
    Ref,
    ResultBatch,
    RowSchema,
    Target,
    build_statement,
    digests,
)
from dianhuan_federation.core import Period as Between
from dianhuan_federation.policy import Compiled
from dianhuan_federation.publish._ledger import Ledger, instant
from dianhuan_federation.publish._settings import Settings
from dianhuan_sdk import ConfigError


@dataclass(frozen=True, slots=True)
class Draft:
    """A statement before it is signed.

    Args:
        index: its place in the log.
        kind: last part of its predicate type.
        stream: its stream.
        statement: canonical bytes.
        payload: uncompressed rows of a batch.
        blobs: SHA-256 in hex → bytes to be served.
        files: name → bytes to be kept below `private/`.
        policy: id of the policy under which it leaves; empty where none is needed.
        recipients: hub ids; empty for everyone.
        envelope: a signed envelope that was handed in; None to be signed here.
    """

    index: int
    kind: str
    stream: str
    statement: bytes
    payload: bytes | None = None
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    policy: str = ""
    recipients: tuple[str, ...] = ()
    envelope: bytes | None = None


class Desk:
    """Makes drafts on a copy of the ledger: nothing is signed, written or sent here.

    Args:
        settings: of the publisher.
        ledger: as it stands; it is copied.
        now: the present.
        today: the civil day.
    """

    def __init__(self, settings: Settings, ledger: Ledger, now: datetime, today: date) -> None:
        if ledger.successor:
            raise ConfigError(
                f"the log {ledger.origin} is closed",
                expected=f"its successor {ledger.successor}",
                hint="set `origin` to the successor",
            )
        self.settings = settings
        self.ledger = ledger.copy()
        self.now = now.replace(microsecond=0)
        self.today = today
        self.drafts: list[Draft] = []

    def state(self, model: type[Head], stream: str, fields: Mapping[str, Any], **about: Any) -> Draft:
        """One more statement of that kind; its words are read by the gate first.

        Args:
            model: the predicate model.
            stream: its stream.
            fields: of the predicate, without those of its head.
            about: further fields of the draft; `terms` goes to the ledger.

        Raises:
            InputError: the gate refuses the words, or the statement is too long.
        """
        for words in (fields.get("reason"), fields.get("legal_basis")):
            if words is not None:
                self.settings.gate.check_text(words)
        last, digest = self.ledger.streams.get(stream, (0, None))
        predicate = model(
            origin=self.ledger.origin,
            stream=stream,
            stream_seq=last + 1,
            prev_statement_digest=digest,
            issued_at=self.now,
            **fields,
        )
        return self.place(build_statement(predicate, about.get("payload")), stream, **about)

    def place(self, statement: bytes, stream: str, terms: str = "", **about: Any) -> Draft:
        """A statement that is made already, at the next place."""
        index = self.ledger.add(statement, about.get("payload"), terms)
        draft = Draft(index, self.ledger.entries[index].kind, stream, statement, **about)
        self.drafts.append(draft)
        return draft

    def batch(
        self,
        model: type[ResultBatch],
        compiled: Compiled,
        recipients: tuple[str, ...],
        inputs: Inputs,
        files: Mapping[str, bytes] | None = None,
        named: Ref | None = None,
        supersedes: Sequence[Target] = (),
        reason: str = "",
    ) -> Draft:
        """A batch of rows that passed the policy; the gate looks at its bytes.

        Args:
            model: the kind of batch.
            compiled: what the policy made.
            recipients: hub ids; empty for everyone.
            inputs: commitment and coverage.
            files: to be kept in the city.
            named: the model behind all rows, where there is one and it was published.
            supersedes, reason: of a correction.

        Raises:
            InputError: the gate refuses.
        """
        terms, rows = compiled.terms, compiled.rows
        self.settings.gate.check(compiled.schema, rows.payload, recipients, self.today, self.ledger.releases())
        blob = gzip.compress(rows.payload, mtime=0)
        digest = sha256(blob).hexdigest()
        more = {"supersedes": list(supersedes), "reason": reason} if model is Correction else {}
        fields = {
            "schema": schema_ref(compiled.schema),
            "period": Between(start=instant(compiled.start), end=instant(compiled.end)),
            "rows": rows.count,
            "row_root": rows.root.hex(),
            "encodings": [
                Encoding(media_type=GZIP, digest=digests(blob), size=len(blob), uncompressed_size=len(rows.payload))
            ],
            "model": named,
            "standard": None,
            "policy": PolicyRef(id=terms.id, digest=self.ledger.policies[terms.id].digest),
            "disclosure": compiled.disclosure,
            "inputs": inputs,
            "software": software(),
            **more,
        }
        return self.state(
            model,
            terms.target,
            fields,
            payload=rows.payload,
            blobs={digest: blob},
            files=files or {},
            policy=terms.id,
            recipients=recipients,
        )


def schema_ref(schema: RowSchema) -> Ref:
    """How a statement names a row schema."""
    return Ref(id=schema.id, version=schema.version, digest=schema.digest)


@cache
def software() -> Ref:
    """This distribution: its version, and a digest over its source files."""
    folder = Path(__file__).parents[1]
    total = sha256()
    for path in sorted(folder.rglob("*.py")):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + sha256(path.read_bytes()).digest())
    return Ref(id="dianhuan-federation", version=version("dianhuan-federation"), digest=total.hexdigest())
