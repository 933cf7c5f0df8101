"""`/plant/{token}`: the page on which a plant answers a notice; plain HTML in two languages, no cookie, no asset.

The token in the link is all that opens it: 256 bits, for one notice, for a time, for one answer. The form carries a
key that only this page gives, and an answer sent from another site is refused.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from datetime import datetime
from html import escape
from typing import Any
from urllib.parse import parse_qs, urlsplit

from anyio import to_thread
from fastapi import Request
from fastapi.responses import HTMLResponse

from dianhuan_hub.kernel.config import HubConfig
from dianhuan_hub.realtime import ANSWERS, REPORT_KINDS, NoticeDesk, NoticeError, PlantAnswer
from dianhuan_hub.store import NoticeRow
from dianhuan_sdk import LOCAL_ZONE, InputError

MAX_BODY = 16 * 1024
MISSES = 20
"""Links that are not known, from one address in `MISS_S` seconds; more are not looked up."""

MISS_S = 60.0
_PEERS = 10_000

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}
_KIND_WORDS = {
    "filed": "报备(检修、停产等,即时生效) · file a report, effective at once",
    "fault": "设备或仪表故障 · a fault of equipment or meter",
    "explanation": "情况说明 · an explanation",
}
_REPORT_WORDS = {
    "maintenance": "检修 · maintenance",
    "stoppage": "停产 · stoppage",
    "commissioning": "调试 · commissioning",
    "fault": "故障 · fault",
    "night_work": "夜间作业 · night work",
    "other": "其他 · other",
}
_STYLE = (
    "body{font:16px/1.6 sans-serif;max-width:40em;margin:1em auto;padding:0 1em}"
    "fieldset{border:1px solid #999;margin:1em 0}label{display:block;margin:.4em 0}"
    "textarea,select,input[type=datetime-local]{width:100%;box-sizing:border-box;font:inherit}"
    "button{font:inherit;padding:.5em 2em}.bad{color:#a00}"
)


class PlantPages:
    """The pages of one hub.

    Args:
        desk: notices and answers.
        config: of the hub.
    """

    def __init__(self, desk: NoticeDesk, config: HubConfig) -> None:
        self._desk = desk
        self._city = config.city.name
        self._public = urlsplit(config.notices.public_url).netloc.lower()
        self._misses: OrderedDict[str, tuple[float, int]] = OrderedDict()

    async def show(self, request: Request, token: str) -> HTMLResponse:
        """The notice with the form."""
        try:
            self._allow(request)
            notice = await to_thread.run_sync(self._desk.find, token)
        except NoticeError as error:
            return self._refused(request, error)
        return await self._form(token, notice)

    async def take(self, request: Request, token: str) -> HTMLResponse:
        """Take the answer of a form."""
        try:
            self._allow(request)
            notice = await to_thread.run_sync(self._desk.find, token)
            self._same_site(request)
            given = await _body(request)
            self._desk.check_form(token, given.get("form", ""))
        except NoticeError as error:
            return self._refused(request, error)
        peer = request.client.host if request.client is not None else ""
        try:
            answer = _answer(given)
            answered = await to_thread.run_sync(lambda: self._desk.answer(token, answer, peer))
        except NoticeError as error:
            return self._refused(request, error)
        except InputError as error:
            return await self._form(token, notice, error, 400)
        words = "已收到答复,谢谢。 · Your answer has been received, thank you."
        if answered.report_id is not None:
            words += f" 报备编号 · report {answered.report_id}"
        return self._page(f"<p>{escape(words)}</p>", 200)

    def _allow(self, request: Request) -> None:
        peer = request.client.host if request.client is not None else ""
        since, count = self._misses.get(peer, (0.0, 0))
        if time.monotonic() - since < MISS_S and count >= MISSES:
            raise _BusyError("请求过多,请稍后再试 · too many requests, try again in a minute")

    def _missed(self, request: Request) -> None:
        peer = request.client.host if request.client is not None else ""
        now = time.monotonic()
        since, count = self._misses.pop(peer, (now, 0))
        self._misses[peer] = (since, count + 1) if now - since < MISS_S else (now, 1)
        if len(self._misses) > _PEERS:
            self._misses.popitem(last=False)

    def _same_site(self, request: Request) -> None:
        origin = request.headers.get("origin")
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise NoticeError("只接受本页面提交的答复 · answers are taken from this page only")
        if origin is not None:
            host = urlsplit(origin).netloc.lower()
            if not host or host not in (request.headers.get("host", "").lower(), self._public):
                raise NoticeError("只接受本页面提交的答复 · answers are taken from this page only")

    def _refused(self, request: Request, error: NoticeError) -> HTMLResponse:
        if isinstance(error, _BusyError):
            return self._page(f'<p class="bad">{escape(error.message)}</p>', 429)
        self._missed(request)
        return self._page(f'<p class="bad">{escape(error.message)}</p><p>{escape(error.hint)}</p>', 403)

    async def _form(
        self, token: str, notice: NoticeRow, error: InputError | None = None, status: int = 200
    ) -> HTMLResponse:
        import json

        name = await to_thread.run_sync(self._desk.name, notice.entity_id)
        reasons = json.loads(notice.body)["reasons"]
        said = "".join(f"<li>{escape(r['zh'])}<br><span lang=en>{escape(r['en'])}</span></li>" for r in reasons)
        bad = ""
        if error is not None:
            bad = f'<p class="bad">{escape(error.message)} ({escape(error.expected)})</p>'
        kinds = "".join(
            f"<label><input type=radio name=kind value={kind} required> {escape(_KIND_WORDS[kind])}</label>"
            for kind in ANSWERS
        )
        reports = "".join(f"<option value={k}>{escape(_REPORT_WORDS[k])}</option>" for k in REPORT_KINDS)
        return self._page(
            f"<h1>{escape(name)}</h1><p>自 {_local(notice.since)} 起 · since {_local(notice.since)}</p>"
            f"<ul>{said}</ul>{bad}"
            f'<form method=post><input type=hidden name=form value="{escape(self._desk.form_key(token))}">'
            f"<fieldset><legend>答复 · Answer</legend>{kinds}</fieldset>"
            f"<label>报备类型 · kind of report <select name=report>{reports}</select></label>"
            "<label>报备至(北京时间,默认 24 小时) · report until (Beijing time, a day by default) "
            "<input type=datetime-local name=until></label>"
            "<label>说明 · in your words <textarea name=text rows=4 maxlength=1000></textarea></label>"
            f"<p>本链接只能答复一次,有效至 · one answer, until {_local(notice.expires_at)}</p>"
            "<button>提交 · send</button></form>",
            status,
        )

    def _page(self, body: str, status: int) -> HTMLResponse:
        title = f"{escape(self._city)} 污染治理设施用电通知 · notice"
        return HTMLResponse(
            f'<!doctype html><html lang="zh-CN"><head><meta charset="utf-8"><meta name="viewport" '
            f'content="width=device-width,initial-scale=1"><title>{title}</title><style>{_STYLE}</style></head>'
            f"<body><p>{title}</p>{body}</body></html>",
            status,
            headers=_HEADERS,
        )


class _BusyError(NoticeError):
    """Too many links that are not known came from one address."""


async def _body(request: Request) -> dict[str, str]:
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > MAX_BODY:
            raise NoticeError("内容过长 · too long")
    try:
        fields = parse_qs(data.decode("utf-8"), keep_blank_values=True, max_num_fields=20)
    except (UnicodeDecodeError, ValueError):
        raise NoticeError("表单无法读取 · the form cannot be read") from None
    return {name: values[0] for name, values in fields.items()}


def _answer(given: dict[str, Any]) -> PlantAnswer:
    until = given.get("until", "")
    ends_at = None
    if until:
        try:
            ends_at = datetime.fromisoformat(until)
        except ValueError:
            raise InputError("结束时间无法识别 · the end is no time", expected="YYYY-MM-DDTHH:MM") from None
        if ends_at.tzinfo is None:
            ends_at = ends_at.replace(tzinfo=LOCAL_ZONE)
    return PlantAnswer(given.get("kind", ""), given.get("text", ""), given.get("report", "maintenance"), ends_at)


def _local(at: datetime) -> str:
    return f"{at.astimezone(LOCAL_ZONE):%Y-%m-%d %H:%M}"
