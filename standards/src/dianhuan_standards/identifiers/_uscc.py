"""统一社会信用代码 (GB 32100-2015): 18 characters, the last one a check digit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_sdk.contracts import BoolArray

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""The 31 characters in order of their value: no I, O, S, V, Z."""

USCC_PATTERN = r"[0-9A-HJ-NP-RTUWXY]{2}\d{6}[0-9A-HJ-NP-RTUWXY]{10}"
"""Form: 2 characters of registration, 6 digits of division, 9 of the organization, 1 check digit."""

_LENGTH = 18
_WEIGHTS = np.array([pow(3, i, 31) for i in range(_LENGTH - 1)], dtype=np.int32)
_VALUE = np.zeros(256, dtype=np.int32)
_VALUE[np.frombuffer(ALPHABET.encode(), np.uint8)] = np.arange(31)


def uscc_check_digit(prefix: str) -> str:
    """The check digit of the first 17 characters (GB 32100-2015: weights 3^(i−1) mod 31).

    Raises:
        ValueError: `prefix` is not 17 characters of the code's alphabet.
    """
    if len(prefix) != _LENGTH - 1 or any(c not in ALPHABET for c in prefix):
        raise ValueError(f"a credit code's first 17 characters are of {ALPHABET}, got {prefix!r}")
    return ALPHABET[-sum(int(w) * ALPHABET.index(c) for w, c in zip(_WEIGHTS, prefix, strict=True)) % 31]


def uscc_problem(value: str) -> str | None:
    """What is wrong with a credit code: `bad_form`, `bad_check_digit`, or None where it is right."""
    if not re.fullmatch(USCC_PATTERN, value, re.ASCII):
        return "bad_form"
    return None if uscc_check_digit(value[:-1]) == value[-1] else "bad_check_digit"


def valid_usccs(
    values: pa.Array | pa.ChunkedArray | np.ndarray[Any, np.dtype[Any]] | Sequence[str | None],
) -> BoolArray:
    """Whether each value is a credit code with the right check digit.

    Args:
        values: texts, shape (n,); null is not a credit code.

    Returns:
        Shape (n,), true where the value is right.
    """
    texts = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, pa.string())
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    shaped = pc.fill_null(pc.match_substring_regex(texts, f"^(?:{USCC_PATTERN})$"), False)
    valid = np.array(shaped.to_numpy(zero_copy_only=False), dtype=bool)
    data = "".join(texts.filter(shaped).to_pylist()).encode()
    codes = _VALUE[np.frombuffer(data, np.uint8).reshape(-1, _LENGTH)]
    valid[valid] = (codes[:, :-1] @ _WEIGHTS + codes[:, -1]) % 31 == 0
    return valid
