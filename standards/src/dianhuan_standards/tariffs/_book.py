"""All tariffs on file, found by division and day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from importlib.resources import files
from pathlib import Path

import yaml
from pydantic import ValidationError

from dianhuan_sdk import ConfigError, TariffDay, Window
from dianhuan_standards.tariffs._scheme import Scheme, TariffFile

GENERIC = "generic.yaml"
"""The shipped file that answers for divisions with nothing on file."""


class TariffBook:
    """Tariff periods of every division on file.

    A division is looked up by its longest prefix on file: district, then city, then province. Where nothing is on
    file the generic scheme answers, and on a day outside every validity the nearest scheme does; both are
    `provisional`, and so is a scheme marked `assumed`.

    Args:
        by_division: tariff file by the leading digits of the division code.
        generic: what answers where nothing is on file.
    """

    def __init__(self, by_division: Mapping[str, TariffFile], generic: TariffFile) -> None:
        self._files = dict(by_division)
        self._generic = generic
        self._kept: dict[tuple[str, int, bool], TariffDay] = {}

    @classmethod
    def load(cls, extra: Path | None = None) -> TariffBook:
        """The shipped tariffs, with a city's own files over them.

        Args:
            extra: a YAML file or a folder of them; a file replaces the shipped one of the same division.

        Raises:
            ConfigError: a file cannot be read, or its schemes overlap, leave a gap or do not cover the day.
        """
        shipped = {
            entry.name: _parse(entry.name, entry.read_text(encoding="utf-8"))
            for entry in (files(__package__) / "data").iterdir()
            if entry.name.endswith(".yaml")
        }
        generic = shipped.pop(GENERIC)
        book = {content.division: content for content in shipped.values()}
        if extra is not None:
            book.update(_extra_files(extra))
        return cls(book, generic)

    @property
    def divisions(self) -> tuple[str, ...]:
        """The division prefixes on file."""
        return tuple(sorted(self._files))

    def file(self, division: str) -> TariffFile:
        """The tariff file that answers for a division code (2 to 6 digits)."""
        for length in (6, 4, 2):
            found = self._files.get(division[:length])
            if found is not None:
                return found
        return self._generic

    def day(self, division: str, day: date) -> TariffDay:
        """Periods of one civil day in a division."""
        content = self.file(division)
        scheme, in_force = _scheme_on(content, day)
        provisional = scheme.assumed or not in_force
        key = (f"{content.division}/{scheme.id}", day.month, provisional)
        if key not in self._kept:
            self._kept[key] = TariffDay(scheme.slots(day.month), scheme.source, provisional)
        return self._kept[key]

    def days(self, division: str, window: Window) -> tuple[TariffDay, ...]:
        """Periods of the days of a window, in order."""
        return tuple(self.day(division, day) for day in window.days)


def _scheme_on(content: TariffFile, day: date) -> tuple[Scheme, bool]:
    """The scheme in force, or the nearest one: schemes follow each other without gaps."""
    first, last = content.schemes[0], content.schemes[-1]
    if first.valid_from is not None and day < first.valid_from:
        return first, False
    for scheme in content.schemes:
        if scheme.valid_to is None or day < scheme.valid_to:
            return scheme, True
    return last, False


def _extra_files(extra: Path) -> dict[str, TariffFile]:
    paths: Iterable[Path] = sorted(extra.glob("*.yaml")) if extra.is_dir() else [extra]
    found: dict[str, TariffFile] = {}
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"tariff file {path} cannot be read: {error}",
                expected="a YAML file in UTF-8, or a folder of them",
                hint="check the path and the encoding of the file",
            ) from error
        content = _parse(str(path), text)
        if content.division in found:
            raise ConfigError(
                f"two tariff files for division {content.division}: the second is {path}",
                expected="one file per division",
                hint="put all schemes of a division into one file, in order of time",
            )
        found[content.division] = content
    return found


def _parse(name: str, text: str) -> TariffFile:
    try:
        return TariffFile.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, ValidationError) as error:
        raise ConfigError(
            f"tariff file {name}: {_words(error)}",
            expected="division, zh, en and schemes in order of time without overlap or gap",
            hint="compare it with the shipped files in dianhuan_standards/tariffs/data",
        ) from error


def _words(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
    return str(error)
