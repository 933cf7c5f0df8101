"""A federation made by the commands alone: five root holders, two provinces of three, two cities."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.main import get_command

from dianhuan_federation.cli import app
from dianhuan_federation.core import (
    Report,
    Submission,
    Trust,
    Verifier,
    cosign,
    load_trust,
    parse_checkpoint,
    parse_policy,
    seal,
)
from dianhuan_federation.guard import CheckpointGuard
from dianhuan_federation.keys import TrustRepository, read_key_file
from dianhuan_federation.log_store import TileLog

PAYLOAD = "application/vnd.in-toto+json"
DAY = 86_400
COMMAND = get_command(app)
"""Built once: building it anew for every call would take most of the time of these tests."""


@dataclass
class Ceremony:
    """The folders of all parties, and the commands that they run.

    Args:
        folder: where it all lies: `holders/`, `repository/`, `drafts/`, `<hub>/keys/`.
        world: the small federation of the vectors, for times and witnesses.
        outputs: everything that any command ever printed.
    """

    folder: Path
    world: ModuleType
    outputs: list[str] = field(default_factory=list)

    @property
    def repository(self) -> Path:
        """The trust repository."""
        return self.folder / "repository"

    @property
    def policy(self) -> Path:
        """The witness policy that provinces hand to their cities."""
        path = self.folder / "witnesses.policy"
        path.write_bytes(self.world.policy_text())
        return path

    def holder(self, name: str) -> Path:
        """The key file of a holder of trust metadata."""
        return self.folder / "holders" / f"{name}.pem"

    def public(self, name: str) -> Path:
        """The public form of a holder's key."""
        return self.holder(name).with_name(f"{name}.pem.pub")

    def raw(self, *arguments: object) -> tuple[int, str, str]:
        """Run a command: exit code, stdout, stderr."""
        out, err, code = io.StringIO(), io.StringIO(), 0
        with redirect_stdout(out), redirect_stderr(err):
            try:
                COMMAND.main([str(a) for a in arguments], prog_name="federation")
            except SystemExit as stopped:
                code = int(stopped.code or 0)
        self.outputs += [out.getvalue(), err.getvalue()]
        return code, out.getvalue(), err.getvalue()

    def run(self, *arguments: object) -> Any:
        """Run a command with `--json` that has to succeed."""
        code, out, err = self.raw(*arguments, "--json")
        assert code == 0, err or out
        return json.loads(out)

    def refused(self, *arguments: object) -> str:
        """Run a command that has to be refused; the message."""
        code, _, err = self.raw(*arguments, "--json")
        assert code == 2, err
        return str(json.loads(err)["message"])

    def now(self, days: float = 0) -> list[object]:
        """The option for a time, in days after the beginning."""
        return ["--now", self.world.iso(self.time(days))]

    def time(self, days: float = 0) -> int:
        """POSIX seconds, in days after the beginning."""
        return int(self.world.NOW + days * DAY)

    def make_key(self, role: str, name: str) -> Path:
        """A new holder's key; the public form."""
        self.run("trust", "key", "--role", role, "--out", self.holder(name))
        return self.public(name)

    def sign(self, draft: Path, *names: str) -> None:
        """Let holders sign a draft one after the other."""
        for name in names:
            self.run("trust", "sign", draft, "--key", self.holder(name))

    def publish(self, *drafts: Path, days: float = 0) -> Any:
        """Put drafts in force."""
        online = ["--snapshot-key", self.holder("snapshot"), "--timestamp-key", self.holder("timestamp")]
        return self.run("trust", "publish", *drafts, "--repository", self.repository, *online, *self.now(days))

    def draft(self, answer: Any, folder: Path | None = None) -> Path:
        """The only draft that a command wrote."""
        (entry,) = answer["drafts"]
        return (folder or self.folder / "drafts") / str(entry["file"])

    def begin(self) -> None:
        """`init`, all signatures, first publication."""
        options: list[object] = []
        for role in ("root", "targets"):
            for number in range(1, 6):
                options += [f"--{role}", self.make_key(role, f"{role}-{number}")]
        for province in ("43", "44"):
            names = [str(self.make_key("province", f"prov-{province}-{i}")) for i in (1, 2, 3)]
            options += ["--province", f"{province}={','.join(names)}"]
        for role in ("snapshot", "timestamp"):
            options += [f"--{role}", self.make_key(role, role)]
        answer = self.run("init", "--out", self.folder / "drafts", *options, *self.now())
        assert [d["complete"] for d in answer["drafts"]] == [False] * 4
        drafts = {name: self.folder / "drafts" / f"1.{name}.draft.json" for name in ("root", "targets")}
        for role, draft in drafts.items():
            self.sign(draft, *(f"{role}-{i}" for i in (1, 3, 5)))
        for province in ("prov-43", "prov-44"):
            drafts[province] = self.folder / "drafts" / f"1.{province}.draft.json"
            self.sign(drafts[province], f"{province}-1", f"{province}-2")
        published = self.publish(*drafts.values())
        assert published["root_fingerprint"] == answer["root_fingerprint"]

    def fingerprint(self, name: str = "sha256") -> str:
        """The root fingerprint, as it is read out by telephone."""
        answer = self.run("trust", "fingerprint", self.repository / "1.root.json")
        return str(answer["root_fingerprint"][name])

    def invite(self, hub: str, *options: object, days: float = 0) -> Path:
        """The province's invitation."""
        out = self.folder / hub / "invitation.json"
        given = ["--hub", hub, "--name", f"城市{hub}", "--authority", "fed.example", "--out", out]
        key = ["--key", self.holder(f"prov-{hub[:2]}-1"), "--policy", self.policy]
        self.run("invite", "--repository", self.repository, *given, *key, *options, *self.now(days))
        return out

    def join_options(self, hub: str, days: float = 0) -> list[object]:
        """The options of `join`, the same both times."""
        folder = self.folder / hub
        return [
            *("--repository", self.repository, "--invitation", folder / "invitation.json"),
            *("--keys", folder / "keys", "--out", folder / "request.json"),
            *("--endpoint", f"https://hub-{hub}.example/"),
            *self.now(days),
        ]

    def join(self, hub: str, days: float = 0) -> Any:
        """The city runs `join`."""
        return self.run("join", *self.join_options(hub, days), "--fingerprint", self.fingerprint())

    def admit(self, hub: str, *options: object, request: str = "request.json", days: float = 0) -> None:
        """The province accepts a request, signs and publishes."""
        given = ["--repository", self.repository, "--request", self.folder / hub / request]
        draft = self.draft(self.run("admit", *given, "--out", self.folder / "drafts", *options, *self.now(days)))
        province = f"prov-{hub[:2]}"
        self.sign(draft, f"{province}-2", f"{province}-3")
        self.publish(draft, days=days)

    def enter(self, hub: str, *options: object) -> Any:
        """A city enters: invite, join, admit, join."""
        self.invite(hub, *options)
        assert self.join(hub)["state"] == "requested"
        self.admit(hub)
        return self.join(hub)

    def key(self, hub: str, role: str, number: int = 1) -> Path:
        """A key file of a hub."""
        return self.folder / hub / "keys" / f"{role}-{number}.pem"

    def trust(self, days: float = 0, **options: Any) -> Trust:
        """The trust repository as a verifier reads it."""
        files = TrustRepository(self.repository).files()
        return load_trust(files["1.root.json"], files, self.time(days), **options)

    def open_log(self, hub: str) -> TileLog:
        """The hub's own log, begun where it does not exist yet."""
        guard, folder = CheckpointGuard(self.folder / hub / "guard.sqlite"), self.folder / hub / "log"
        open_it = TileLog if (folder / "checkpoint").exists() else TileLog.create
        return open_it(folder, f"fed.example/{hub}/r1", read_key_file(self.key(hub, "log"), "log"), guard)

    def append(self, hub: str, entries: Sequence[bytes], days: float) -> None:
        """Log entries and have the checkpoint cosigned at that time."""
        log = self.open_log(hub)
        log.append(entries)
        head, _ = parse_checkpoint(log.checkpoint())
        names = self.world.WITNESSES
        lines = [cosign(head.text, f"prov.example/{n}", self.world.signer(n), self.time(days)) for n in names]
        log.add_signatures(head.text, lines)

    def sealed(self, hub: str, statement: bytes, number: int = 1) -> bytes:
        """An entry signed with the hub's publisher key."""
        return seal(PAYLOAD, statement, [read_key_file(self.key(hub, "publisher", number), "publisher")])

    def verify(self, hub: str, days: float, reader: str = "") -> Report:
        """The hub's log as another verifier judges it."""
        folder = self.folder / hub / "log"
        heads = sorted((folder / "checkpoints").iterdir(), key=lambda path: int(path.name))
        tiles = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.glob("tile/**/*") if p.is_file()}
        submission = Submission(
            origin=f"fed.example/{hub}/r1",
            checkpoint=(folder / "checkpoint").read_bytes(),
            earlier=[path.read_bytes() for path in heads[:-1]],
            tiles=tiles,
            blobs={},
        )
        policy = parse_policy(self.world.policy_text())
        return Verifier(self.trust(days), policy, self.time(days), reader=reader).verify(submission)


