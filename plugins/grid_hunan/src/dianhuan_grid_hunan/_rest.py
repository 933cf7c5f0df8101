"""Delivery by REST with signed requests (assumption A8 of the README): one list for each stream and day."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import date, timedelta

import httpx

from dianhuan_grid_hunan._config import RestDelivery
from dianhuan_grid_hunan._profile import RestProfile, Signature, StreamProfile
from dianhuan_sdk import (
    Batch,
    Checkpoint,
    Clock,
    ConfigError,
    Cursor,
    Discard,
    PluginContext,
    Secret,
    SourceRef,
    Window,
)
from dianhuan_sdk.rest import Endpoint, Page, pages
from dianhuan_sdk.tabular import read_in_thread, read_rows, within
from dianhuan_standards import TABLES


def signer(app_id: str, secret: Secret, form: Signature, clock: Clock) -> Callable[[httpx.Request], None]:
    """What signs a request: HMAC over `METHOD\\npath?query\\ntimestamp\\nnonce`, in hex.

    The timestamp is in milliseconds of the epoch; the nonce is new for each try, so that a copied request is refused.
    """

    def sign(request: httpx.Request) -> None:
        stamp = str(int(clock.now().timestamp() * 1000))
        nonce = secrets.token_hex(16)
        words = "\n".join((request.method, request.url.raw_path.decode("ascii"), stamp, nonce))
        try:
            digest = hmac.new(secret.reveal().encode(), words.encode(), form.algorithm).hexdigest()
        except ValueError:
            raise ConfigError(
                f"this machine's OpenSSL has no {form.algorithm}",
                expected="sha256, or an OpenSSL with SM3",
                hint="set rest.signature.algorithm in the profile",
            ) from None
        request.headers[form.app_header] = app_id
        request.headers[form.time_header] = stamp
        request.headers[form.nonce_header] = nonce
        request.headers[form.signature_header] = digest

    return sign


async def read_rest(
    context: PluginContext,
    delivery: RestDelivery,
    form: RestProfile,
    stream: str,
    profile: StreamProfile,
    window: Window | None,
    cursor: Cursor | None,
) -> AsyncIterator[Batch | Checkpoint | Discard]:
    """Ask day by day, a checkpoint after each: `{"day": last day that is complete}`."""
    if stream not in form.paths:
        raise ConfigError(f"the profile has no REST path for {stream}", hint="add it under rest.paths")
    endpoint = Endpoint(
        url=delivery.url.rstrip("/") + form.paths[stream],
        rows_path=form.rows_path,
        paging=form.paging,
        budget=delivery.budget,
    )
    sign = signer(delivery.app_id, context.secret(delivery.secret), form.signature, context.clock)
    async with context.http() as client:
        for day in _days(context.clock.today(), delivery, window, cursor):
            async for page in pages(client, endpoint, params={form.day_param: day.isoformat()}, sign=sign):
                async for batch in read_in_thread(_batches(page, profile)):
                    # The day asked for is when it was sent; a correction of it may be about other days.
                    yield within(batch, window) if not profile.correction else batch
            yield Checkpoint({"day": day.isoformat()}, f"{stream} {day}")


def _days(today: date, delivery: RestDelivery, window: Window | None, cursor: Cursor | None) -> Iterator[date]:
    if window is not None:
        yield from window.days
        return
    last = (cursor or {}).get("day")
    day = date.fromisoformat(last) + timedelta(days=1) if last else today - timedelta(days=delivery.first_day_back)
    # Today is not complete yet.
    while day < today:
        yield day
        day += timedelta(days=1)


def _batches(page: Page, profile: StreamProfile) -> Iterator[Batch]:
    if page.rows:
        for mapping in profile.tables:
            yield from read_rows(page.rows, mapping, TABLES[mapping.table], SourceRef(page.url, page.sha256))
