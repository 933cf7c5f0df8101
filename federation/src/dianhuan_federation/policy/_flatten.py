"""From the standard tables to the flat rows of a source: the one place where columns of the city's tables are named."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

from dianhuan_federation.policy._sources import CONTRIBUTOR, KEY
from dianhuan_sdk import InputError

NEEDS: Mapping[str, tuple[str, ...]] = {
    "warning": ("warning_id", "finding_id", "case_id", "entity_id", "day", "model_id", "score", "raised_at"),
    "finding": ("finding_id", "model_version"),
    "outcome": ("case_id", "code", "at"),
    "entity": ("entity_id", "uscc", "division", "industry"),
}
"""Table → the columns that are read; no other column of any table is ever asked for."""

LEAST_KEY = 16
Rows = Iterable[Mapping[str, Any]]


def pseudonym(key: bytes, kind: str, value: str) -> str:
    """A stable name that says nothing: HMAC-SHA-256 under a key of the city, 32 hex digits.

    Local ids may be made of an account number, so none of them is shared.

    Raises:
        InputError: a key that could be guessed.
    """
    if len(key) < LEAST_KEY:
        raise InputError(f"a key of {len(key)} bytes", expected=f"at least {LEAST_KEY} random bytes")
    return hmac.digest(key, f"{kind}\0{value}".encode(), sha256).hex()[:32]


def flatten(source: str, tables: Mapping[str, Rows], key: bytes) -> tuple[list[dict[str, object]], int]:
    """The rows of a source.

    Args:
        source: `warnings` or `outcomes`.
        tables: table → rows with the columns of `NEEDS`.
        key: the city's secret key for pseudonyms.

    Returns:
        The rows, and how many were left out: of an enterprise without credit code or division, or of a finding
        without a model version. An outcome counts once for each warning of its case, the latest one of a case.

    Raises:
        InputError: another source, or a weak key.
    """
    entities = {row["entity_id"]: row for row in tables["entity"]}
    if source == "warnings":
        versions = {row["finding_id"]: row["model_version"] for row in tables["finding"]}
        made = [_warning(row, entities.get(row["entity_id"]), versions, key) for row in tables["warning"]]
    elif source == "outcomes":
        latest: dict[str, Mapping[str, Any]] = {}
        for row in tables["outcome"]:
            if row["case_id"] not in latest or row["at"] > latest[row["case_id"]]["at"]:
                latest[row["case_id"]] = row
        made = [
            _outcome(row, entities.get(row["entity_id"]), latest[row["case_id"]], key)
            for row in tables["warning"]
            if row["case_id"] in latest
        ]
    else:
        raise InputError(f"source {source}", expected="warnings or outcomes")
    rows = [row for row in made if row is not None]
    return rows, len(made) - len(rows)


def _warning(
    row: Mapping[str, Any], entity: Mapping[str, Any] | None, versions: Mapping[str, str], key: bytes
) -> dict[str, object] | None:
    version = versions.get(row["finding_id"])
    if entity is None or not entity["uscc"] or not entity["division"] or version is None:
        return None
    return {
        **_who(row, entity, key),
        "enterprise": entity["uscc"],
        "day": _day(row["day"]),
        "model_id": row["model_id"],
        "model_version": version,
        "score": f"{row['score']:.4f}",
        "raised_at": _instant(row["raised_at"]),
    }


def _outcome(
    row: Mapping[str, Any], entity: Mapping[str, Any] | None, outcome: Mapping[str, Any], key: bytes
) -> dict[str, object] | None:
    if entity is None or not entity["division"]:
        return None
    who = _who(row, entity, key)
    return {**who, "warning_id": who[KEY], "result": outcome["code"], "closed_at": _instant(outcome["at"])}


def _who(row: Mapping[str, Any], entity: Mapping[str, Any], key: bytes) -> dict[str, object]:
    return {
        KEY: pseudonym(key, "warning", row["warning_id"]),
        CONTRIBUTOR: pseudonym(key, "entity", entity["uscc"] or row["entity_id"]),
        "division": entity["division"],
        "industry": entity["industry"],
    }


def _day(value: date) -> str:
    return value.isoformat()


def _instant(value: datetime) -> str:
    return value.astimezone(UTC).replace(microsecond=0).strftime("%Y-%m-%dT%H:%M:%SZ")
