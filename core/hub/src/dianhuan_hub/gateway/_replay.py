"""Raw frames read again, with the plugin and the settings of the device as they are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from dianhuan_hub.gateway._line import Line
from dianhuan_hub.gateway._writer import Writer
from dianhuan_hub.store import RAW_SCHEMA, ReadingReceipt, Store
from dianhuan_sdk import Clock, Deviation, Frame

_AT_ONCE = 2000
_SECOND = timedelta(seconds=1)


def replay(
    store: Store, writer: Writer, line: Line, clock: Clock, device_id: str, frames: Sequence[tuple[datetime, bytes]]
) -> ReadingReceipt:
    """Read frames of a device again; readings that differ from what is stored are corrections, the rest stays.

    Args:
        frames: instants of reception and bytes, oldest first.
    """
    codec = line.make_codec()
    total = ReadingReceipt()
    for first in range(0, len(frames), _AT_ONCE):
        some = frames[first : first + _AT_ONCE]
        found: list[tuple[datetime, Frame]] = []
        for at, raw in some:
            found += [(at, i) for i in codec.feed(raw) if not isinstance(i, Deviation)]
        if first + _AT_ONCE >= len(frames):
            found += [(some[-1][0], i) for i in codec.settle(end=True) if not isinstance(i, Deviation)]
        start = 0
        for end in range(1, len(found) + 1):
            if end < len(found) and found[end][0] - found[start][0] < _SECOND:
                continue
            at, mine = found[start][0], [f for _, f in found[start:end] if f.device_id == device_id]
            start = end
            unit = replace(writer.unit(line, line.rows.to_batch(mine, received_at=at), mine, at), corrects=True)
            receipt = store.readings.commit(replace(unit, raw=RAW_SCHEMA.empty_table()), line.load(), clock.now())
            total.accepted += receipt.accepted
            total.unchanged += receipt.unchanged
            total.corrected += receipt.corrected
            total.quarantined += receipt.quarantined
    return total
