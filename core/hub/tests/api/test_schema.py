"""The published schema, and Schemathesis over it in process."""

from __future__ import annotations

from pathlib import Path

import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.graphql.checks import GraphQLClientError

from dianhuan_hub.api import build_schema
from dianhuan_hub.api._words import CaseState, OutcomeCode
from dianhuan_standards.tables import OUTCOMES, STATES

KEY = {"Authorization": "Bearer secret-admin-city"}
SDL = Path(__file__).parents[2] / "schema.graphql"


def test_the_copy_in_the_repository_is_the_schema() -> None:
    """Renew it by `python -m dianhuan_hub.api > core/hub/schema.graphql` and look at the difference."""
    assert SDL.read_text("utf-8") == build_schema().as_str() + "\n"


def test_enums_are_the_standards_codes() -> None:
    assert [s.value for s in CaseState] == list(STATES)
    assert [o.value for o in OutcomeCode] == list(OUTCOMES)


def test_schemathesis_finds_no_error_that_is_not_typed(app: FastAPI) -> None:
    """Any error at all fails, but one of our limits: whatever else a user does wrong is a `Problem` in the data."""
    schema = schemathesis.graphql.from_asgi("/graphql", app, headers=KEY)
    operations = [result.ok() for result in schema.get_all_operations()]
    assert {o.label for o in operations} >= {"Query.warnings", "Query.node", "Mutation.moveCase"}
    for operation in operations:
        _fuzz(operation)


def _fuzz(operation: schemathesis.APIOperation) -> None:
    answered = 0

    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def run(case: schemathesis.Case) -> None:
        nonlocal answered
        try:
            case.call_and_validate(headers=KEY)
            answered += 1
        except* GraphQLClientError as group:
            for failure in group.exceptions:
                assert isinstance(failure, GraphQLClientError)
                codes = {error["extensions"]["code"] for error in failure.errors}
                assert codes <= {"BAD_REQUEST", "BAD_USER_INPUT"}, failure.errors

    run()
    assert answered or operation.label == "Query.node", f"{operation.label}: nothing but refusals"
