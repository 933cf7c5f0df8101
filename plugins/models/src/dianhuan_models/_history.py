"""What an enterprise's warnings, visits and orders say on a day, as features that can only raise the hazard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import pyarrow as pa

from dianhuan_models._city import City
from dianhuan_models._stats import Array, Bools, Rows
from dianhuan_sdk import LOCAL_ZONE

FEATURES = (
    "warnings_7d",
    "warnings_28d",
    "highest_score_28d",
    "models_28d",
    "verified_recently",
    "verified_share",
    "order_now",
)
HALF_LIFE_DAYS = 90.0
JUDGED = ("verified", "benign_explained", "device_fault", "not_found")


@dataclass(frozen=True)
class History:
    """Events as arrays; days are counted from the epoch.

    Args:
        warned: row, day, score, model index of every warning.
        visited: row, day, verified of every judged visit.
        ordered: row, first and last day of every order.
    """

    warned: tuple[Rows, Rows, Array, Rows]
    visited: tuple[Rows, Rows, Bools]
    ordered: tuple[Rows, Rows, Rows]

    @property
    def rows(self) -> Rows:
        """Rows of the block with any event."""
        return np.unique(np.concatenate([self.warned[0], self.visited[0], self.ordered[0]]))

    def features(self, rows: Rows, day: int) -> Array:
        """Shape (rows, features): as known at the end of a day; `rows` ascend."""
        out = np.zeros((len(rows), len(FEATURES)))
        who, when, score, model = self.warned
        for back, column in ((7, 0), (28, 1)):
            near = (when <= day) & (when > day - back)
            out[:, column] = np.log1p(_count(who[near], rows))
        near = (when <= day) & (when > day - 28)
        index = _place(who[near], rows)
        inside = index >= 0
        np.maximum.at(out[:, 2], index[inside], score[near][inside])
        pairs = np.unique(np.stack([index[inside], model[near][inside]], axis=1), axis=0)
        out[:, 3] = np.log1p(np.bincount(pairs[:, 0], minlength=len(rows)))
        who, when, verified = self.visited
        known = when <= day
        index = _place(who[known], rows)
        inside = index >= 0
        fresh = np.exp2(-(day - when[known]) / HALF_LIFE_DAYS) * verified[known]
        out[:, 4] = np.bincount(index[inside], fresh[inside], minlength=len(rows))
        hits = np.bincount(index[inside], verified[known][inside].astype(float), minlength=len(rows))
        out[:, 5] = hits / (np.bincount(index[inside], minlength=len(rows)) + 2.0)
        who, first, last = self.ordered
        now = (first <= day + 7) & (last >= day)
        out[:, 6] = np.minimum(_count(who[now], rows), 1)
        return out

    def verified_after(self, rows: Rows, day: int, horizon: int) -> Bools:
        """Shape (rows,): a visit held in the days (day, day + horizon]."""
        who, when, verified = self.visited
        hit = verified & (when > day) & (when <= day + horizon)
        return np.isin(rows, who[hit])


def history(city: City, own_id: str) -> History:
    """Events of the block's enterprises up to the last day; orders may lie ahead, as announced.

    Warnings of the model itself (`own_id`) are left out, so that it does not feed on itself.
    """
    tables = city.context.tables
    as_of = _number(city.context.as_of)
    warned = _rows(tables.get("warning"), ("entity_id", "day", "score", "model_id", "case_id"))
    case_of = {r["case_id"]: r["entity_id"] for r in _rows(tables.get("case"), ("case_id", "entity_id"))}
    case_of |= {r["case_id"]: r["entity_id"] for r in warned}
    warned = [r for r in warned if _number(r["day"]) <= as_of and not str(r["model_id"]).startswith(own_id)]
    visits = [
        r
        for r in _rows(tables.get("outcome"), ("case_id", "code", "at"))
        if r["code"] in JUDGED and r["case_id"] in case_of and _number(r["at"]) <= as_of
    ]
    orders = _rows(tables.get("order"), ("entity_id", "starts_at", "ends_at"))
    models = {m: i for i, m in enumerate(sorted({str(r["model_id"]) for r in warned}))}
    w, v, o = (
        city.rows_of(pa.array([r["entity_id"] for r in warned], pa.string())),
        city.rows_of(pa.array([case_of[r["case_id"]] for r in visits], pa.string())),
        city.rows_of(pa.array([r["entity_id"] for r in orders], pa.string())),
    )
    wk, vk, ok = w >= 0, v >= 0, o >= 0
    far = np.iinfo(np.int64).max
    return History(
        (
            w[wk],
            _days([r["day"] for r in warned])[wk],
            np.array([r["score"] for r in warned], dtype=np.float64)[wk],
            np.array([models[str(r["model_id"])] for r in warned], dtype=np.int64)[wk],
        ),
        (v[vk], _days([r["at"] for r in visits])[vk], np.array([r["code"] == "verified" for r in visits], bool)[vk]),
        (
            o[ok],
            _days([r["starts_at"] for r in orders])[ok],
            np.array([far if r["ends_at"] is None else _number(r["ends_at"]) for r in orders], dtype=np.int64)[ok],
        ),
    )


def _rows(table: pa.Table | None, columns: tuple[str, ...]) -> list[dict[str, object]]:
    return [] if table is None else list(table.select(list(columns)).to_pylist())


def _number(day: object) -> int:
    if isinstance(day, datetime):
        day = day.astimezone(LOCAL_ZONE).date()
    assert isinstance(day, date)
    return day.toordinal()


def _days(values: list[object]) -> Rows:
    return np.array([_number(v) for v in values], dtype=np.int64)


def _place(who: Rows, rows: Rows) -> Rows:
    """Index into `rows` (ascending), −1 where a row is not among them."""
    if not len(rows):
        return np.full(len(who), -1)
    place = np.minimum(np.searchsorted(rows, who), len(rows) - 1)
    return np.where(rows[place] == who, place, -1)


def _count(who: Rows, rows: Rows) -> Array:
    index = _place(who, rows)
    return np.bincount(index[index >= 0], minlength=len(rows)).astype(np.float64)
