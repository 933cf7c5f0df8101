"""Typed errors: what was given, what was expected, what to do.

The tree is sorted by what the host does about an error::

    DianhuanError
    ├── ConfigError        a person must change a setting
    ├── InputError         this input is refused; other input goes on
    ├── PluginError        a plugin is refused or failed; the hub goes on
    └── SourceError        a remote side failed
        ├── TransientError     try again later (time-outs, 5xx)
        ├── RateLimitedError   try again after `retry_after` seconds
        ├── AuthError          credentials refused: no retry until they change
        └── TerminalError      this request never succeeds
"""

from __future__ import annotations


class DianhuanError(Exception):
    """Base of every expected error.

    Args:
        message: what was given or what happened, in one sentence.
        expected: what would have been right.
        hint: what to do now.
    """

    def __init__(self, message: str, *, expected: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.hint = hint

    def __str__(self) -> str:
        parts = [self.message]
        if self.expected:
            parts.append(f"expected: {self.expected}")
        if self.hint:
            parts.append(f"what to do: {self.hint}")
        return "; ".join(parts)

    def as_dict(self) -> dict[str, str]:
        """The error for machines: `error`, `message`, `expected`, `hint`."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "expected": self.expected,
            "hint": self.hint,
        }


class ConfigError(DianhuanError):
    """A setting is missing or wrong; a person must change it."""


class InputError(DianhuanError):
    """An input is refused as a whole (unreadable file, header missing); other input goes on."""


class PluginError(DianhuanError):
    """A plugin is refused or failed; the hub goes on without it."""


class SourceError(DianhuanError):
    """A remote side failed."""


class TransientError(SourceError):
    """The same request may succeed later."""


class RateLimitedError(SourceError):
    """The remote side asks to wait.

    Args:
        retry_after: seconds to wait before the next try.
    """

    def __init__(self, message: str, *, retry_after: float, expected: str = "", hint: str = "") -> None:
        super().__init__(message, expected=expected, hint=hint)
        self.retry_after = retry_after


class AuthError(SourceError):
    """Credentials are refused; nothing is tried again until they change."""


class TerminalError(SourceError):
    """This request never succeeds."""
