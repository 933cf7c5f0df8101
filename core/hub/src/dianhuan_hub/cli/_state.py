"""Which hub the command is for: `--hub`, `DIANHUAN_HUB`, or the present folder."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dianhuan_hub.kernel.config import HubConfig

_HUB: ContextVar[Path] = ContextVar("hub", default=Path())


def set_hub(folder: Path) -> None:
    """Called by the frame, once."""
    _HUB.set(folder)


def hub_folder() -> Path:
    """The hub's folder as the user named it; it need not exist."""
    return _HUB.get()


def hub_config() -> HubConfig:
    """The hub's configuration.

    Raises:
        ConfigError: there is none, or it is wrong.
    """
    from dianhuan_hub.kernel.config import load_config

    return load_config(_file())


def hub_config_or_none() -> HubConfig | None:
    """The hub's configuration, or None where there is no `hub.toml`, for commands that work without a hub."""
    return hub_config() if _file().exists() else None


def _file() -> Path:
    from dianhuan_hub.kernel.config import FILE_NAME

    folder = hub_folder()
    return folder if folder.is_file() else folder / FILE_NAME
