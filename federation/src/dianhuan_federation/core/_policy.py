"""Witness policies in the syntax of C2SP tlog-policy: whose cosignatures make a checkpoint count."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dianhuan_federation.core._notes import COSIGNATURE, ED25519, NoteKey, parse_vkey
from dianhuan_sdk import ConfigError, InputError

NONE = "none"
MAX_LINES = 4096


@dataclass(frozen=True, slots=True)
class Policy:
    """A parsed policy.

    Args:
        logs: the logs listed; an empty list leaves the choice to the trust root.
        witnesses: name in the file → cosignature key.
        groups: name → (threshold, members).
        quorum: name of a witness or group, or `none`.
    """

    logs: tuple[NoteKey, ...]
    witnesses: Mapping[str, NoteKey]
    groups: Mapping[str, tuple[int, tuple[str, ...]]]
    quorum: str

    def satisfied_by(self, cosigners: Iterable[str]) -> bool:
        """Are these witnesses (by name in the file) a quorum?"""
        cosigned = set(cosigners)
        for name, (threshold, members) in self.groups.items():
            if sum(member in cosigned for member in members) >= threshold:
                cosigned.add(name)
        return self.quorum == NONE or self.quorum in cosigned


def parse_policy(data: bytes) -> Policy:
    """Read a policy file.

    Names are compared as octets, as the specification demands.

    Raises:
        ConfigError: a line that the specification does not allow; the message names it.
    """
    if re.search(rb"[^\t\n\x20-\x7e\x80-\xff]", data):
        raise ConfigError("the witness policy holds control characters", expected="tab and line feed only")
    if data and not data.endswith(b"\n"):
        raise ConfigError("the last line of the witness policy has no line feed")
    reader = _Reader()
    lines = data.decode("latin-1").split("\n")[:-1]
    if len(lines) > MAX_LINES:
        raise ConfigError(f"a witness policy of {len(lines)} lines", expected=f"at most {MAX_LINES}")
    for number, line in enumerate(lines, 1):
        words = [word for word in re.split("[ \t]+", line) if word]
        if not words or words[0].startswith("#"):
            continue
        try:
            reader.read(words)
        except InputError as error:
            raise ConfigError(f"witness policy, line {number}: {error}", hint="see c2sp.org/tlog-policy") from None
    if reader.quorum is None:
        raise ConfigError("the witness policy has no quorum line", expected="exactly one `quorum <name>`")
    return Policy(tuple(reader.logs), reader.witnesses, reader.groups, reader.quorum)


class _Reader:
    def __init__(self) -> None:
        self.logs: list[NoteKey] = []
        self.witnesses: dict[str, NoteKey] = {}
        self.groups: dict[str, tuple[int, tuple[str, ...]]] = {}
        self.quorum: str | None = None
        self._members: set[str] = set()

    def read(self, words: list[str]) -> None:
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                self.logs.append(self._key(vkey, ED25519, self.logs))
            case ["witness", name, vkey] | ["witness", name, vkey, _]:
                self._new(name)
                self.witnesses[name] = self._key(vkey, COSIGNATURE, self.witnesses.values())
            case ["group", name, threshold, *members] if members:
                self._group(name, threshold, members)
            case ["quorum", name]:
                if self.quorum is not None:
                    raise InputError("a second quorum line")
                if name != NONE:
                    self._known(name)
                self.quorum = name
            case _:
                raise InputError(f"{' '.join(words)[:80]!r}", expected="a log, witness, group or quorum line")

    def _group(self, name: str, threshold: str, members: list[str]) -> None:
        self._new(name)
        for member in members:
            self._known(member)
            if member in self._members:
                raise InputError(f"{member} is a member twice", expected="each name in one place")
            self._members.add(member)
        counts = {"any": 1, "all": len(members)}
        if threshold not in counts and not re.fullmatch("[1-9][0-9]{0,3}", threshold):
            raise InputError(f"threshold {threshold[:20]!r}", expected="any, all or a number")
        count = counts[threshold] if threshold in counts else int(threshold)
        if count > len(members):
            raise InputError(f"{count} of {len(members)} members")
        self.groups[name] = (count, tuple(members))

    def _new(self, name: str) -> None:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise InputError(f"name {name[:40]!r}", expected="a new name other than none")

    def _known(self, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise InputError(f"name {name[:40]!r}", expected="a witness or group of an earlier line")

    @staticmethod
    def _key(vkey: str, algorithm: int, others: Iterable[NoteKey]) -> NoteKey:
        key = parse_vkey(vkey.encode("latin-1").decode("utf-8", "replace"))
        if key.algorithm != algorithm:
            raise InputError(f"a key of type {key.algorithm}", expected=f"type {algorithm}")
        if any(other.key.raw == key.key.raw for other in others):
            raise InputError(f"the key of {key.name} stands twice")
        return key
