"""Takes notices to the webhook of `[notices]`: at least once, with a key by which the receiver knows a repeat."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from dianhuan_hub.kernel.config import Notices
from dianhuan_hub.kernel.secrets import Vault
from dianhuan_hub.realtime._feed import Feed
from dianhuan_hub.realtime._notices import NoticeDesk
from dianhuan_hub.store import Connection, NoticeRow, Store, put_audit, put_notices, read_notices
from dianhuan_sdk import Clock, DianhuanError, SecretRef

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

PURPOSE = "通知送达 · delivery of notices"
TIMEOUT_S = 10.0
LONGEST_PAUSE_S = 3600.0
_BATCH = 50


class Courier:
    """Delivers notices while the hub serves.

    Args:
        store, clock, vault: of the hub.
        settings: `[notices]`.
        desk: makes links.
        feed: wakes it.
    """

    def __init__(
        self, store: Store, clock: Clock, vault: Vault, settings: Notices, desk: NoticeDesk, feed: Feed
    ) -> None:
        self._store = store
        self._clock = clock
        self._vault = vault
        self._settings = settings
        self._desk = desk
        self._feed = feed

    async def run(self) -> None:
        """Deliver what is due, until the hub stops."""
        while not self._feed.closed:
            seen = self._feed.newest
            try:
                await self.deliver()
            except DianhuanError as error:
                log.error("notices: %s", error)
            await self._feed.wait(seen, min(self._settings.retry_s, 5.0))

    async def deliver(self) -> int:
        """One attempt for every notice that is due; answers how many arrived."""
        import httpx

        if not self._settings.url:
            return 0
        with self._store.engine.cursor() as con:
            due = read_notices(con, "due_at <= ? AND answered_at IS NULL", [self._clock.now()], _BATCH)
        if not due:
            return 0
        async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
            told = await asyncio.gather(*(self._attempt(client, notice) for notice in due))
        return sum(told)

    async def _attempt(self, client: httpx.AsyncClient, notice: NoticeRow) -> bool:
        import httpx

        failure = ""
        try:
            body = await asyncio.to_thread(self._body, notice)
            headers = {
                "Content-Type": "application/json; charset=utf-8",
                "Idempotency-Key": hashlib.sha256(notice.event_id.encode()).hexdigest(),
            }
            if self._settings.secret:
                key = self._vault.resolve(SecretRef(ref=self._settings.secret)).reveal()
                sign = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
                headers["X-Dianhuan-Signature"] = f"sha256={sign}"
            answer = await client.post(self._settings.url, content=body, headers=headers)
            if not answer.is_success:
                failure = f"HTTP {answer.status_code}"
        except (httpx.HTTPError, DianhuanError) as error:
            failure = self._vault.clean(f"{type(error).__name__}: {error}")[:200]
        await asyncio.to_thread(self._note, notice, failure)
        return not failure

    def _body(self, notice: NoticeRow) -> bytes:
        notice = self._desk.renew(notice)
        plant = self._desk.plant(notice.entity_id)
        body = json.loads(notice.body)
        told = {
            "type": "notice",
            "event_id": notice.event_id,
            "entity_id": notice.entity_id,
            "name": plant.get("name"),
            "contact": plant.get("contact"),
            "since": notice.since.isoformat(),
            "opened_at": notice.opened_at.isoformat(),
            "reasons": body["reasons"],
            "answer_url": self._desk.link(notice),
            "expires_at": notice.expires_at.isoformat(),
        }
        return json.dumps(told, ensure_ascii=False).encode()

    def _note(self, tried: NoticeRow, failure: str) -> None:
        def work(con: Connection) -> None:
            found = read_notices(con, "event_id = ?", [tried.event_id])
            if not found:
                return
            notice, now = found[0], self._clock.now()  # it may have been answered meanwhile
            attempts = notice.attempts + 1
            pause = min(self._settings.retry_s * 2.0 ** min(attempts - 1, 20), LONGEST_PAUSE_S)
            again = now + timedelta(seconds=pause)
            tried_once = replace(
                notice,
                attempts=attempts,
                failure=failure,
                delivered_at=notice.delivered_at if failure else now,
                due_at=again if failure and again < notice.expires_at and notice.answered_at is None else None,
            )
            put_notices(con, [tried_once])
            if not failure:
                put_audit(con, now, "hub", PURPOSE, "deliver notice", notice.event_id)

        self._store.write(work)
        if failure:
            log.warning("notice %s was not delivered: %s", tried.event_id, failure)
