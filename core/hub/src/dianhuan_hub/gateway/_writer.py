"""From frames of one line to one transaction: who may speak, rows, contract, quarantine, raw frames, then answers."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from dianhuan_hub.gateway._desk import DeviceDesk
from dianhuan_hub.gateway._facts import Facts
from dianhuan_hub.gateway._line import Line
from dianhuan_hub.gateway._parts import Parts
from dianhuan_hub.gateway._pipe import Entry, Source, Work
from dianhuan_hub.gateway._streams import Clocks, Gap, Gaps, micros
from dianhuan_hub.kernel.config import Gateway as Settings
from dianhuan_hub.store import (
    QUARANTINE_SCHEMA,
    RAW_SCHEMA,
    DiskFullError,
    ReadingReceipt,
    ReadingUnit,
    Store,
    StoreError,
    horizon,
    refused_readings,
)
from dianhuan_sdk import CREDENTIAL_DEVIATIONS, Batch, Clock, Frame
from dianhuan_standards import TABLES

READING = TABLES["reading"]
CHANNEL = TABLES["channel"]

CHANNELS_MOST = 2000
"""Channels of one device; a hostile one could name ever new ones."""

_KEPT_PER_MINUTE = 60.0
_PEERS = 10_000


@dataclass
class Outcome:
    """What the event loop has to do after a commit.

    Args:
        answers: bytes for connections.
        speakers: (connection, device, proven) of devices whose accepted frames came on another connection than before.
        rivals: (connection, device) of frames without the device's credentials.
        accepted, refused: frames of each connection.
        gaps: what is missing in streams.
        clocks: devices with a new sample of their clock.
    """

    answers: dict[Source, list[bytes]] = field(default_factory=dict)
    speakers: dict[tuple[Source, str], bool] = field(default_factory=dict)
    rivals: set[tuple[Source, str]] = field(default_factory=set)
    accepted: set[Source] = field(default_factory=set)
    refused: Counter[Source] = field(default_factory=Counter)
    gaps: list[Gap] = field(default_factory=list)
    clocks: set[str] = field(default_factory=set)


class Writer:
    """Writes works. Its methods run in the committing thread.

    Args:
        store: the city's store.
        desk: who may report.
        clock: of the hub.
        settings: `[gateway]`.
        facts: metrics and messages.
        clocks, gaps, parts: what is kept of streams.
        after: called in the event loop with what has become of each transaction.
        speaker: the connection by which a device speaks at present.
    """

    def __init__(
        self,
        store: Store,
        desk: DeviceDesk,
        clock: Clock,
        settings: Settings,
        facts: Facts,
        *,
        clocks: Clocks,
        gaps: Gaps,
        parts: Parts,
        after: Callable[[Outcome], None],
        speaker: Callable[[str], object | None],
    ) -> None:
        self._store = store
        self._desk = desk
        self._clock = clock
        self._settings = settings
        self._facts = facts
        self._clocks = clocks
        self._gaps = gaps
        self._parts = parts
        self._after = after
        self._speaker = speaker
        self._kept: dict[str, tuple[float, float]] = {}
        self._live: dict[tuple[str, str], bool] = {}  # kinds of frames that carry values of the moment
        self._before = store.readings.newest_at_start
        self._channels = Counter(c.partition("/")[0] for c in store.readings.channels())

    def commit(self, work: Work) -> None:
        """Write everything of a work that is not written yet.

        Raises:
            StoreError: the store takes nothing at present; what is not written is still in the work.
        """
        while work.todo:
            entries = work.todo[0]
            try:
                outcome = self._commit(entries)
            except DiskFullError:
                raise
            except Exception as error:
                if not _halve(work, entries):
                    self._set_aside(entries[0], error)
                    work.todo.popleft()
                continue
            work.todo.popleft()
            work.after.append(lambda outcome=outcome: self._after(outcome))  # type: ignore[misc]

    def _commit(self, entries: Sequence[Entry]) -> Outcome:
        line, at = entries[0].source.line, entries[0].at
        frames, owners = self._admitted(line, entries)
        outcome = Outcome()
        batch = line.rows.to_batch(frames, received_at=at, offsets=self._clocks.offsets)
        refused_at = self._refused(line, batch, frames, owners, outcome)
        if batch.rejects is not None:
            mask = [refused_at[row - 1] for row in batch.rejects.column("row").to_pylist()]
            batch = replace(batch, rejects=batch.rejects.filter(pa.array(mask, pa.bool_())))
        joined = self._parts.join(line, frames, owners)
        if joined:
            batch = _with_rows(batch, line.rows.to_batch(joined, received_at=at, offsets=self._clocks.offsets))
        unit = self.unit(line, batch, [*frames, *joined], at)
        kept = [n for n in range(len(frames)) if refused_at.get(n, True)]
        states = ["refused" if n in refused_at else "read" if frames[n].whole else "part" for n in kept]
        raw = _raw(line.protocol, [frames[n] for n in kept], states, at)
        waiting = self._desk.changed()
        try:
            receipt = self._store.readings.commit(
                replace(unit, raw=raw, waiting=waiting), line.load(), self._clock.now()
            )
        except StoreError:
            self._desk.not_stored(waiting)
            raise
        self._facts.frames.labels(line=line.name).inc(sum(len(e.frames) for e in entries))
        self._count(line, receipt)
        self._facts.waiting.set(self._desk.waiting_count())
        self._look_at(line, frames, owners, refused_at, at, outcome)
        return outcome

    def _admitted(self, line: Line, entries: Sequence[Entry]) -> tuple[list[Frame], list[Source]]:
        """Frames of approved devices, and the connection of each; the others wait at the desk or are counted."""
        frames: list[Frame] = []
        owners: list[Source] = []
        approved = line.approved
        for entry in entries:
            source = entry.source
            for frame in entry.frames:
                # a message in which no device can be found has nothing but its rejection to come
                if frame.device_id in approved or (line.transport == "mqtt" and not frame.device_id):
                    frames.append(frame)
                    owners.append(source)
                elif frame.valid and frame.device_id:
                    result = self._desk.unknown(line.protocol, frame.device_id, source.peer, frame.raw, entry.at)
                    self._facts.bad.labels(line=line.name, reason=result).inc()
                    if result != "refused":
                        words = f"未登记设备 · unknown device {frame.device_id[:64]!r}: {result}"
                        self._facts.say(result, f"{line.name} {source.peer}", words)
                else:
                    self._facts.bad.labels(line=line.name, reason="nobody").inc()
        return frames, owners

    def _refused(
        self, line: Line, batch: Batch, frames: Sequence[Frame], owners: Sequence[Source], outcome: Outcome
    ) -> dict[int, bool]:
        """Places of frames that do not count by policy → is the frame kept? Of a flood only some are."""
        if batch.rejects is None:
            return {}
        found: dict[int, bool] = {}
        for row, code in zip(
            batch.rejects.column("row").to_pylist(), batch.rejects.column("code").to_pylist(), strict=True
        ):
            place = row - 1
            if place not in found:
                source = owners[place]
                outcome.refused[source] += 1
                self._facts.bad.labels(line=line.name, reason=code).inc()
                found[place] = self._may_keep(source.peer)
                words = f"报文不被接受 · frame refused: {code}" + ("" if found[place] else " (not kept)")
                self._facts.say(code, f"{line.name} {source.peer} {frames[place].device_id}", words)
        return found

    def _may_keep(self, peer: str) -> bool:
        now = time.monotonic()
        tokens, last = self._kept.get(peer, (_KEPT_PER_MINUTE, now))
        tokens = min(_KEPT_PER_MINUTE, tokens + (now - last) * _KEPT_PER_MINUTE / 60)
        if len(self._kept) >= _PEERS:
            self._kept.clear()
        self._kept[peer] = (max(0.0, tokens - 1), now)
        return tokens >= 1

    def unit(self, line: Line, batch: Batch, frames: Sequence[Frame], at: datetime) -> ReadingUnit:
        """Rows against their contract, with new channels and quarantine; without raw frames."""
        rows, refused = batch.rows, []
        if batch.rejects is not None:
            refused.append(_rejects(batch.rejects))
        good = np.ones(rows.num_rows, bool)
        for refusal in () if _regular(rows) else READING.check(rows):
            words = f"{refusal.column}: {refusal.words}"
            refused.append(self._quarantine(rows.take(pa.array(refusal.rows)), refusal.code, words))
            good[refusal.rows] = False
        channels, too_many = self._new_channels(line, rows, frames)
        if too_many:
            names = rows.column("channel_id")
            bad = good & np.asarray(pa.compute.is_in(names, value_set=pa.array(too_many)).to_numpy(False))
            words = f"channel_id: at most {CHANNELS_MOST} channels of one device"
            refused.append(self._quarantine(rows.filter(pa.array(bad)), "too_many_channels", words))
            good &= ~bad
        return ReadingUnit(
            rows=rows if good.all() else rows.filter(pa.array(good)),
            channels=channels,
            raw=RAW_SCHEMA.empty_table(),
            refused=pa.concat_tables(refused) if refused else QUARANTINE_SCHEMA.empty_table(),
            horizon=horizon(at, self._settings.late_days, self._settings.future_s),
        )

    def _quarantine(self, rows: pa.RecordBatch, code: str, words: str) -> pa.Table:
        with self._store.engine.cursor() as con:
            return refused_readings(con, rows, code, words)

    def _new_channels(
        self, line: Line, rows: pa.RecordBatch, frames: Sequence[Frame]
    ) -> tuple[pa.RecordBatch, list[str]]:
        """Rows of `channel` for series seen for the first time, and the ids that are too many for their device."""
        unknown = self._store.readings.unknown(rows.column("channel_id"))
        if not unknown:
            return _NO_CHANNELS, []
        too_many = []
        for name in unknown:
            device = name.partition("/")[0]
            self._channels[device] += 1
            if self._channels[device] > CHANNELS_MOST:
                self._channels[device] -= 1
                too_many.append(name)
        wanted = set(unknown) - set(too_many)
        devices = {name.partition("/")[0] for name in wanted}
        mine = [f for f in frames if f.device_id in devices]
        one_each = {(f.device_id, f.kind): f for f in mine}  # mostly enough; describing a series is slow
        found: dict[str, dict[str, Any]] = {}
        for some in (list(one_each.values()), mine):
            for row in line.rows.channels(some).rows.to_pylist():
                if row["channel_id"] in wanted:
                    owner = self._desk.row(row["device_id"])
                    found[row["channel_id"]] = {**row, "entity_id": owner.entity_id if owner is not None else None}
            if wanted <= found.keys():
                break
        channels = pa.RecordBatch.from_pylist(list(found.values()), schema=CHANNEL.schema)
        bad = {int(n) for refusal in CHANNEL.check(channels) for n in refusal.rows}
        if bad:
            channels = channels.take(pa.array([n for n in range(channels.num_rows) if n not in bad]))
        return channels, too_many

    def _count(self, line: Line, receipt: ReadingReceipt) -> None:
        for result in ("accepted", "unchanged", "quarantined"):
            self._facts.readings.labels(line=line.name, result=result).inc(getattr(receipt, result))

    def _look_at(
        self,
        line: Line,
        frames: Sequence[Frame],
        owners: Sequence[Source],
        refused_at: dict[int, bool],
        at: datetime,
        outcome: Outcome,
    ) -> None:
        """Answers, and what the frames show beside their values."""
        reply, speaker, received = line.rows.reply, self._speaker, micros(at)
        answers, gaps, deviations = outcome.answers, self._gaps, Counter[str]()
        for place, (frame, source) in enumerate(zip(frames, owners, strict=True)):
            device_id = frame.device_id
            if frame.deviations:
                deviations.update(d.code for d in frame.deviations)
                if place in refused_at:
                    if any(d.code in CREDENTIAL_DEVIATIONS for d in frame.deviations):
                        outcome.rivals.add((source, device_id))
                    continue
            elif place in refused_at:
                continue
            outcome.accepted.add(source)
            answer = reply(frame)
            if answer is not None:
                if source in answers:
                    answers[source].append(answer)
                else:
                    answers[source] = [answer]
            if speaker(device_id) is not source:
                proven = not any(d.code in CREDENTIAL_DEVIATIONS for d in frame.deviations)
                outcome.speakers[source, device_id] = proven
            stated = frame.at
            if stated is None:
                continue
            if gaps.knows(device_id, frame.kind):
                gap = gaps.note(device_id, frame.kind, stated)
                if gap is not None:
                    outcome.gaps.append(gap)
                    self._facts.gaps.labels(line=line.name).inc()
            else:
                gaps.begin(device_id, frame.kind, stated, self._before(frame.readings[0].channel_id(device_id)))
            kind = (line.protocol, frame.kind)
            live = self._live.get(kind)
            if live is None:
                live = self._live[kind] = frame.readings[0].interval == "moment"
            if live and self._clocks.due(device_id, received):
                self._clocks.note(device_id, received, stated)
                outcome.clocks.add(device_id)
        for code, count in deviations.items():
            self._facts.deviations.labels(line=line.name, code=code).inc(count)

    def _set_aside(self, entry: Entry, error: Exception) -> None:
        """A frame with which the transaction fails: into quarantine, so that it holds up nobody."""
        if not entry.frames:
            raise StoreError(f"the store takes nothing: {error}", hint="see the log") from error
        frame = entry.frames[0]
        words = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        row = {
            "table_name": "reading",
            "row_no": None,
            "code": "frame_unusable",
            "detail": words,
            "payload": json.dumps({"frame": frame.raw.decode("latin-1")}),
            "in_contract_form": False,
        }
        line = entry.source.line
        unit = ReadingUnit(
            rows=pa.RecordBatch.from_pylist([], schema=READING.schema),
            channels=_NO_CHANNELS,
            raw=RAW_SCHEMA.empty_table(),
            refused=pa.Table.from_pylist([row], schema=QUARANTINE_SCHEMA),
            horizon=horizon(entry.at, self._settings.late_days, self._settings.future_s),
        )
        self._store.readings.commit(unit, line.load(), self._clock.now())
        self._facts.bad.labels(line=line.name, reason="frame_unusable").inc()
        self._facts.say("frame_unusable", f"{line.name} {entry.source.peer}", words)


_NO_CHANNELS = pa.RecordBatch.from_pylist([], schema=CHANNEL.schema)


def _halve(work: Work, entries: list[Entry]) -> bool:
    """Put the two halves of some entries in their place; False where there is one frame only."""
    if len(entries) > 1:
        middle = len(entries) // 2
        work.todo.popleft()
        work.todo.extendleft([entries[middle:], entries[:middle]])
        return True
    (entry,) = entries
    if len(entry.frames) > 1:
        middle = len(entry.frames) // 2
        work.todo.popleft()
        halves = [entry._replace(frames=entry.frames[:middle]), entry._replace(frames=entry.frames[middle:])]
        work.todo.extendleft([[half] for half in reversed(halves)])
        return True
    return False


def _regular(rows: pa.RecordBatch) -> bool:
    """Do all rows certainly pass the contract? Numbers with a known flag; the form of a channel's id is checked when
    the channel is new. A tenth of the cost of the contract's own rules, and most batches pass."""
    value = rows.column("value")
    if value.null_count or not np.isfinite(np.asarray(value.to_numpy())).all():
        return False
    if any(rows.column(name).null_count for name in ("channel_id", "device_at", "at")):
        return False
    return set(rows.column("quality").unique().to_pylist()) <= _QUALITY


