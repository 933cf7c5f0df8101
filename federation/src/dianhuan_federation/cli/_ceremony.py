"""What the ceremonies share: an answer in three parts (done, missing, next), options, and files never overwritten."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from dianhuan_federation.console import time_of
from dianhuan_federation.core import Trust, load_trust
from dianhuan_federation.keys import HUB_ROLES, Draft, Group, HubRole, PublicForm, TrustRepository, read_public
from dianhuan_federation.suites import known_suites
from dianhuan_sdk import ConfigError, DianhuanError, InputError


def asked(text: str, *names: str, **options: Any) -> Any:
    """A required option: who leaves it out is asked for it with its own help text."""
    return typer.Option(*names, prompt=text, help=text, **options)


Repository = Annotated[
    Path,
    asked("信任库文件夹 · trust repository", "--repository", file_okay=False),
]
Pinned = Annotated[
    Path | None, typer.Option("--trust", exists=True, dir_okay=False, help="锁定的根信任 · pinned root.json")
]
Now = Annotated[str, typer.Option("--now", help="时刻 · time to act at, RFC 3339 (default: this machine's clock)")]
Yes = Annotated[bool, typer.Option("--yes", help="不再询问 · do not ask before signing; also with --json")]
AsJson = Annotated[bool, typer.Option("--json", help="机器可读 · answer as one JSON object")]
Publics = Annotated[
    list[Path] | None, typer.Option(exists=True, dir_okay=False, help="公钥文件，可重复 · public key file, repeatable")
]

Line = tuple[str, str]
"""A sentence in Chinese and in English."""


_UNSEEN = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u200b-\\u200f\\u202a-\\u202e\\u2066-\\u2069\\ufeff]")


def plain(text: str) -> str:
    """A text without what moves the cursor or turns the direction: names in files of others are theirs."""
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text)


@dataclass
class Answer:
    """What a step of a ceremony says: what was done, what is missing, what to do next.

    Args:
        as_json: one JSON object instead of text.
    """

    as_json: bool
    done: list[Line] = field(default_factory=list)
    missing: list[Line] = field(default_factory=list)
    next: list[Line] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def show(self) -> None:
        """Print it."""
        parts = {"done": self.done, "missing": self.missing, "next": self.next}
        if self.as_json:
            lines = {name: [{"zh": zh, "en": en} for zh, en in part] for name, part in parts.items()}
            typer.echo(json.dumps({**lines, **self.data}, ensure_ascii=False))
            return
        titles = {"done": "已完成 · done", "missing": "还缺 · missing", "next": "下一步 · next"}
        for name, part in parts.items():
            for zh, en in part:
                typer.echo(f"[{titles[name]}] {plain(zh)}\n    {plain(en)}")

    def confirm(self, lines: Sequence[Line], yes: bool) -> None:
        """Show what is about to be signed, and ask, unless the options said yes.

        Raises:
            typer.Abort: the answer was no.
        """
        if not yes and not self.as_json:
            for zh, en in lines:
                typer.echo(f"{plain(zh)}\n    {plain(en)}")
            typer.confirm("签署以上内容？· Sign this?", abort=True)

    def drafted(self, path: Path, draft: Draft) -> None:
        """Say how far a draft is."""
        states = draft.standing()
        for s in states:
            if not s.complete:
                self.missing.append(
                    (
                        f"{path.name}：{s.holders.name} 已签 {len(s.signed)} 份，共需 {s.holders.threshold} 份",
                        f"{path.name}: {s}",
                    )
                )
        entry = {
            "file": path.name,
            "metadata": draft.name,
            "complete": draft.complete,
            "signatures": [
                {"holders": s.holders.name, "signed": len(s.signed), "threshold": s.holders.threshold} for s in states
            ],
        }
        self.data.setdefault("drafts", []).append(entry)

    def after_drafts(self, drafts: Sequence[Draft]) -> None:
        """What to do next with drafts."""
        if all(draft.complete for draft in drafts):
            self.next.append(
                (
                    "签名已齐：由掌管在线密钥的人执行 `dianhuan federation trust publish`",
                    "complete: who holds the online keys runs `dianhuan federation trust publish`",
                )
            )
        else:
            self.next.append(
                (
                    "把文件交给下一位持钥人，在其离线机上执行 `dianhuan federation trust sign`",
                    "hand the file to the next holder, who runs `dianhuan federation trust sign` on an offline machine",
                )
            )


@contextmanager
def ceremony(as_json: bool) -> Iterator[Answer]:
    """An answer that is shown at the end; expected errors on stderr and exit code 2."""
    answer = Answer(as_json)
    try:
        yield answer
    except DianhuanError as error:
        text = json.dumps(error.as_dict(), ensure_ascii=False) if as_json else plain(f"拒绝 · refused: {error}")
        typer.echo(text, err=True)
        raise typer.Exit(2) from None
    answer.show()


def trusted(repository: Path, root: Path | None, now: int, denied: Sequence[str] = ()) -> Trust:
    """The trust repository as this machine sees it: from the pinned root, or from its own first one."""
    store = TrustRepository(repository)
    first = store.first_root() if root is None else read_file(root)
    return load_trust(first, store.files(), now, denied=denied, suites=known_suites())


def write_new(path: Path, data: bytes) -> None:
    """Write a file that is not there yet.

    Raises:
        ConfigError: it is there, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise ConfigError(f"{path.name} is there already", expected="a new file name") from None
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be written: {error.strerror}") from None


def write_drafts(answer: Answer, folder: Path, drafts: Sequence[Draft]) -> None:
    """Write drafts under their names, and say what is to be done with them."""
    for draft in drafts:
        path = folder / f"{draft.name.removesuffix('.json')}.draft.json"
        write_new(path, draft.encode())
        answer.done.append((f"已写入待签文件 {path.name}", f"wrote the draft {path.name}"))
        answer.drafted(path, draft)
    answer.after_drafts(drafts)


def read_file(path: Path, limit: int = 4 * 1024 * 1024) -> bytes:
    """A file that somebody handed over.

    Raises:
        InputError: it cannot be read or is too long.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}") from None
    if len(data) > limit:
        raise InputError(f"{path.name} is longer than {limit} bytes")
    return data


def publics(paths: Sequence[Path] | None) -> list[PublicForm]:
    """Public key files, read."""
    return [read_public(read_file(path)) for path in paths or ()]


def province_group(text: str, threshold: int) -> tuple[str, Group]:
    """A province and its keys from `43=a.pub,b.pub,c.pub`."""
    code, equals, names = text.partition("=")
    if not equals or not names:
        raise InputError(f"province {text[:80]!r}", expected="<2 digits>=<public key file>,<public key file>,…")
    return code, Group(publics([Path(name) for name in names.split(",")]), threshold)


def hub_roles(names: Sequence[str]) -> list[HubRole]:
    """Roles of a hub's keys, checked.

    Raises:
        InputError: another name.
    """
    found: list[HubRole] = [role for name in names for role in HUB_ROLES if role == name]
    if len(found) != len(names):
        raise InputError(f"roles {', '.join(names)[:80]!r}", expected=", ".join(HUB_ROLES))
    return found


def at(text: str) -> int:
    """POSIX seconds of `--now` and of other instants; a plain day is its beginning in China."""
    return time_of(f"{text}T00:00:00+08:00" if len(text) == 10 else text)
