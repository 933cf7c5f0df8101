"""Notices to a webhook: signed, tried again with the same key, and reviewed answers."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

FURNACE, OFF, ON = 60.0, 0.4, 12.0


def test_webhook_is_tried_again_with_the_same_key(
    start: Callable[..., Any], bind: Callable[..., str], hook: Any, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("signing-key")
    site = start(f'\n[notices]\nurl = "{hook.url}"\nsecret = "file:key"\npublic_url = "https://hub.example.cn"\n')
    bind(site.hub)
    site.minutes(50, FURNACE, OFF)
    hook.failures = 1
    courier = site.hub.realtime.courier
    assert asyncio.run(courier.deliver()) == 0
    assert site.query("SELECT attempts, failure, delivered_at FROM notice") == [(1, "HTTP 503", None)]
    assert asyncio.run(courier.deliver()) == 0  # not due yet
    assert len(hook.got) == 1
    site.clock.instant += timedelta(seconds=31)
    assert asyncio.run(courier.deliver()) == 1
    assert asyncio.run(courier.deliver()) == 0
    (first, body), (second, same) = hook.got
    assert first["Idempotency-Key"] == second["Idempotency-Key"]
    assert body == same
    assert second["X-Dianhuan-Signature"] == "sha256=" + hmac.new(b"signing-key", same, hashlib.sha256).hexdigest()
    told = json.loads(body)
    assert (told["entity_id"], told["contact"]) == ("E1", "13800000000")
    token = site.page().rpartition("/")[2]
    assert told["answer_url"] == f"https://hub.example.cn/plant/{token}"
    assert site.query("SELECT due_at FROM notice") == [(None,)]
    assert site.query("SELECT count(*) FROM audit WHERE action = 'deliver notice'") == [(1,)]


def test_refused_answer_helps_to_send_an_officer_and_an_accepted_one_holds_it(told: Any) -> None:
    from dianhuan_hub.realtime import PlantAnswer

    site = told
    desk = site.hub.realtime.notices
    (notice,) = desk.recent()
    desk.answer(desk.token(notice.event_id, notice.opened_at), PlantAnswer("explanation", "正在换滤袋"))
    assert site.minutes(5, FURNACE, OFF) == []
    desk.review(notice.event_id, False, "王", "无换滤袋记录")
    said = site.minutes(3, FURNACE, OFF)
    assert said == ["treatment_off raised dispatch"]
    assert site.query("SELECT count(*) FROM warning") == [(1,)]
    (evidence,) = site.query("SELECT evidence FROM finding")[0]
    assert json.loads(evidence)["level"] == "dispatch"
    notes = [n for (n,) in site.query("SELECT note FROM case_event ORDER BY seq")]
    assert ["opened: notice" in notes[0], "raised: dispatch" in notes[1]] == [True, True]


def test_a_notice_that_goes_out_after_a_restore_has_a_link_that_works(
    start: Callable[..., Any], bind: Callable[..., str], hook: Any, http: Any
) -> None:
    site = start(f'\n[notices]\nurl = "{hook.url}"\npublic_url = "https://hub.example.cn"\n')
    bind(site.hub)
    site.minutes(50, FURNACE, OFF)
    site.hub.store.write(lambda con: con.execute("UPDATE notice SET token_sha256 = 'of another key'"))
    assert http.get(site.page()).status_code == 403
    assert asyncio.run(site.hub.realtime.courier.deliver()) == 1
    assert http.get(site.page()).status_code == 200
