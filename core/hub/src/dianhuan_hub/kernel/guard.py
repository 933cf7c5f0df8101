"""Calls into plugins: no exception, hang or series of failures of a plugin takes the hub with it.

The typed errors of the SDK with which a plugin reports about its *source* or *input* pass as they are: the plugin
works. Everything else becomes a `PluginError` that names plugin and step, and counts towards the circuit breaker.
A time-out of a synchronous call leaves its thread behind: vendor code that never returns cannot be ended in process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

from dianhuan_sdk import Clock, ConfigError, InputError, PluginError, SourceError

T = TypeVar("T")
_REPORTS = (ConfigError, InputError, SourceError)


class Guard:
    """Calls one plugin's functions.

    Args:
        plugin: id of the plugin, for messages.
        clock: time for progress and for the breaker.
        failures: consecutive failures after which the breaker opens.
        pause: how long it stays open; then one call is let through, and its outcome decides.
        clean: takes secrets out of a text before it goes into a message.
    """

    def __init__(
        self,
        plugin: str,
        clock: Clock,
        *,
        failures: int = 5,
        pause: timedelta = timedelta(minutes=5),
        clean: Callable[[str], str] = str,
    ) -> None:
        self.plugin = plugin
        self.last_progress: datetime | None = None
        self.last_error: PluginError | None = None
        self._clock = clock
        self._limit = failures
        self._pause = pause
        self._clean = clean
        self._failures = 0
        self._open_until: datetime | None = None
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """True while the breaker refuses calls."""
        return self._open_until is not None and self._clock.now() < self._open_until

    def call(self, step: str, function: Callable[[], T], *, timeout: float | None = None) -> T:
        """Call a synchronous function.

        Args:
            step: what is being done, for messages.
            function: takes nothing; bind arguments with a lambda.
            timeout: seconds after which the caller goes on without an answer; the function then runs in a thread of
                its own, which the hub cannot end.

        Raises:
            PluginError: it failed, took too long, or the breaker is open.
            ConfigError, InputError, SourceError: as the plugin raised them.
        """
        self._admit(step)
        try:
            answer = function() if timeout is None else _in_thread(function, timeout)
        except _REPORTS:
            self.progress()
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin's SystemExit must not end the hub either
            raise self._failed(step, error, timeout) from error
        self.progress()
        return answer

    async def acall(self, step: str, function: Callable[[], Awaitable[T]], *, timeout: float | None = None) -> T:
        """Await an asynchronous function; as `call`. A time-out fires at an `await` of the function only."""
        self._admit(step)
        try:
            async with asyncio.timeout(timeout):
                answer = await function()
        except _REPORTS:
            self.progress()
            raise
        except KeyboardInterrupt:
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # nobody cancelled this task: something that the plugin awaits was, and that is the plugin's failure
            raise self._failed(step, error, timeout) from error
        except BaseException as error:
            raise self._failed(step, error, timeout) from error
        self.progress()
        return answer

    async def items(
        self, step: str, function: Callable[[], AsyncIterator[T]], *, timeout: float | None = None
    ) -> AsyncIterator[T]:
        """The items of an asynchronous iterator, each guarded as by `acall`; `timeout` is for one item."""
        iterator: AsyncIterator[T] | None = None

        async def following() -> tuple[bool, T | None]:
            nonlocal iterator
            if iterator is None:
                iterator = aiter(function())
            try:
                return True, await anext(iterator)
            except StopAsyncIteration:
                return False, None

        try:
            while True:
                more, item = await self.acall(step, following, timeout=timeout)
                if not more:
                    return
                yield item  # type: ignore[misc]  # `more` says that it is a T, which may itself include None
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()

    def progress(self) -> None:
        """Note that the plugin works; also for long calls that report in between."""
        with self._lock:
            self.last_progress = self._clock.now()
            self._failures = 0
            self._open_until = None

    def _admit(self, step: str) -> None:
        if self.is_open:
            raise PluginError(
                f"plugin {self.plugin}: {step}: not called, it failed {self._failures} times in a row"
                + (f"; last: {self.last_error.message}" if self.last_error else ""),
                expected=f"a rest until {self._open_until:%Y-%m-%d %H:%M:%S} UTC",
                hint=f"see `dianhuan plugin inspect {self.plugin}`; it is tried again then",
            )

    def _failed(self, step: str, error: BaseException, timeout: float | None) -> PluginError:
        failure = self.describe(step, error, timeout)
        with self._lock:
            self.last_error = failure
            self._failures += 1
            if self._failures >= self._limit:
                self._open_until = self._clock.now() + self._pause
        return failure

    def describe(self, step: str, error: BaseException, timeout: float | None = None) -> PluginError:
        """The `PluginError` for an exception of the plugin, with secrets taken out."""
        if isinstance(error, TimeoutError) and timeout is not None:
            return PluginError(
                f"plugin {self.plugin}: {step}: no answer within {timeout:g} s",
                expected="an answer",
                hint="see whether its source can be reached; if it hangs again, report it to the plugin's maintainers",
            )
        words = error.message if isinstance(error, PluginError) else f"{type(error).__name__}: {_words(error)}"
        return PluginError(
            self._clean(f"plugin {self.plugin}: {step}: {words}"),
            expected=self._clean(error.expected) if isinstance(error, PluginError) else "",
            hint=(self._clean(error.hint) if isinstance(error, PluginError) else "")
            or "update the plugin or report this to its maintainers; "
            f"`dianhuan plugin disable {self.plugin}` leaves it out",
        )


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # an exception class of the plugin may be broken too
        return "(it has no words)"


def _in_thread(function: Callable[[], T], timeout: float) -> T:
    answers: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="dianhuan-guarded-call", daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise TimeoutError
    if errors and isinstance(errors[0], KeyboardInterrupt):
        raise RuntimeError("KeyboardInterrupt")  # no person pressed a key in this thread
    if errors:
        raise errors[0]
    return answers[0]
