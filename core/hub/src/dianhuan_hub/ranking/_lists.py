"""Today's list: made, published before anybody goes out, learnt from, and made again as it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np

from dianhuan_hub.ranking._bound import CONFIDENCE, Bound, bound, clopper_pearson, days_needed
from dianhuan_hub.ranking._fusion import COLD, Ranking, Way, learn, probabilities
from dianhuan_hub.ranking._lessons import FOUND, RECIDIVIST, Visit, lessons, past_days, share_found
from dianhuan_hub.ranking._lines import (
    ListLine,
    Place,
    lines_of,
    permit_classes,
    scores_of,
    waiting_cases,
)
from dianhuan_hub.ranking._order import SEVERITY, Costs, visit_order
from dianhuan_hub.store import (
    Connection,
    PublishedList,
    Query,
    Store,
    StoredRanking,
    newest_ranking,
    put_list,
    put_ranking,
    read_list,
    read_page,
    read_ranking,
    visits_until,
)
from dianhuan_sdk import Clock, InputError, PluginError, Text


@dataclass(frozen=True)
class TodaysList:
    """A list and what is known of it.

    Args:
        lines: the visits.
        ranking: version that made it.
        fusion: way of that version.
        published_at: when it was fixed; None while it may still change.
        sha256: digest of the published lines, empty before.
        bound: for the ranked visits; None without enough days.
        days: past days with judged visits.
        held, judged: ranked visits so far that held, of those that were judged.
    """

    day: date
    lines: list[ListLine]
    ranking: str
    fusion: str
    published_at: datetime | None
    sha256: str
    bound: Bound | None
    days: int
    held: int
    judged: int

    @property
    def words(self) -> Text:
        """The bound and the record, for people."""
        ranked = sum(line.arm == "ranked" for line in self.lines)
        if self.bound is None:
            zh = f"尚无误跑上限：需 {days_needed()} 个有核查结果的清单日，现有 {self.days} 个"
            en = f"no bound yet: it takes {days_needed()} list days with outcomes, there are {self.days}"
        elif ranked == 0:
            zh, en = "清单为空", "nothing is ranked"
        else:
            most = int(self.bound.wasted[ranked - 1])
            zh = f"排序的 {ranked} 户中误跑至多 {most} 户（置信度 {CONFIDENCE:.0%}，依据 {self.bound.days} 天）"
            en = f"of these {ranked} ranked visits at most {most} are wasted"
            en += f" ({CONFIDENCE:.0%}, from {self.bound.days} days)"
        if self.judged:
            low, high = clopper_pearson(self.held, self.judged)
            zh += f"；历次属实 {self.held}/{self.judged}（{low:.0%}–{high:.0%}）"
            en += f"; so far {self.held} of {self.judged} held ({low:.0%}–{high:.0%})"
        return Text(zh, en)

    def as_dict(self) -> dict[str, Any]:
        """What is known of it, without the lines, for machines."""
        return {
            "day": self.day.isoformat(),
            "ranking": self.ranking,
            "fusion": self.fusion,
            "published_at": self.published_at.isoformat() if self.published_at else None,
            "sha256": self.sha256 or None,
            "bound_days": self.days,
            "held": self.held,
            "judged": self.judged,
            "words": self.words._asdict(),
        }


class Lists:
    """Makes and keeps lists.

    Args:
        store: the city's store.
        clock: the hub's clock.
        ways: ways of fusing that plugins bring.
        costs: of visits.
        capacity: visits a day.
        random_share: part of them drawn at random from the cases that the ranking leaves out; without such a share
            nobody would ever learn what lies below the cut. The draw depends on the day only.
    """

    def __init__(
        self, store: Store, clock: Clock, ways: Sequence[Way], costs: Costs, capacity: int, random_share: float
    ) -> None:
        self._store = store
        self._clock = clock
        self._ways = ways
        self._costs = costs
        self._capacity = capacity
        self._random_share = random_share

    def todays(self, day: date, k: int | None = None, divisions: tuple[str | None, ...] | None = None) -> TodaysList:
        """The visits of a day: its cases, and those of earlier days that nobody has been sent to yet.

        A published list comes as it was published, or its lines in the districts wanted; for another k than the
        city's capacity a list is made that binds nobody.

        Args:
            day: the day that was screened.
            k: visits that can be made; the city's capacity by default.
            divisions: prefixes of the districts wanted, see `Query`.
        """
        with self._store.engine.cursor() as con:
            published = read_list(con, day)
            ranking = self._in_force(con, published)
        moment = self._clock.now() if published is None else published.published_at
        if published is not None and (k is None or k == self._capacity):
            places = self._as_published(published, divisions)
        else:
            places = self._places(day, k or self._capacity, divisions, ranking, moment)
            published = None
        visits = self._visits(moment)
        past = past_days([v for v in visits if v.day < day])
        ranked = np.array([p.probability for p in places if p.arm == "ranked"])
        found = bound(ranked, past)
        held, judged = share_found(visits, "ranked")
        return TodaysList(
            day=day,
            lines=lines_of(self._store, places, None if found is None else found.wasted.tolist()),
            ranking=ranking.version,
            fusion=ranking.fusion,
            published_at=published.published_at if published else None,
            sha256=published.sha256 if published else "",
            bound=found,
            days=len(past),
            held=held,
            judged=judged,
        )

    def publish(self, day: date) -> PublishedList:
        """Fix the list of a day before anybody goes out; what is fixed stays as it is.

        The digest can be handed to a third party on the same morning: it shows later that the list was not made up
        after the visits.
        """
        with self._store.engine.cursor() as con:
            kept = read_list(con, day)
            ranking = self._in_force(con, None)
        if kept is not None:
            return kept
        now = self._clock.now()
        places = self._places(day, self._capacity, None, ranking, now)
        scores = self._columns([p.case for p in places], now)
        lines = [
            {
                "place": number,
                "arm": p.arm,
                "case_id": p.case["case_id"],
                "entity_id": p.case["entity_id"],
                "propensity": p.propensity,
                "probability": p.probability,
                "scores": json.dumps(s, sort_keys=True),
            }
            for number, (p, s) in enumerate(zip(places, scores, strict=True))
        ]
        published = PublishedList(day, now, ranking.version, digest(lines), lines)

        def write(con: Connection) -> None:
            put_ranking(con, _stored(ranking, now))
            put_list(con, published)

        self._store.write(write)
        return published

    def learn(self) -> Ranking:
        """Learn from all outcomes so far; the ranking that comes out is used for lists that are not published yet."""
        now = self._clock.now()
        ranking = learn(lessons(self._visits(now)), self._ways)
        self._store.write(lambda con: put_ranking(con, _stored(ranking, now)))
        return ranking

    def check(self, day: date) -> list[str]:
        """Make a published list's probabilities again from what was kept; what differs, in words.

        Raises:
            InputError: no list of that day was published.
            PluginError: the way that made it is not installed any more.
        """
        with self._store.engine.cursor() as con:
            published = read_list(con, day)
            if published is None:
                raise InputError(f"no list of {day} was published", hint="dianhuan list --publish")
            ranking = self._in_force(con, published)
        wrong = [] if digest(published.lines) == published.sha256 else [f"lines of {day} have another digest"]
        again = self._probabilities(ranking, [json.loads(line["scores"]) for line in published.lines])
        for line, p in zip(published.lines, again, strict=True):
            if abs(line["probability"] - p) > 1e-9:
                wrong.append(f"case {line['case_id']}: {line['probability']:.6f} was printed, {p:.6f} comes out")
        return wrong

    def _in_force(self, con: Connection, published: PublishedList | None) -> Ranking:
        stored = newest_ranking(con) if published is None else read_ranking(con, published.ranking)
        if stored is None:
            return COLD
        return Ranking(stored.fusion, stored.columns, stored.state, stored.visits, stored.trial)

    def _probabilities(self, ranking: Ranking, scores: Sequence[Mapping[str, float]]) -> Sequence[float]:
        try:
            found: list[float] = probabilities(ranking, self._ways, scores).tolist()
        except KeyError as missing:
            raise PluginError(
                f"ranking {ranking.version} was made by {missing}, which is not loaded",
                expected=", ".join(f"{w.id}@{w.version}" for w in self._ways) or "a plugin with it",
                hint="install that version again; the next night learns a ranking from what is there",
            ) from None
        return found

    def _visits(self, moment: datetime) -> list[Visit]:
        with self._store.engine.cursor() as con:
            rows = visits_until(con, moment)
        return [Visit(**{**row, "scores": json.loads(row["scores"])}) for row in rows]

    def _columns(self, cases: Sequence[Mapping[str, Any]], moment: datetime) -> list[dict[str, float]]:
        """Scores of cases by model, and what the hub knows of their enterprises."""
        held = {v.entity_id for v in self._visits(moment) if v.code == FOUND}
        scores = scores_of(self._store, cases)
        for case, mine in zip(cases, scores, strict=True):
            if case["entity_id"] in held:
                mine[RECIDIVIST] = 1.0
        return scores

    def _places(
        self, day: date, k: int, divisions: tuple[str | None, ...] | None, ranking: Ranking, moment: datetime
    ) -> list[Place]:
        cases = waiting_cases(self._store, day, divisions)
        if not cases:
            return []
        p = np.array(self._probabilities(ranking, self._columns(cases, moment)))
        ids = [c["entity_id"] for c in cases]
        classes = permit_classes(self._store, ids, day)
        severity = np.array([SEVERITY.get(classes.get(i), 1.0) for i in ids])
        age = np.array([(day - c["day"]).days for c in cases], np.float64)
        where = _districts(self._store, ids)
        drawn = min(round(k * self._random_share), max(len(cases) - k, 0))
        top = visit_order(p, severity, age, [where.get(i) for i in ids], self._costs, k - drawn)
        rest = sorted(set(range(len(cases))) - set(top), key=lambda c: _lot(day, cases[c]["case_id"]))
        chance = drawn / len(rest) if rest else 1.0
        return [
            *(Place(cases[c], "ranked", float(p[c]), 1.0) for c in top),
            *(Place(cases[c], "random", float(p[c]), chance) for c in rest[:drawn]),
        ]

    def _as_published(self, published: PublishedList, divisions: tuple[str | None, ...] | None) -> list[Place]:
        ids = [line["case_id"] for line in published.lines]
        query = Query("case", equals={"case_id": ids}, division=divisions)
        found = read_page(self._store.engine, query, order=[("case_id", False)], limit=len(ids) + 1)
        cases = {c["case_id"]: c for c in found.rows}
        return [
            Place(cases[line["case_id"]], line["arm"], line["probability"], line["propensity"])
            for line in published.lines
            if line["case_id"] in cases
        ]


def digest(lines: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 of a list's lines in canonical JSON."""
    text = json.dumps([dict(line) for line in lines], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _lot(day: date, case_id: str) -> bytes:
    return hashlib.sha256(f"{day}|{case_id}".encode()).digest()


def _districts(store: Store, ids: Sequence[str]) -> dict[str, str | None]:
    query = Query("entity", equals={"entity_id": list(ids)})
    order = [("entity_id", False)]
    rows = read_page(store.engine, query, order=order, limit=len(ids) + 1, columns=("entity_id", "division")).rows
    return {row["entity_id"]: row["division"] for row in rows}


def _stored(ranking: Ranking, now: datetime) -> StoredRanking:
    return StoredRanking(
        ranking.version, now, ranking.fusion, ranking.columns, ranking.state, ranking.visits, ranking.trial or {}
    )
