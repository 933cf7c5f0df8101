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

    def place(self, values: np.ndarray[Any, Any], rows: Rows) -> Placement:
        """Stand of `rows` by `values` (shape (entities,), NaN = not a member of any group)."""
        member = ~np.isnan(values)
        rank, middle, high = (np.full(len(rows), np.nan) for _ in range(3))
        count = np.zeros(len(rows), dtype=np.int64)
        level = np.full(len(rows), -1, dtype=np.int64)
        pending = np.flatnonzero(member[rows])
        for number, key in enumerate(self._keys):
            if not len(pending):
                break
            sizes = np.bincount(key[member], minlength=int(key.max()) + 1)
            asked = key[rows[pending]]
            enough = sizes[asked] >= MIN_PEERS
            ready, pending = pending[enough], pending[~enough]
            if not len(ready):
                continue
            wanted = np.zeros(len(sizes), dtype=bool)
            wanted[asked[enough]] = True
            members = np.flatnonzero(member & wanted[key])
            order = np.lexsort((values[members], key[members]))
            ordered = values[members][order]
            ends = np.cumsum(np.where(wanted, sizes, 0))
            by_group = ready[np.argsort(key[rows[ready]], kind="stable")]
            groups, first = np.unique(key[rows[by_group]], return_index=True)
            for group, some in zip(groups, np.split(by_group, first[1:]), strict=True):
                inside = ordered[ends[group] - sizes[group] : ends[group]]
                rank[some] = np.searchsorted(inside, values[rows[some]]) / len(inside)
                middle[some] = np.median(inside)
                high[some] = inside[int(0.99 * (len(inside) - 1))]
                count[some] = len(inside)
            level[ready] = number
        return Placement(rank, middle, high, count, level)


def _shorter(vocabulary: list[str], letters: int) -> Rows:
    """Index of the shortened code for each code of a vocabulary."""
    short = sorted({v[:letters] for v in vocabulary})
    return np.array([short.index(v[:letters]) for v in vocabulary] or [0], dtype=np.int64)
