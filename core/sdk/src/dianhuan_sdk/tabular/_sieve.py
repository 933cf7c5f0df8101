"""What wide and long files share: rows kept, rows refused, multipliers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dianhuan_sdk.tabular import _values as v
from dianhuan_sdk.tabular._curve import Floats
from dianhuan_sdk.tabular._fields import required_position, typed
from dianhuan_sdk.tabular._frame import Bools, Frame, Rejects
from dianhuan_sdk.tabular._mapping import Column, Curve, Mapping


class Sieve:
    """The rows of a frame that are still good; each refused row is reported once, with its first fault."""

    def __init__(self, frame: Frame, rejects: Rejects) -> None:
        self._frame = frame
        self._rejects = rejects
        self.good: Bools = np.ones(len(frame.rows), dtype=bool)

    def refuse(self, bad: Bools, code: str, words: str, column: pa.Array | None = None) -> None:
        """Refuse the rows in `bad`; `column` shows the offending text of each."""
        for i in np.flatnonzero(bad & self.good):
            shown = f": {column[int(i)].as_py()!r}" if column is not None else ""
            self._rejects.add(int(self._frame.rows[i]), code, words + shown, self._frame.raw(int(i)))
        self.good &= ~bad


def kept(frame: Frame, mapping: Mapping, rejects: Rejects, origin: str) -> Frame:
    """The rows that `keep` wants; the rest is ignored and counted."""
    keep: Bools = np.ones(len(frame.rows), dtype=bool)
    for name, texts in mapping.keep.items():
        found, _ = frame.text(required_position(frame.headers, name, origin))
        keep &= v.to_bools(pc.is_in(found, value_set=pa.array(list(texts), pa.string())))
    if keep.all():
        return frame
    rejects.ignored += int((~keep).sum())
    columns = {at: column.filter(pa.array(keep)) for at, column in frame.columns.items()}
    return Frame(frame.headers, columns, frame.rows[keep], frame.codec)


def multipliers(frame: Frame, curve: Curve | None, mapping: Mapping, sieve: Sieve, origin: str) -> Floats | None:
    """The factor of each row from the multiplier and the scale; None where it is 1 throughout."""
    scale = curve.scale if curve is not None else 1.0
    stated = curve.multiplier if curve is not None else None
    count = len(frame.rows)
    if not isinstance(stated, Column):
        flat = scale * (1.0 if stated is None else stated)
        return None if flat == 1.0 else np.full(count, flat, dtype=np.float32)
    if stated.column is None:
        texts = pa.array([str(stated.constant)] * count, pa.string())
    else:
        texts, _ = frame.text(required_position(frame.headers, stated.column, origin))
        texts = v.blank_to_null(texts, mapping.missing)
    # Few distinct multipliers stand for all rows.
    distinct = texts.dictionary_encode()
    known = typed(distinct.dictionary, stated, pa.float64(), mapping)[0].to_numpy(zero_copy_only=False)
    factor = np.full(count, np.nan, dtype=np.float32)
    places = distinct.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    here = places >= 0
    factor[here] = known[places[here]]
    bad = ~(factor > 0)
    if bad.any():
        sieve.refuse(bad, "no_multiplier", "the multiplier is missing, not a number, or not above 0")
    return factor * np.float32(scale)
