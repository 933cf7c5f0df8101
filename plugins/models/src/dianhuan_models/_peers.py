"""Where an enterprise stands among its peers: industry × size × tariff, with back-off to wider groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dianhuan_models._city import City
from dianhuan_models._stats import Array, Rows
from dianhuan_sdk import Text

MIN_PEERS = 30
SIZE_BANDS_KVA = (100.0, 315.0, 1000.0, 3150.0)
"""Contract capacity bands; 315 kVA is where the two-part tariff for large industry used to begin."""

LEVELS: tuple[Text, ...] = (
    Text("同行业同规模同电价", "same industry class, size and tariff"),
    Text("同行业大类同电价", "same industry division and tariff"),
    Text("同行业门类同电价", "same industry section and tariff"),
    Text("同电价", "same tariff"),
    Text("全市", "the whole city"),
)


@dataclass(frozen=True, slots=True)
class Placement:
    """Position of some rows among their peers; arrays of shape (rows,).

    Args:
        rank: part of the peers that lie strictly below, 0 … 1; NaN where the value is NaN or no group is large enough.
        middle: median of the group.
        high: 99th percentile of the group.
        count: members of the group.
        level: index into `LEVELS`; −1 where no group is large enough.
    """

    rank: Array
    middle: Array
    high: Array
    count: Rows
    level: Rows

    def take(self, keep: np.ndarray[Any, Any]) -> Placement:
        """The same for a choice of the rows (indices or a mask)."""
        return Placement(self.rank[keep], self.middle[keep], self.high[keep], self.count[keep], self.level[keep])


class Peers:
    """Peer groups of one city, from narrow to wide."""

    def __init__(self, city: City) -> None:
        industries, industry = city.codes("industry")
        tariffs, tariff = city.codes("tariff_class")
        band = np.digitize(city.number("contract_kva"), SIZE_BANDS_KVA)  # NaN falls into the last band of its own
        band = np.where(city.known("contract_kva"), band, len(SIZE_BANDS_KVA) + 1)
        division = _shorter(industries, 3)[industry]
        section = _shorter(industries, 1)[industry]
        width = max(len(tariffs), 1)
        bands = len(SIZE_BANDS_KVA) + 2
        self._keys: tuple[Rows, ...] = (
            (industry * bands + band) * width + tariff,
            division * width + tariff,
            section * width + tariff,
            tariff,
            np.zeros(city.size, dtype=np.int64),
        )

    def place(self, values: np.ndarray[Any, Any], rows: Rows, at_least: int = MIN_PEERS) -> Placement:
        """Stand of `rows` by `values` (shape (entities,), NaN = not a member of any group).

        A group has `at_least` members, and never fewer than `MIN_PEERS`; otherwise the next wider one is taken.
        """
        values = np.asarray(values, dtype=np.float32)
        member = ~np.isnan(values)
        rank, middle, high = (np.full(len(rows), np.nan) for _ in range(3))
        count = np.zeros(len(rows), dtype=np.int64)
        level = np.full(len(rows), -1, dtype=np.int64)
        pending = np.flatnonzero(member[rows])
        bits = _ordered_bits(values)
        for number, key in enumerate(self._keys):
            if not len(pending):
                break
            sizes = np.bincount(key[member], minlength=int(key.max()) + 1)
            enough = sizes[key[rows[pending]]] >= max(at_least, MIN_PEERS)
            ready, pending = pending[enough], pending[~enough]
            if not len(ready):
                continue
            mine = key[rows[ready]]
            wanted = np.zeros(len(sizes), dtype=bool)
            wanted[mine] = True
            inside = member & wanted[key]
            # group in the upper half, value in the lower: one plain sort orders all groups at once
            merged = np.sort((key[inside].astype(np.uint64) << np.uint64(32)) | bits[inside])
            start = np.searchsorted(merged, mine.astype(np.uint64) << np.uint64(32))
            own = (mine.astype(np.uint64) << np.uint64(32)) | bits[rows[ready]]
            n = sizes[mine]
            rank[ready] = (np.searchsorted(merged, own) - start) / n
            middle[ready] = (_value(merged[start + (n - 1) // 2]) + _value(merged[start + n // 2])) / 2
            high[ready] = _value(merged[start + (0.99 * (n - 1)).astype(np.int64)])
            count[ready] = n
            level[ready] = number
        return Placement(rank, middle, high, count, level)


def _ordered_bits(values: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """float32 as integers of the same order: the sign bit is flipped, and all bits of negative numbers."""
    raw = (values + np.float32(0)).view(np.uint32)  # + 0 turns −0 into 0
    return np.where(raw >> 31, ~raw, raw | np.uint32(1 << 31)).astype(np.uint64)


def _value(merged: np.ndarray[Any, np.dtype[np.uint64]]) -> Array:
    """The value of a merged key: inverse of `_ordered_bits`."""
    low = (merged & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    raw = np.where(low >> 31, low & np.uint32(0x7FFFFFFF), ~low)
    return raw.view(np.float32).astype(np.float64)


def _shorter(vocabulary: list[str], letters: int) -> Rows:
    """Index of the shortened code for each code of a vocabulary."""
    short = sorted({v[:letters] for v in vocabulary})
    return np.array([short.index(v[:letters]) for v in vocabulary] or [0], dtype=np.int64)
