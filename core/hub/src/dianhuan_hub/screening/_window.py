"""A shorter window over a block that is already loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from dianhuan_sdk import Block
from dianhuan_sdk.features import FloatArray
from dianhuan_sdk.models import IndexArray


@dataclass(frozen=True)
class LastDays:
    """The last `span` days of a block, so that models with different windows share one read."""

    block: Block
    span: int

    @property
    def entities(self) -> pa.Table:
        """See `dianhuan_sdk.Block.entities`."""
        return self.block.entities

    @property
    def days(self) -> Sequence[date]:
        """See `dianhuan_sdk.Block.days`."""
        return self.block.days[-self.span :]

    def feature(self, name: str) -> FloatArray:
        """See `dianhuan_sdk.Block.feature`."""
        return self.block.feature(name)[:, -self.span :]

    def curves(self, rows: IndexArray) -> FloatArray:
        """See `dianhuan_sdk.Block.curves`."""
        return self.block.curves(rows)[:, -self.span :]
