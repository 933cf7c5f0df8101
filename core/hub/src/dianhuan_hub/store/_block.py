"""The city as models see it: kept features as arrays, raw curves only for the few that are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from dianhuan_hub.store._cold import ColdTier
from dianhuan_hub.store._curves import IndexArray, read_curves
from dianhuan_hub.store._engine import Engine, arrow
from dianhuan_hub.store._entity_days import sum_day
from dianhuan_hub.store._missing import FloatArray
from dianhuan_hub.store._schema import quoted
from dianhuan_hub.store._topology import ActiveLinks, Topology, day_number

_ENTITIES = """
WITH live AS (
    SELECT l.entity_id, l.account_no, m.tariff_class, m.contract_kva, m.net_metering
    FROM account_link l JOIN metering_point m USING (account_no)
    WHERE l.valid_from <= $day AND (l.valid_to IS NULL OR l.valid_to > $day)),
feeds AS (SELECT account_no, count(DISTINCT entity_id) > 1 AS shared FROM live GROUP BY account_no),
account AS (
    SELECT entity_id, arg_max(tariff_class, coalesce(contract_kva, 0)) AS tariff_class,
           sum(contract_kva) AS contract_kva, bool_or(coalesce(net_metering, false)) AS pv,
           count(DISTINCT account_no) AS accounts, bool_or(shared) AS shared_meter
    FROM live JOIN feeds USING (account_no) GROUP BY entity_id),
permits AS (
    SELECT entity_id, arg_min(permit_class, CASE permit_class WHEN 'key' THEN 0 WHEN 'simplified' THEN 1 ELSE 2 END)
               AS permit_class, bool_or(night_permitted) AS night_permitted
    FROM permit WHERE valid_from <= $day AND (valid_to IS NULL OR valid_to >= $day) GROUP BY entity_id),
closures AS (
    SELECT entity_id, min((starts_at AT TIME ZONE 'Asia/Shanghai')::DATE) AS closed_on FROM "order"
    WHERE kind = 'closure' AND (starts_at AT TIME ZONE 'Asia/Shanghai')::DATE <= $day
      AND (ends_at IS NULL OR (ends_at AT TIME ZONE 'Asia/Shanghai')::DATE > $day) GROUP BY entity_id)
SELECT o.entity_id, e.name, e.division, e.industry, e.opened_on,
       CASE WHEN p.permit_class IS NOT NULL THEN p.permit_class
            WHEN (SELECT count(*) FROM permit) > 0 THEN 'none' END AS permit_class,
       p.night_permitted, a.tariff_class, a.contract_kva, coalesce(a.pv, false) AS pv,
       coalesce(a.accounts, 0)::INTEGER AS accounts, coalesce(a.shared_meter, false) AS shared_meter,
       c.closed_on, e.lon, e.lat
FROM entity_ordinal o
LEFT JOIN entity e USING (entity_id) LEFT JOIN account a USING (entity_id)
LEFT JOIN permits p USING (entity_id) LEFT JOIN closures c USING (entity_id)
ORDER BY o.ent"""


class CityBlock:
    """All enterprises of a city over the days of a window; a `dianhuan_sdk.Block` with enterprise ordinals as rows.

    Args:
        engine: the store's engine.
        topology: ordinals and links.
        cold: sealed days.
        last: the last day of the window.
        days: length of the window.
        features: names to load; more can be asked for later at the price of another read.
    """

    def __init__(
        self,
        engine: Engine,
        topology: Topology,
        cold: ColdTier,
        last: date,
        days: int,
        features: Iterable[str],
    ) -> None:
        self._engine = engine
        self._topology = topology
        self._cold = cold
        self._days = tuple(last - timedelta(days=days - 1 - i) for i in range(days))
        self._kept: dict[str, FloatArray] = {}
        with engine.cursor() as con:
            self._entities = arrow(con, _ENTITIES, {"day": last})
        self._load(sorted(set(features)))

    @property
    def entities(self) -> pa.Table:
        """See `dianhuan_sdk.Block.entities`."""
        return self._entities

    @property
    def days(self) -> Sequence[date]:
        """See `dianhuan_sdk.Block.days`."""
        return self._days

    def feature(self, name: str) -> FloatArray:
        """See `dianhuan_sdk.Block.feature`."""
        if name not in self._kept:
            self._load([name])
        return self._kept[name]

    def _load(self, names: Sequence[str]) -> None:
        if not names:
            return
        size, span = self._entities.num_rows, len(self._days)
        arrays = {name: np.full((span, size), np.nan, np.float32) for name in names}
        first = day_number(self._days[0])
        columns = ", ".join(quoted(n) for n in names)
        with self._engine.cursor() as con:
            reader = con.sql(
                f"SELECT day, ent, {columns} FROM feature_day WHERE day BETWEEN ? AND ? AND linked = present",
                params=[self._days[0], self._days[-1]],
            ).to_arrow_reader(200_000)
            for batch in reader:
                day = batch.column("day").cast(pa.int32()).to_numpy() - first
                ent = batch.column("ent").to_numpy()
                cuts = np.flatnonzero(np.diff(day)) + 1
                for a, b in zip([0, *cuts], [*cuts, len(day)], strict=True):
                    if a == b:
                        continue
                    where: slice | np.ndarray[tuple[int], np.dtype[np.int32]] = ent[a:b]
                    if int(ent[b - 1]) - int(ent[a]) == b - a - 1 and bool((np.diff(ent[a:b]) == 1).all()):
                        where = slice(int(ent[a]), int(ent[b - 1]) + 1)
                    for name in names:
                        arrays[name][day[a], where] = batch.column(name).to_numpy(zero_copy_only=False)[a:b]
        # Days lie outermost in memory, so a day of rows lands in one stretch; models see entities × days.
        self._kept.update({name: array.T for name, array in arrays.items()})

    def curves(self, rows: IndexArray) -> FloatArray:
        """See `dianhuan_sdk.Block.curves`."""
        wanted = np.asarray(rows, np.int64)
        out = np.full((len(wanted), len(self._days), 96), np.nan, np.float32)
        if len(wanted) == 0:
            return out
        place = np.full(self._entities.num_rows, -1, np.int64)
        place[wanted] = np.arange(len(wanted))
        links = self._topology.link_mp[place[self._topology.link_ent] >= 0]
        first = day_number(self._days[0])
        with self._engine.cursor() as con:
            day, mp, kw = read_curves(con, first, first + len(self._days) - 1, links)
            parts = [(int(n), mp[day == n], kw[day == n]) for n in np.unique(day)]
            sealed = [day_number(d) for d in self._cold.days(con) if d in self._days]
            parts += [(n, *self._cold.day(con, n, links)) for n in sealed]
        for number, points, values in parts:
            active = self._topology.active(number)
            mine = place[active.ent] >= 0
            active = ActiveLinks(active.mp[mine], active.ent[mine], active.share[mine])
            sums = sum_day(active, number, points, values, len(self._topology.points))
            whole = sums.complete
            out[place[sums.ent[whole]], number - first] = sums.kw[whole]
        return out
