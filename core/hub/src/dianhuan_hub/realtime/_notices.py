"""Notices to plants: opened by the runner, told by webhook and page, answered once, audited."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from dianhuan_hub.kernel.config import Notices
from dianhuan_hub.realtime._feed import Feed
from dianhuan_hub.store import (
    Connection,
    LoadInfo,
    NoticeRow,
    Query,
    Store,
    StreamEvent,
    file_report,
    last_of_event,
    newest_stream_event,
    put_audit,
    put_notices,
    put_stream_events,
    read_links,
    read_notices,
    read_page,
)
from dianhuan_sdk import Clock, InputError

ANSWERS: tuple[str, ...] = ("filed", "fault", "explanation")
"""A filed report (报备), a fault, an explanation."""

REPORT_KINDS: tuple[str, ...] = ("maintenance", "stoppage", "commissioning", "fault", "night_work", "other")
LONGEST_TEXT = 1000
LONGEST_REPORT = timedelta(days=30)
USUAL_REPORT = timedelta(hours=24)
_FORM_VALID_S = 4 * 3600
PURPOSE = "企业答复通知 · a plant's answer to a notice"


class NoticeError(InputError):
    """The page cannot be used: unknown or expired link, or answered already."""


@dataclass(frozen=True)
class PlantAnswer:
    """What a plant says to a notice.

    Args:
        kind: one of `ANSWERS`.
        text: in its own words; required for `fault` and `explanation`.
        report_kind: `filed_report.kind`, for a filed report.
        ends_at: end of a filed report; a day from now where it is not given.
    """

    kind: str
    text: str = ""
    report_kind: str = "maintenance"
    ends_at: datetime | None = None


class NoticeDesk:
    """Opens notices and takes answers.

    Args:
        store, clock: of the hub.
        settings: `[notices]`.
        feed: told of answers.
    """

    def __init__(self, store: Store, clock: Clock, settings: Notices, feed: Feed) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._feed = feed
        self._key = _own_key(store.data / "notice.key")

    # opening

    def open(self, con: Connection, events: Sequence[StreamEvent]) -> None:
        """Open a notice for each event that is told for the first time; inside the runner's transaction."""
        fresh = {e.event_id: e for e in events if e.verdict == "suspect" and e.change in ("opened", "raised")}
        if not fresh:
            return
        for known in read_notices(con, "event_id IN (SELECT unnest(?))", [list(fresh)]):
            del fresh[known.event_id]
        now = self._clock.now()
        treatment = {r.link_id: r.treatment[0] for r in read_links(con, "confirmed")}
        put_notices(con, [self._row(event, treatment.get(event.link_id, ""), now) for event in fresh.values()])

    def _row(self, event: StreamEvent, facility: str, now: datetime) -> NoticeRow:
        told = {"model_id": event.model_id, "rule": event.rule, "reasons": json.loads(event.body)["reasons"]}
        return NoticeRow(
            event_id=event.event_id,
            entity_id=event.entity_id,
            facility=facility,
            since=event.since,
            opened_at=now,
            body=json.dumps(told, ensure_ascii=False),
            token_sha256=_sha256(self.token(event.event_id, now)),
            expires_at=now + timedelta(hours=self._settings.valid_hours),
            due_at=now if self._settings.url else None,
        )

    def token(self, event_id: str, opened_at: datetime) -> str:
        """The token of a notice's page: made from a key that only the hub has, so it need not be kept."""
        return self._sign(f"notice:{event_id}:{opened_at.timestamp():.6f}")

    def link(self, notice: NoticeRow) -> str:
        """Address of a notice's page."""
        return f"{self._settings.public_url.rstrip('/')}/plant/{self.token(notice.event_id, notice.opened_at)}"

    def renew(self, notice: NoticeRow) -> NoticeRow:
        """The notice with a page that its link opens: the hub's key is another one after a restore."""
        digest = _sha256(self.token(notice.event_id, notice.opened_at))
        if digest == notice.token_sha256:
            return notice
        renewed = replace(notice, token_sha256=digest)
        self._store.write(lambda con: put_notices(con, [renewed]))
        return renewed

    # the page

    def find(self, token: str) -> NoticeRow:
        """The notice of a page that can be answered.

        Raises:
            NoticeError: there is none, it has expired, or it was answered.
        """
        with self._store.engine.cursor() as con:
            return self._usable(con, token)

    def name(self, entity_id: str) -> str:
        """Name of a plant, its id where it is in no register."""
        return str(self.plant(entity_id).get("name") or entity_id)

    def plant(self, entity_id: str) -> Mapping[str, Any]:
        """The plant's row, empty where it is in no register."""
        page = read_page(
            self._store.engine, Query("entity", equals={"entity_id": entity_id}), order=[("entity_id", False)], limit=1
        )
        return page.rows[0] if page.rows else {}

    def form_key(self, token: str) -> str:
        """What a form of this page carries: an answer without it was not made on the page."""
        end = int(self._clock.now().timestamp()) + _FORM_VALID_S
        return f"{end}.{self._sign(f'form:{end}:{_sha256(token)}')}"

    def check_form(self, token: str, form_key: str) -> None:
        """Check what a form carries.

        Raises:
            NoticeError: it was not made by this page, or too long ago.
        """
        end, _, sign = form_key.partition(".")
        right = self._sign(f"form:{end}:{_sha256(token)}")
        fresh = end.isascii() and end.isdigit() and len(end) < 12 and int(end) >= self._clock.now().timestamp()
        if not (hmac.compare_digest(sign.encode("utf-8", "replace"), right.encode()) and fresh):
            raise NoticeError(
                "表单无效或已过期 · this form is not valid any more", hint="重新打开链接 · open the link again"
            )

    def answer(self, token: str, answer: PlantAnswer, peer: str = "") -> NoticeRow:
        """Take a plant's answer; a filed report is effective at once.

        Raises:
            NoticeError: the page cannot be used.
            InputError: something is missing or wrong.
        """
        checked = _checked(answer)
        now = self._clock.now()
        if checked.ends_at is not None and not now < checked.ends_at <= now + LONGEST_REPORT:
            raise InputError(
                "结束时间不对 · the end is wrong", expected="30 天以内的将来时刻 · within 30 days from now"
            )

        def work(con: Connection) -> tuple[NoticeRow, int]:
            notice = self._usable(con, token)  # the writer is one: nobody answers in between
            report = None
            if checked.kind == "filed":
                report = self._file(
                    con,
                    notice.entity_id,
                    checked.report_kind,
                    notice.since,
                    checked.ends_at or now + USUAL_REPORT,
                    facility=notice.facility,
                    note=checked.text,
                )
            answered = replace(
                notice,
                answered_at=now,
                answer=checked.kind,
                answer_text=checked.text,
                report_id=report,
                accepted=True if report else None,
                due_at=None,
            )
            put_notices(con, [answered])
            put_audit(con, now, f"plant:{notice.entity_id}", PURPOSE, f"answer {checked.kind}", notice.event_id,
                      f"{report or ''} {peer}".strip())  # fmt: skip
            self._answered(con, notice.event_id, checked.kind, now)
            return answered, newest_stream_event(con)

        answered, newest = self._store.write(work)
        self._feed.tell(newest)
        return answered

    def file_report(
        self, entity_id: str, kind: str, starts_at: datetime, ends_at: datetime, facility: str, note: str, *,
        actor: str, purpose: str
    ) -> str:  # fmt: skip
        """File a report (报备) for a plant; effective at once. Answers its id.

        Raises:
            InputError: kind or times are wrong.
        """
        if kind not in REPORT_KINDS:
            raise InputError(f"no kind of report {kind!r}", expected=", ".join(REPORT_KINDS))
        if ends_at <= starts_at or ends_at - starts_at > LONGEST_REPORT:
            raise InputError(f"from {starts_at} to {ends_at}", expected="an end after the start, within 30 days")
        if len(note) > LONGEST_TEXT:
            raise InputError(f"a note of {len(note)} characters", expected=f"at most {LONGEST_TEXT}")

        def work(con: Connection) -> str:
            report = self._file(con, entity_id, kind, starts_at, ends_at, facility=facility, note=note)
            put_audit(con, self._clock.now(), actor, purpose, "file report", entity_id, report)
            return report

        return self._store.write(work)

    def review(self, event_id: str, accepted: bool, actor: str, note: str = "") -> NoticeRow:
        """An officer accepts or refuses what a plant answered.

        Raises:
            InputError: there is no answer.
        """

        def work(con: Connection) -> NoticeRow:
            found = read_notices(con, "event_id = ? AND answered_at IS NOT NULL", [event_id])
            if not found:
                raise InputError(f"no answer to {event_id!r}", hint="dianhuan realtime notices")
            row = replace(found[0], accepted=accepted, reviewed_by=actor)
            put_notices(con, [row])
            word = "accept answer" if accepted else "refuse answer"
            put_audit(con, self._clock.now(), actor, PURPOSE, word, event_id, note)
            return row

        return self._store.write(work)

    def recent(self, limit: int = 100) -> list[NoticeRow]:
        """The newest notices."""
        since = self._clock.now() - timedelta(days=7)
        with self._store.engine.cursor() as con:
            return read_notices(con, "opened_at >= ?", [since])[-limit:]

    # inside

    def _usable(self, con: Connection, token: str) -> NoticeRow:
        found = read_notices(con, "token_sha256 = ?", [_sha256(token)])
        if not found:
            raise NoticeError("链接无效 · this link is not known", hint="请核对链接 · check the link")
        if found[0].answered_at is not None:
            raise NoticeError(
                "已经答复过 · this notice has been answered", hint="如需更正请联系监管部门 · call the bureau"
            )
        if found[0].expires_at <= self._clock.now():
            raise NoticeError("链接已过期 · this link has expired", hint="请联系监管部门 · call the bureau")
        return found[0]

    def _file(
        self, con: Connection, entity_id: str, kind: str, starts_at: datetime, ends_at: datetime, *,
        facility: str, note: str
    ) -> str:  # fmt: skip
        now = self._clock.now()
        report = f"B{now:%Y%m%d}-{secrets.token_hex(6)}"
        row = {
            "report_id": report,
            "entity_id": entity_id,
            "kind": kind,
            "starts_at": starts_at,
            "ends_at": ends_at,
            "filed_at": now,
            "facility": facility or None,
            "note": note or None,
        }
        info = LoadInfo("dianhuan", "", "filed_report", f"report {report}", "", "", now)
        file_report(con, row, info, now)
        return report

    def _answered(self, con: Connection, event_id: str, kind: str, now: datetime) -> None:
        last = last_of_event(con, event_id)
        if last is not None:
            body = {**json.loads(last.body), "answer": kind}
            told = replace(last, told_at=now, change="answered", body=json.dumps(body, ensure_ascii=False), seq=0)
            put_stream_events(con, [told])

    def _sign(self, text: str) -> str:
        digest = hmac.new(self._key, text.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _checked(answer: PlantAnswer) -> PlantAnswer:
    text = "".join(c for c in answer.text if c.isprintable() or c == "\n").strip()
    if answer.kind not in ANSWERS:
        raise InputError("请选择答复类型 · choose what you answer", expected=", ".join(ANSWERS))
    if len(text) > LONGEST_TEXT:
        raise InputError(f"说明过长 · {len(text)} characters", expected=f"≤ {LONGEST_TEXT}")
    if answer.kind != "filed" and not text:
        raise InputError("请填写说明 · say what happened", expected="文字说明 · some words")
    if answer.kind == "filed" and answer.report_kind not in REPORT_KINDS:
        raise InputError("请选择报备类型 · choose a kind of report", expected=", ".join(REPORT_KINDS))
    return replace(answer, text=text)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _own_key(path: Path) -> bytes:
    """The hub's key for links, made where there is none; only its owner may read it."""
    if not path.exists():
        aside = path.with_suffix(".part")
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
    return path.read_bytes()
