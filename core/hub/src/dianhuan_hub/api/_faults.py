"""Errors of a GraphQL answer: each has a code, and words of what to do; defects are logged and not shown."""

from __future__ import annotations

import logging
import uuid

from graphql import GraphQLError, GraphQLSyntaxError

from dianhuan_hub.api._access import AccessError
from dianhuan_sdk import DianhuanError, InputError

log = logging.getLogger(__name__)


def told(error: GraphQLError) -> GraphQLError:
    """An error as it is shown."""
    cause = error.original_error
    while isinstance(cause, GraphQLError):
        cause = cause.original_error
    if error.extensions and "code" in error.extensions:
        return error
    if isinstance(cause, DianhuanError):
        message = cause.message
        facts = {"expected": cause.expected, "hint": cause.hint}
        code = _code(cause)
        if code == "INTERNAL_SERVER_ERROR":
            log.error("GraphQL %s: %s", error.path, cause)
    elif cause is not None and not (error.path is None and error.nodes):
        reference = uuid.uuid4().hex[:12]
        log.error("GraphQL %s, reference %s", error.path, reference, exc_info=cause)
        message, code = f"unexpected error, reference {reference}", "INTERNAL_SERVER_ERROR"
        facts = {"expected": "", "hint": "this is a defect: report it with the reference, which the hub's log explains"}
    elif isinstance(error, GraphQLSyntaxError):
        message, code = error.message, "GRAPHQL_PARSE_FAILED"
        facts = {"expected": "a GraphQL document", "hint": "correct the document"}
    elif error.path is None:  # found before anything ran: a value that a type refuses, too
        message, code = error.message, "GRAPHQL_VALIDATION_FAILED"
        facts = {"expected": "a document that fits the schema", "hint": "see the schema by introspection"}
    else:
        log.error("GraphQL %s: %s", error.path, error.message)
        message, code, facts = error.message, "INTERNAL_SERVER_ERROR", {"expected": "", "hint": "this is a defect"}
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions={"code": code, **facts},
    )


def _code(cause: DianhuanError) -> str:
    if isinstance(cause, AccessError):
        return "FORBIDDEN"
    return "BAD_USER_INPUT" if isinstance(cause, InputError) else "INTERNAL_SERVER_ERROR"
