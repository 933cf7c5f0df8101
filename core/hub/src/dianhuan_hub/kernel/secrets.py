"""Secrets: resolved at the last moment, and taken out of every text that leaves a plugin."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Mapping
from pathlib import Path

from dianhuan_sdk import ConfigError, PluginError, Secret, SecretRef

_SHORTEST = 4  # a shorter value would blank out ordinary words


class Vault:
    """Resolves `env:NAME` and `file:PATH`, and remembers the values to take them out of messages.

    Args:
        folder: relative paths of `file:` start here (the folder of `hub.toml`).
        environ: the environment, `os.environ` by default.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._environ = os.environ if environ is None else environ
        self._seen: set[str] = set()

    def resolve(self, ref: SecretRef) -> Secret:
        """The secret that a reference names.

        Raises:
            ConfigError: there is none.
        """
        kind, _, name = ref.ref.partition(":")
        value = self._variable(name) if kind == "env" else self._file(name)
        if len(value) >= _SHORTEST:
            self._seen.add(value)
        return Secret(value)

    def clean(self, text: str) -> str:
        """The text with every value that was ever resolved replaced by `…`."""
        for value in sorted(self._seen, key=len, reverse=True):
            text = text.replace(value, "…")
        return text

    def _variable(self, name: str) -> str:
        value = self._environ.get(name, "")
        if not value:
            raise ConfigError(
                f"secret env:{name}: the variable {name} is not set",
                expected="a variable with the secret",
                hint=f"set {name} in the service's environment",
            )
        return value

    def _file(self, name: str) -> str:
        path = self._folder / name
        try:
            value = path.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise ConfigError(
                f"secret file:{name}: {path} cannot be read: {reason}",
                expected="a text file that holds the secret and nothing else",
                hint="create it, readable for the hub's user only",
            ) from None
        if not value:
            raise ConfigError(f"secret file:{name}: {path} is empty", hint="write the secret into it")
        return value


class UndeclaredSecrets:
    """Answers a plugin whose manifest asks for no secrets."""

    def __init__(self, plugin: str) -> None:
        self._plugin = plugin

    def resolve(self, ref: SecretRef) -> Secret:
        """Raises `PluginError`: nothing is handed out."""
        raise PluginError(
            f"plugin {self._plugin} asks for the secret {ref.ref} but declares none",
            expected="capabilities = { secrets = true } in its plugin.toml",
            hint="the plugin's maintainers must declare it",
        )


class CleaningFilter(logging.Filter):
    """Takes resolved secrets out of log records, out of tracebacks too."""

    def __init__(self, vault: Vault) -> None:
        super().__init__()
        self._vault = vault

    def filter(self, record: logging.LogRecord) -> bool:
        """Always true; the record's text is cleaned in place."""
        record.msg = self._vault.clean(record.getMessage())
        record.args = ()
        if record.exc_info and record.exc_info[1]:
            record.exc_text = self._vault.clean("".join(traceback.format_exception(record.exc_info[1])).rstrip())
            record.exc_info = None
        return True
