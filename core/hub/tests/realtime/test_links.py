"""Links: proposed from how circuits move together, decided by a person, kept as they were decided."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dianhuan_hub.kernel.clock import FixedClock
from dianhuan_hub.realtime import LinkDesk
from dianhuan_hub.store import LoadInfo, ReadingLoad, ReadingUnit, Store, horizon
from dianhuan_sdk import InputError
from dianhuan_standards import TABLES

NOW = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)
DAYS = 3
CHANNELS = {"d/p1-rtd": "E1", "d/p2-rtd": "E1", "d/p3-rtd": "E1", "d/p4-rtd": "E2"}


@pytest.fixture
def desk(store: Store, info: LoadInfo) -> LinkDesk:
    """p2 follows p1, p3 has hours of its own, p4 belongs to another plant."""
    steps = DAYS * 288
    rng = np.random.default_rng(3)
    working = np.repeat(rng.random(steps // 12) > 0.5, 12)
    alone = np.repeat(rng.random(steps // 12) > 0.5, 12)
    noise = 1 + 0.05 * rng.standard_normal((4, steps))
    loads = np.stack([60 * working + 1, 12 * working + 0.3, 40 * alone + 1, 30 * working + 1]) * noise
    at = [NOW - timedelta(days=DAYS) + timedelta(minutes=5 * n) for n in range(steps)]
    contract = TABLES["reading"].schema
    rows = [
        {"channel_id": channel, "device_at": t, "at": t, "received_at": t, "value": float(v), "quality": "N"}
        for channel, values in zip(CHANNELS, loads, strict=True)
        for t, v in zip(at, values, strict=True)
    ]
    channels = [
        {
            "channel_id": c, "device_id": "d", "protocol": "hj212", "code": c[2:4], "statistic": "rtd",
            "interval": "moment", "quantity": "active_power", "unit": "kW", "entity_id": e,
        }
        for c, e in CHANNELS.items()
    ]  # fmt: skip
    from dianhuan_hub.store import QUARANTINE_SCHEMA, RAW_SCHEMA

    unit = ReadingUnit(
        rows=pa.RecordBatch.from_pylist(rows, schema=contract),
        channels=pa.RecordBatch.from_pylist(channels, schema=TABLES["channel"].schema),
        raw=RAW_SCHEMA.empty_table(),
        refused=QUARANTINE_SCHEMA.empty_table(),
        horizon=horizon(NOW, 30, 600),
    )
    store.readings.commit(unit, ReadingLoad(info), NOW)
    made = LinkDesk(store, FixedClock(NOW))
    for channel, role in zip(CHANNELS, ("production", "treatment", "production", "production"), strict=True):
        made.set_role(channel, role, "王")
    return made


def test_what_moves_together_is_proposed_and_a_person_decides(desk: LinkDesk) -> None:
    (row,) = desk.propose(DAYS, "cli:王")
    assert (row.entity_id, row.treatment, row.production) == ("E1", ("d/p2-rtd",), ("d/p1-rtd",))
    assert row.confidence is not None
    assert row.confidence > 0.9
    assert [r.state for r in desk.links()] == ["proposed"]
    desk.confirm(row.link_id, "王", production=["d/p1-rtd", "d/p3-rtd"])
    assert desk.propose(DAYS, "cli:王") == []
    (held,) = desk.links("confirmed")
    assert (held.production, held.decided_by) == (("d/p1-rtd", "d/p3-rtd"), "王")
    desk.refuse(row.link_id, "李", "不是同一条线")
    assert desk.propose(DAYS, "cli:王") == []
    assert [r.state for r in desk.links()] == ["refused"]


@pytest.mark.parametrize(
    ("treatment", "production", "words"),
    [
        (["d/p2-rtd"], ["d/p4-rtd"], "crosses plants"),
        (["d/p1-rtd"], ["d/p3-rtd"], "role production"),
        (["d/p2-rtd"], [], "without circuits"),
        (["nothing"], ["d/p1-rtd"], "nothing"),
    ],
)
def test_a_link_that_cannot_be_is_refused_in_words(
    desk: LinkDesk, treatment: list[str], production: list[str], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        desk.add(treatment, production, "王")
    assert desk.links() == []


@pytest.mark.parametrize(("channel", "role", "rated"), [("d/p1-rtd", "fan", None), ("x", "treatment", None),
                                                        ("d/p1-rtd", "treatment", -1.0)])  # fmt: skip
def test_roles_are_checked(desk: LinkDesk, channel: str, role: str, rated: Any) -> None:
    with pytest.raises(InputError):
        desk.set_role(channel, role, "王", rated=rated)


def test_every_decision_is_audited(desk: LinkDesk, store: Store) -> None:
    row = desk.add(["d/p2-rtd"], ["d/p1-rtd"], "王")
    desk.mute(row.link_id, 2, "李")
    desk.rearm(row.link_id, "李")
    with store.engine.cursor() as con:
        done = con.execute("SELECT actor, action FROM audit WHERE action NOT LIKE 'role%'").fetchall()
    assert done == [("王", "confirm link"), ("李", "mute link"), ("李", "re-arm link")]
    assert desk.links()[0].rearmed_at == NOW
