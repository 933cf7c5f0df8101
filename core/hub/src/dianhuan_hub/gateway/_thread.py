"""The gateway in a thread and event loop of its own, so that a long answer of the API keeps no device waiting."""

from __future__ import annotations

import asyncio
import gc
import resource
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future

from dianhuan_hub.gateway._gateway import Gateway


def own_process() -> None:
    """For a process that serves devices: a descriptor for each of them, and a collector of garbage that does not look
    through every frame in flight again and again (a sixth of the processor's time otherwise)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


class GatewayThread:
    """Runs a gateway.

    Args:
        gateway: to run.
        failed: called when it ends by itself, which is a defect.
    """

    def __init__(self, gateway: Gateway, failed: Callable[[BaseException], None]) -> None:
        self._gateway = gateway
        self._failed = failed
        self._started: Future[Mapping[str, str]] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="gateway")

    def start(self) -> Mapping[str, str]:
        """Start, and wait until devices can connect; answers the addresses of the ports by name.

        Raises:
            ConfigError: why it cannot start.
        """
        self._thread.start()
        return self._started.result()

    def stop(self) -> None:
        """Commit and answer what was received, close, and wait for the end."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            else:
                self._failed(error)

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await self._gateway.run(self._stop, lambda addresses: self._started.set_result(dict(addresses)))
