"""What resolvers get of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import strawberry

from dianhuan_hub.api._reader import Reader


@dataclass(frozen=True)
class Context:
    """The request: what it may read."""

    reader: Reader


Info: TypeAlias = strawberry.Info[Context, None]
