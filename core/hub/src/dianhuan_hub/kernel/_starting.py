"""Which plugins do not start: those a person switched off, and those during whose start the process died.

Each process that loads plugins keeps a marker file, locked while the process lives, that names the plugin being
started. A marker that can be locked belongs to a process that is gone; the plugin it names is switched off until
`dianhuan plugin enable ID`. A lock, unlike a process id, is given back by the kernel whatever happens.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dianhuan_sdk import Clock, ConfigError

_MARKER = "starting-"
_OFF = ".off.json"


@dataclass(frozen=True, slots=True)
class SwitchedOff:
    """Why a plugin does not start: words, when (ISO 8601), and whether the process died while starting it."""

    reason: str
    at: str
    crashed: bool = False


class StartLog:
    """The switch-off files and markers of one data folder.

    Args:
        folder: a folder of their own; made where it does not exist.
        clock: time for the files.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"data folder: {folder} cannot be made: {error.strerror}",
                expected="a folder that the hub may write",
                hint="correct data_dir or the folder's owner",
            ) from None

    def off(self) -> Mapping[str, SwitchedOff]:
        """The plugins that do not start, by id; those of processes that died in between included."""
        for marker in self._folder.glob(_MARKER + "*"):
            self._bury(marker)
        found = {}
        for file in self._folder.glob("*" + _OFF):
            with contextlib.suppress(OSError, ValueError, TypeError):  # enabled by another process just now
                found[file.name.removesuffix(_OFF)] = SwitchedOff(**json.loads(file.read_text("utf-8")))
        return found

    def switch_off(self, plugin: str, reason: str, *, crashed: bool = False) -> None:
        """Leave a plugin out from the next start on."""
        entry = {"reason": reason, "at": self._clock.now().isoformat(timespec="seconds"), "crashed": crashed}
        aside = self._folder / f".{uuid.uuid4().hex}"
        aside.write_text(json.dumps(entry, ensure_ascii=False), "utf-8")
        aside.replace(self._folder / (plugin + _OFF))

    def switch_on(self, plugin: str) -> bool:
        """Let a plugin start again; false where it was not off."""
        try:
            (self._folder / (plugin + _OFF)).unlink()
        except FileNotFoundError:
            return False
        return True

    @contextlib.contextmanager
    def marker(self) -> Iterator[Marker]:
        """A marker of this process, gone when the block ends in whatever orderly way."""
        aside = self._folder / f".{uuid.uuid4().hex}"
        path = self._folder / f"{_MARKER}{uuid.uuid4().hex}"
        descriptor = os.open(aside, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            aside.rename(path)  # under this name only when locked, so that nobody takes it for a dead one's
            yield Marker(descriptor)
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def _bury(self, marker: Path) -> None:
        try:
            descriptor = os.open(marker, os.O_RDWR)
        except OSError:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            plugin, _, step = os.read(descriptor, 4096).decode("utf-8", "replace").partition(" ")
            if plugin:
                self.switch_off(plugin, f"the process died while starting it (step {step})", crashed=True)
            marker.unlink(missing_ok=True)
        except BlockingIOError:
            pass  # its process lives
        finally:
            os.close(descriptor)


class Marker:
    """Names what this process is starting."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @contextlib.contextmanager
    def starting(self, plugin: str, step: str) -> Iterator[None]:
        """Name the plugin while the block runs."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{plugin} {step}".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(self._descriptor, 0)