@pytest.fixture(scope="session")
def begun(world: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Ceremony:
    """A federation of two provinces without a city."""
    made = Ceremony(tmp_path_factory.mktemp("begun"), world)
    made.begin()
    return made


@pytest.fixture(scope="session")
def entered(begun: Ceremony, world: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Ceremony:
    """The same with a city in each province."""
    made = copied(begun, tmp_path_factory.mktemp("entered") / "f")
    made.enter("430200")
    made.enter("440100")
    return made


def copied(made: Ceremony, folder: Path) -> Ceremony:
    """The same federation in another folder."""
    shutil.copytree(made.folder, folder)
    return Ceremony(folder, made.world, list(made.outputs))


@pytest.fixture
def fed(begun: Ceremony, tmp_path: Path) -> Ceremony:
    """A copy of the federation without a city."""
    return copied(begun, tmp_path / "fed")


@pytest.fixture
def members(entered: Ceremony, tmp_path: Path) -> Ceremony:
    """A copy of the federation with two cities."""
    return copied(entered, tmp_path / "members")


@pytest.fixture
def spoil_envelope() -> Callable[[Path, Callable[[dict[str, Any]], None]], None]:
    """Change the payload of an envelope file and keep its signatures."""

    def spoil(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
        envelope = json.loads(path.read_bytes())
        payload = json.loads(base64.b64decode(envelope["payload"]))
        change(payload)
        envelope["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
        path.write_text(json.dumps(envelope))

    return spoil
