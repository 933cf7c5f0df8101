"""What an orchestrator asks: is the hub ready."""

from __future__ import annotations

from collections import Counter
from typing import Any

from anyio import to_thread

from dianhuan_hub.app import Hub
from dianhuan_hub.store import StoreError, newest_day


async def readiness(hub: Hub) -> tuple[int, dict[str, Any]]:
    """HTTP status and facts: whether the store answers, how many plugins are in which state, the newest day.

    No key is needed, so nothing here names a plugin, a file or an enterprise.
    """
    plugins = dict(Counter(record.state for record in hub.plugins.records))
    try:
        newest = await to_thread.run_sync(newest_day, hub.store.engine)
    except StoreError as error:
        return 503, {"status": "unavailable", "store": error.message, "plugins": plugins, "newest_day": None}
    return 200, {
        "status": "ready",
        "store": "ok",
        "plugins": plugins,
        "newest_day": None if newest is None else newest.isoformat(),
    }
