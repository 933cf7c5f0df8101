"""What all GraphQL types share: words in two languages, problems, 64-bit numbers, code lists."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, NewType, TypeVar, cast

import strawberry

from dianhuan_hub.api._access import AccessError
from dianhuan_sdk import InputError

BigInt = NewType("BigInt", int)

BIG_INT = strawberry.scalar(name="BigInt", description="A 64-bit integer, as a JSON number.", serialize=int)


F = TypeVar("F", bound=Callable[..., Any])


def described(description: str) -> Callable[[F], F]:
    """`strawberry.field` with a description; the library's own decorator loses the types of what it decorates."""
    return cast("Callable[[F], F]", strawberry.field(description=description))


@strawberry.type(description="Words for people, in Chinese and English.")
class Words:
    zh: str
    en: str


@strawberry.enum(description="What kind of problem it is.")
class ProblemCode(Enum):
    BAD_USER_INPUT = strawberry.enum_value("bad_user_input", description="An argument is wrong.")
    NOT_FOUND = strawberry.enum_value("not_found", description="There is none, or this key does not see it.")
    FORBIDDEN = strawberry.enum_value("forbidden", description="This key does not allow it.")


@strawberry.type(description="Why there is no answer: what was given, what was expected, what to do.")
class Problem:
    code: ProblemCode
    message: str
    expected: str
    hint: str

    @classmethod
    def of(cls, error: InputError | AccessError) -> Problem:
        """An expected error as a problem."""
        if isinstance(error, NotFoundError):
            code = ProblemCode.NOT_FOUND
        elif isinstance(error, AccessError):
            code = ProblemCode.FORBIDDEN
        else:
            code = ProblemCode.BAD_USER_INPUT
        return cls(code=code, message=error.message, expected=error.expected, hint=error.hint)


class NotFoundError(InputError):
    """There is no such thing, or it is outside of what the key sees: the two look the same from outside."""

    def __init__(self, what: str, key: str) -> None:
        super().__init__(f"no {what} {key!r}", hint="check the id, and which districts your key sees")


T = TypeVar("T")


async def attempt(work: Awaitable[T]) -> T | Problem:
    """The answer of `work`, or the expected error that it ends in."""
    try:
        return await work
    except (InputError, AccessError) as error:
        return Problem.of(error)


@strawberry.enum(description="发现 → 研判 → 交办 → 现场核查 → 处置 → 反馈 → 归档")
class CaseState(Enum):
    FOUND = strawberry.enum_value("found", description="发现")
    ASSESSED = strawberry.enum_value("assessed", description="研判")
    ASSIGNED = strawberry.enum_value("assigned", description="交办")
    INSPECTED = strawberry.enum_value("inspected", description="现场核查")
    HANDLED = strawberry.enum_value("handled", description="处置")
    ANSWERED = strawberry.enum_value("answered", description="反馈")
    ARCHIVED = strawberry.enum_value("archived", description="归档")


@strawberry.enum(description="What a visit found.")
class OutcomeCode(Enum):
    VERIFIED = strawberry.enum_value("verified", description="属实")
    BENIGN_EXPLAINED = strawberry.enum_value("benign_explained", description="有合理解释")
    DEVICE_FAULT = strawberry.enum_value("device_fault", description="设备故障")
    NOT_FOUND = strawberry.enum_value("not_found", description="未发现")
    COULD_NOT_INSPECT = strawberry.enum_value("could_not_inspect", description="无法核查")


@strawberry.enum(description="A model's claim.")
class Verdict(Enum):
    SUSPECT = strawberry.enum_value("suspect", description="可疑")
    CANNOT_TELL = strawberry.enum_value("cannot_tell", description="无法判断")


@strawberry.interface(description="Anything with a global id, see https://relay.dev/graphql/objectidentification.htm")
class Node:
    id: strawberry.ID


def global_id(kind: str, key: object) -> strawberry.ID:
    """The global id of a row."""
    return strawberry.ID(base64.urlsafe_b64encode(f"{kind}:{key}".encode()).decode())


def parse_global_id(text: str) -> tuple[str, str]:
    """Type and key of a global id.

    Raises:
        InputError: it is none.
    """
    try:
        kind, colon, key = base64.b64decode(text.encode("ascii"), b"-_", validate=True).decode().partition(":")
    except (UnicodeError, binascii.Error, ValueError):
        kind = colon = key = ""
    if not (kind and colon and key):
        raise InputError(f"{text[:80]!r} is no global id", expected="the field `id` of a node", hint="ask for `id`")
    return kind, key
