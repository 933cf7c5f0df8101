"""Numbers into CSV text, a block at a time: each reading is looked up as eight ready bytes.

A reading is a count of its meter's quantum (0.0001 or 0.001 kW), at most 99,999 either way, so that its text with
the comma before it never exceeds eight bytes; the zero bytes that pad the cells are deleted in one pass.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from dianhuan_simulator._random import Ints

LIMIT = 99_999
QUANTA = (0.0001, 0.001)
"""kW of one count, by the number of the quantum."""

_SPAN = 2 * LIMIT + 1
MISSING = len(QUANTA) * _SPAN
"""Index of the empty cell."""

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Counts = np.ndarray[Any, np.dtype[np.int32]]


@cache
def _cells() -> np.ndarray[Any, np.dtype[np.uint64]]:
    texts = [
        b"," + (f"{count * quantum:.{places}f}".rstrip("0").rstrip(".") or "0").encode()
        for quantum, places in ((QUANTA[0], 4), (QUANTA[1], 3))
        for count in range(-LIMIT, LIMIT + 1)
    ]
    texts[LIMIT] = texts[LIMIT + _SPAN] = b",0"
    texts.append(b",")
    return np.array(texts, dtype="S8").view(np.uint64)


def cell_index(counts: Counts, quantum: Ints) -> Counts:
    """Index of each reading's cell; `counts` has shape (n, 96), `quantum` (n,)."""
    return counts + (quantum * _SPAN + LIMIT).astype(np.int32)[:, None]


def lines(prefix: Bytes, index: Counts) -> bytes:
    """CSV lines: each row's prefix, its 96 cells, a line feed.

    Args:
        prefix: shape (n, w), text padded with zero bytes, w divisible by 8.
        index: shape (n, 96), as `cell_index`, or MISSING.
    """
    n, width = prefix.shape
    words = np.empty((n, width // 8 + 97), dtype=np.uint64)
    words[:, : width // 8] = prefix.view(np.uint64)
    np.take(_cells(), index, out=words[:, width // 8 : -1], mode="clip")
    words[:, -1] = np.frombuffer(b"\n" + bytes(7), dtype=np.uint64)
    return words.tobytes().translate(None, b"\0")
