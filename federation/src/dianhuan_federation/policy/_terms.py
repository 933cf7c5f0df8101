"""The terms of sharing: a strict JSON document in the words of ODRL 2.2, in the classes of State Council Order 809."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from dianhuan_federation.core import SharePolicy, parse
from dianhuan_federation.policy._sources import SOURCES, Source
from dianhuan_sdk import InputError

Name = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9-]{0,63}\Z")]
HubId = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{6}\Z")]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]

LEAST_K = 5
"""A released cell has at least this many contributors, whatever a policy asks for."""


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    pass


class Constraint(_Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A row filter: `leftOperand` is a field of the source (ODRL constraint)."""

    left_operand: Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9_]{0,63}\Z")]
    operator: Literal["eq", "neq", "isAnyOf", "gteq", "lteq"]
    right_operand: Annotated[str, msgspec.Meta(max_length=64)] | Annotated[list[str], msgspec.Meta(max_length=400)]

    def holds(self, value: object) -> bool:
        """Does a row's value pass? A missing value never does."""
        wanted = self.right_operand
        if not isinstance(value, str):
            return False
        if isinstance(wanted, list):
            return value in wanted
        return {
            "eq": value == wanted,
            "neq": value != wanted,
            "gteq": value >= wanted,
            "lteq": value <= wanted,
        }[self.operator]


class Aggregation(_Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table: cells by division, or by division and industry with the division's total beside them.

    `value` names the field that is summed; None counts rows. `min_days` is the shortest period of a release.
    """

    measure: Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9_]{0,31}\Z")]
    unit: Annotated[str, msgspec.Meta(max_length=16)]
    by: Literal["division", "division-industry"]
    value: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    min_days: Annotated[int, msgspec.Meta(ge=7, le=366)] = 7


class DisclosureRule(_Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a cell is judged: at least `k` contributors, and the p % rule or (n, share) dominance.

    p % rule: unsafe where the second largest contributor can estimate the largest to within p %.
    Dominance: unsafe where the n largest hold more than `share` percent. `roundTo` blurs what is released.
    """

    rule: Literal["p-percent", "dominance"]
    k: Annotated[int, msgspec.Meta(ge=LEAST_K, le=1000)] = LEAST_K
    p: Annotated[int, msgspec.Meta(ge=10, le=100)] = 10
    n: Annotated[int, msgspec.Meta(ge=1, le=5)] = 2
    share: Annotated[int, msgspec.Meta(ge=1, le=85)] = 85
    round_to: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1


class SchemaName(_Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Id and version of a row schema."""

    id: Name
    version: Annotated[str, msgspec.Meta(max_length=16)]


class SharingTerms(_Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What may leave in one stream, to whom, for what.

    Args:
        id, version: of the policy; a higher version replaces a lower one.
        assigner: hub id of the one who shares.
        assignee: hub ids of those who may receive it; empty for everyone, which only `unconditional` allows.
        target: the stream.
        source: what it is made of, one of `SOURCES`.
        klass: `unconditional` 无条件, `conditional` 有条件, `withheld` 不予共享 (JSON name `class`).
        purpose: what it may be used for (Order 809, article 25).
        onward: may a recipient pass it on?
        schema, fields: the row schema, and every field of it by name: nothing is shared that is not named here.
        constraint: row filter.
        aggregation, disclosure: of a statistic; null for single rows.
    """

    id: Name
    version: Annotated[int, msgspec.Meta(ge=1, le=2**31)]
    assigner: HubId
    assignee: Annotated[list[HubId], msgspec.Meta(max_length=512)]
    target: Name
    source: Name
    klass: Literal["unconditional", "conditional", "withheld"] = msgspec.field(name="class")
    purpose: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    onward: bool
    schema: SchemaName
    fields: Annotated[list[str], msgspec.Meta(min_length=1, max_length=64)]
    constraint: Annotated[list[Constraint], msgspec.Meta(max_length=16)] = []
    aggregation: Aggregation | None = None
    disclosure: DisclosureRule | None = None
    valid_from: Instant
    valid_until: Instant

    @property
    def of(self) -> Source:
        """The source."""
        return SOURCES[self.source]

    def statement_fields(self) -> dict[str, Any]:
        """The fields of the `share-policy` statement by which verifiers judge its batches (V8)."""
        schema = self.of.schema_of(self.schema.id, self.schema.version)
        return {
            "id": self.id,
            "version": self.version,
            "target": self.target,
            "klass": self.klass,
            "purpose": self.purpose,
            "onward": self.onward,
            "schema": {"id": schema.id, "version": schema.version, "digest": schema.digest},
            "fields": sorted(self.fields),
            "valid_from": self.valid_from,
            "valid_until": self.valid_until,
        }

    def matches(self, statement: SharePolicy) -> bool:
        """Does the logged policy say what these terms say?"""
        fields = self.statement_fields()
        schema = fields.pop("schema")
        logged = msgspec.structs.asdict(statement)
        return msgspec.to_builtins(statement.schema) == schema and all(logged[k] == v for k, v in fields.items())


def read_terms(data: bytes) -> SharingTerms:
    """Read a policy file; what it does not say is denied, and what is not known is refused.

    Raises:
        InputError: not the strict form, an unknown source, schema or field, or terms that contradict each other.
    """
    try:
        terms = msgspec.convert(parse(data), SharingTerms, strict=True)
    except msgspec.ValidationError as error:
        raise InputError(
            f"not a sharing policy: {error}",
            expected="the fields of SharingTerms and no others",
            hint="see federation/README.md, 'Sharing policy'",
        ) from None
    _check(terms)
    return terms


def _check(terms: SharingTerms) -> None:
    def wrong(message: str, expected: str) -> InputError:
        return InputError(f"policy {terms.id}: {message}", expected=expected)

    source = SOURCES.get(terms.source)
    if source is None:
        raise wrong(f"source {terms.source}", f"one of {', '.join(SOURCES)}")
    table = terms.aggregation
    if (table is None) != (terms.disclosure is None):
        raise wrong("aggregation without disclosure control, or the reverse", "both or neither")
    schema = source.schema_of(terms.schema.id, terms.schema.version)
    if (schema.id == "statistic") != (table is not None):
        raise wrong(f"schema {schema.id}", "schema statistic with an aggregation, and only there")
    columns = {column.name for column in schema.columns}
    if len(set(terms.fields)) != len(terms.fields) or set(terms.fields) != columns:
        unknown = sorted(set(terms.fields) - columns)
        raise wrong(f"field {unknown[0]}" if unknown else "fields left out or twice", f"exactly {sorted(columns)}")
    if not terms.valid_from < terms.valid_until:
        raise wrong("validFrom is not before validUntil", "a period of validity")
    if table is None and terms.klass == "unconditional":
        raise wrong("single rows for everyone", "class conditional for rows about one enterprise")
    if terms.klass == "conditional" and not terms.assignee:
        raise wrong("conditional terms for everyone", "an assignee")
    if terms.klass == "unconditional" and terms.assignee:
        raise wrong("unconditional terms with an assignee", "an empty assignee")
    if table is not None and table.value is not None and table.value not in source.numbers:
        raise wrong(f"sum of {table.value}", f"one of {sorted(source.numbers) or '(none)'}")
    for constraint in terms.constraint:
        if constraint.left_operand not in source.fields:
            raise wrong(f"constraint on {constraint.left_operand}", f"one of {sorted(source.fields)}")
        if (constraint.operator == "isAnyOf") != isinstance(constraint.right_operand, list):
            raise wrong(f"operand of {constraint.operator}", "a list for isAnyOf, a text otherwise")