_QUALITY = {None, *(READING.field("quality").codes or ())}


def _rejects(rejects: pa.RecordBatch) -> pa.Table:
    size = rejects.num_rows
    return pa.table(
        [
            pa.array(["reading"] * size),
            pa.nulls(size, pa.int64()),
            rejects.column("code"),
            rejects.column("detail"),
            rejects.column("raw"),
            pa.array([False] * size),
        ],
        schema=QUARANTINE_SCHEMA,
    )


def _with_rows(batch: Batch, more: Batch) -> Batch:
    rows = pa.Table.from_batches([batch.rows, more.rows]).combine_chunks().to_batches()
    return replace(batch, rows=rows[0] if rows else batch.rows)


def _raw(protocol: str, frames: Sequence[Frame], states: Sequence[str], at: datetime) -> pa.Table:
    size = len(frames)
    return pa.table(
        {
            "device_id": pa.array([f.device_id for f in frames], pa.string()),
            "protocol": pa.repeat(pa.scalar(protocol), size),
            "received_at": pa.repeat(pa.scalar(at, RAW_SCHEMA.field("received_at").type), size),
            "kind": pa.array([f.kind for f in frames], pa.string()),
            "state": pa.array(states, pa.string()),
            "raw": pa.array([f.raw for f in frames], pa.binary()),
        },
        schema=RAW_SCHEMA,
    )
