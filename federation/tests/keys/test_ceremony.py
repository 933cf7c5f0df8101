"""The ceremonies from the first key to revocation, by command, with what a verifier then says of the logs."""

from __future__ import annotations

import tomllib
from hashlib import sha256
from typing import Any

import pytest
from typer.testing import CliRunner

from dianhuan_federation.cli import app
from dianhuan_federation.config import FederationConfig
from dianhuan_federation.core import Code, Heartbeat, State, build_statement, key_id, parse_policy, statement_digest
from dianhuan_federation.keys import OwnLog, read_key_file

Ceremony = Any
CITY, OTHER = "430200", "440100"


class Beats:
    """Heartbeats of one hub, each the next of its stream."""

    def __init__(self, fed: Ceremony, hub: str = CITY) -> None:
        self.fed, self.hub = fed, hub
        self.number = 0
        self.before: str | None = None

    def add(self, days: float, key: int = 1) -> None:
        """Sign one with a publisher key, log it and have it witnessed."""
        self.number += 1
        beat = Heartbeat(
            origin=f"fed.example/{self.hub}/r1",
            stream="alive",
            stream_seq=self.number,
            prev_statement_digest=self.before,
            issued_at=self.fed.world.datetime.fromtimestamp(self.fed.time(days), self.fed.world.UTC),
            streams=1,
        )
        statement = build_statement(beat)
        self.before = statement_digest(statement)
        self.fed.append(self.hub, [self.fed.sealed(self.hub, statement, key)], days)

    def codes(self, days: float) -> list[Code | None]:
        """What a verifier says of each."""
        report = self.fed.verify(self.hub, days)
        assert report.verdict.code is None, report.verdict
        return [entry.verdict.code for entry in report.entries]


def test_a_federation_of_two_provinces_begins_and_a_log_is_accepted(members: Ceremony) -> None:
    trust = members.trust()
    assert set(trust.hubs) == {CITY, OTHER}
    assert trust.refused == {}
    hub = trust.hubs[CITY]
    assert {key.role for key in hub.keys} == {"log", "publisher", "transport"}
    assert hub.endpoints == (f"https://hub-{CITY}.example/",)
    for hub_id in (CITY, OTHER):
        beats = Beats(members, hub_id)
        beats.add(1)
        beats.add(2)
        assert beats.codes(3) == [None, None]


def test_join_says_where_it_stands_and_ends_with_the_configuration(fed: Ceremony) -> None:
    fed.invite(CITY)
    first = fed.join(CITY)
    assert first["state"] == "requested"
    assert first["keys"] == ["log-1.pem", "publisher-1.pem", "transport-1.pem", "pseudonym.key"]
    waiting = fed.join(CITY)
    assert waiting["state"] == "waiting"
    assert waiting["missing"]
    fed.admit(CITY)
    keys = fed.folder / CITY / "keys"
    section = fed.folder / CITY / "federation.toml"
    last = fed.run("join", *fed.join_options(CITY), "--fingerprint", fed.fingerprint("sm3"), "--config", section)
    assert last["state"] == "member"
    config = tomllib.loads(section.read_text("utf-8"))["plugins"]["federation"]["hub"]
    assert config["origin"] == f"fed.example/{CITY}/r1"
    settings = FederationConfig.model_validate(config)
    assert settings.roles == ("subscriber", "publisher")
    assert settings.root == keys / "root.json"
    assert config["publisher_key"] == {"ref": f"file:{keys / 'publisher-1.pem'}"}
    assert (keys / "root.json").read_bytes() == (fed.repository / "1.root.json").read_bytes()
    assert (keys / "witnesses.policy").read_bytes() == fed.world.policy_text()
    assert fed.trust().hubs[CITY].witness_policy.encode() == fed.world.policy_text()


def test_the_fingerprint_is_that_of_standard_tools(begun: Ceremony) -> None:
    from securesystemslib.formats import encode_canonical
    from tuf.api.metadata import Metadata

    signed = Metadata.from_file(str(begun.repository / "1.root.json")).signed.to_dict()
    assert begun.fingerprint() == sha256(encode_canonical(signed).encode()).hexdigest()


def test_holders_may_sign_copies_side_by_side(fed: Ceremony) -> None:
    answer = fed.run(
        "trust", "renew", "prov-43", "--repository", fed.repository, "--out", fed.folder / "a", *fed.now(9)
    )
    one = fed.draft(answer, fed.folder / "a")
    other = fed.folder / "other.json"
    other.write_bytes(one.read_bytes())
    fed.sign(one, "prov-43-1")
    fed.sign(other, "prov-43-3")
    code, _, _ = fed.raw("trust", "check", one, "--json")
    assert code == 1
    fed.publish(one, other, days=9)
    assert fed.trust(9).versions["prov-43"] == 2


def test_rotation_keeps_old_entries_and_lets_both_keys_sign_for_a_while(members: Ceremony) -> None:
    beats = Beats(members)
    beats.add(1)
    request = members.folder / CITY / "rotation.json"
    options = ["--repository", members.repository, "--keys", members.folder / CITY / "keys", "--out", request]
    answer = members.run("rotate", "keys", "--hub", CITY, "--role", "publisher", *options, *members.now(10))
    assert answer["keys"] == ["publisher-2.pem"]
    members.admit(CITY, "--overlap", "5", request="rotation.json", days=10)
    beats.add(12)
    beats.add(13, key=2)
    beats.add(20)
    beats.add(21, key=2)
    assert beats.codes(22) == [None, None, None, Code.REVOKED, None]


def test_revocation_from_a_past_date_ends_later_leaves_only(members: Ceremony) -> None:
    beats = Beats(members)
    for day in (1, 5, 9):
        beats.add(day)
    assert beats.codes(10) == [None, None, None]
    key = key_id(read_key_file(members.key(CITY, "publisher")).public)
    options = [
        "--hub",
        CITY,
        "--key",
        key[:12],
        "--since",
        members.world.iso(members.time(4)),
        "--reason",
        "笔记本失窃",
    ]
    answer = members.run(
        "revoke", "key", "--repository", members.repository, *options, "--out", members.folder / "r", *members.now(10)
    )
    draft = members.draft(answer, members.folder / "r")
    members.sign(draft, "prov-43-1", "prov-43-2")
    members.publish(draft, days=10)
    report = members.verify(CITY, 11)
    assert beats.codes(11) == [None, Code.REVOKED, Code.REVOKED]
    assert report.entries[1].verdict.state is State.SOFT_FAIL
    assert members.trust(11).hubs[CITY].role("publisher")[key].revoked_at == members.time(4)


def test_a_hub_that_lost_its_keys_is_invited_again(members: Ceremony) -> None:
    beats = Beats(members)
    beats.add(1)
    lost = key_id(read_key_file(members.key(CITY, "publisher")).public)
    common = ["--repository", members.repository, "--out", members.folder / "lost", *members.now(3)]
    answer = members.run(
        *("revoke", "key", "--hub", CITY, "--key", lost, "--since", members.world.iso(members.time(2))),
        *("--reason", "lost", *common),
    )
    draft = members.draft(answer, members.folder / "lost")
    members.sign(draft, "prov-43-1", "prov-43-2")
    members.publish(draft, days=3)
    (members.folder / CITY).rename(members.folder / "before")
    members.invite(CITY, "--role", "publisher", days=3)
    members.join(CITY, days=3)
    members.admit(CITY, days=3)
    hub = members.trust(3).hubs[CITY]
    assert sorted(key.role for key in hub.keys) == ["log", "publisher", "publisher", "transport"]
    assert hub.origins == {f"fed.example/{CITY}/r1": members.time()}
    assert hub.role("publisher")[lost].revoked_at == members.time(2)


def test_the_root_passes_to_new_holders_and_pinned_cities_follow(members: Ceremony) -> None:
    kept = [members.public(f"root-{i}") for i in (1, 2)]
    new = [members.make_key("root", f"root-{i}") for i in (6, 7, 8)]
    options: list[object] = []
    for path in (*kept, *new):
        options += ["--root", path]
    answer = members.run(
        "rotate", "root", "--repository", members.repository, *options, "--out", members.folder / "n", *members.now(20)
    )
    draft = members.draft(answer, members.folder / "n")
    members.sign(draft, "root-1", "root-2", "root-6")
    code, out, _ = members.raw("trust", "check", draft)
    assert code == 1
    assert "2 of 3 signatures of root 1" in out
    members.sign(draft, "root-3")
    members.publish(draft, days=20)
    assert members.trust(20).versions["root"] == 2
    assert set(members.trust(20).hubs) == {CITY, OTHER}


def test_targets_pass_to_new_holders_together_with_the_root(fed: Ceremony) -> None:
    options: list[object] = []
    for i in range(6, 11):
        options += ["--targets", fed.make_key("targets", f"targets-{i}")]
    options += ["--snapshot", fed.make_key("snapshot", "snapshot-2")]
    out = fed.folder / "n"
    answer = fed.run("rotate", "root", "--repository", fed.repository, *options, "--out", out, *fed.now(20))
    root, targets = (out / entry["file"] for entry in answer["drafts"])
    fed.sign(root, "root-1", "root-2", "root-3")
    fed.sign(targets, "targets-6", "targets-7", "targets-8")
    fed.holder("snapshot").unlink()
    fed.holder("snapshot-2").rename(fed.holder("snapshot"))
    fed.publish(root, targets, days=20)
    assert fed.trust(20).versions["targets"] == 2


def test_a_third_province_enters_and_a_province_changes_its_holders(members: Ceremony) -> None:
    options: list[object] = []
    for i in (1, 2, 3):
        options += ["--key", members.make_key("province", f"prov-45-{i}")]
    given = ["--repository", members.repository, "--out", members.folder / "p", *members.now(4)]
    answer = members.run("trust", "province", "--province", "45", *options, *given)
    targets, own = (members.folder / "p" / entry["file"] for entry in answer["drafts"])
    members.sign(targets, "targets-2", "targets-3", "targets-4")
    members.sign(own, "prov-45-1", "prov-45-3")
    members.publish(targets, own, days=4)
    members.enter("450100")
    assert set(members.trust(4).hubs) == {CITY, OTHER, "450100"}

    options = []
    for i in (4, 5, 6):
        options += ["--key", members.make_key("province", f"prov-43-{i}")]
    given = ["--repository", members.repository, "--out", members.folder / "q", *members.now(5)]
    answer = members.run("trust", "province", "--province", "43", *options, *given)
    targets, own = (members.folder / "q" / entry["file"] for entry in answer["drafts"])
    members.sign(targets, "targets-2", "targets-3", "targets-4")
    members.sign(own, "prov-43-4", "prov-43-5")
    members.publish(targets, own, days=5)
    assert set(members.trust(5).hubs) == {CITY, OTHER, "450100"}


def test_status_names_what_ends_soon_and_how_to_go_on(members: Ceremony) -> None:
    beats = Beats(members)
    beats.add(1)
    given = ["--repository", members.repository, "--log", members.folder / CITY / "log", "--policy", members.policy]
    answer = members.run("status", *given, *members.now(2))
    assert answer["roles"]["root"] == {
        "version": 1,
        "expires": members.world.iso(members.time(365)),
        "days": 363,
        "threshold": 3,
        "keys": 5,
    }
    assert answer["roles"]["prov-43"]["threshold"] == 2
    assert answer["log"]["size"] == 1
    assert answer["log"]["quorum"] is True
    assert set(answer["log"]["witnesses"]) == set(members.world.WITNESSES)
    assert answer["next"] == []
    late = members.run("status", "--repository", members.repository, *members.now(170))
    texts = [line["en"] for line in late["next"]]
    assert "prov-43: 10 days left, `trust renew prov-43`" in texts
    assert any(text.startswith("timestamp:") for text in texts)
    assert [hub["freshness"] for hub in late["hubs"]] == ["quarantine"] * 2
    denied = members.run("status", "--repository", members.repository, "--deny", OTHER, *members.now(2))
    assert [hub["denied"] for hub in denied["hubs"]] == [False, True]


def test_snapshot_and_timestamp_are_signed_again(members: Ceremony) -> None:
    assert members.trust(40).freshness["prov-43"].name == "PENDING"
    members.publish(days=40)
    assert members.trust(40).freshness["prov-43"].name == "FRESH"


def test_the_commands_ask_in_two_languages_for_what_is_left_out(fed: Ceremony) -> None:
    answers = [fed.repository, CITY, "株洲", "fed.example", fed.holder("prov-43-1"), fed.folder / "i.json", fed.policy]
    typed = "".join(f"{answer}\n" for answer in answers)
    result = CliRunner().invoke(app, ["invite", *map(str, fed.now())], input=typed)
    assert result.exit_code == 0, result.output
    assert "区划代码 · division code" in result.output
    assert "[下一步 · next]" in result.output
    assert (fed.folder / "i.json").exists()


@pytest.mark.parametrize("hub", [CITY, OTHER])
def test_the_own_log_is_read_back(members: Ceremony, hub: str) -> None:
    beats = Beats(members, hub)
    beats.add(1)
    beats.add(2)
    log = OwnLog(members.folder / hub / "log")
    assert (log.origin, log.size) == (f"fed.example/{hub}/r1", 2)
    assert log.next("alive") == (3, beats.before)
    assert log.next("grants") == (1, None)


def test_a_holder_sees_what_he_signs_and_may_say_no(fed: Ceremony) -> None:
    given = ["--repository", fed.repository, "--out", fed.folder / "a", *fed.now(9)]
    draft = fed.draft(fed.run("trust", "renew", "root", *given), fed.folder / "a")
    before = draft.read_bytes()
    command = ["trust", "sign", str(draft), "--key", str(fed.holder("root-1"))]
    refused = CliRunner().invoke(app, command, input="n\n")
    assert refused.exit_code == 1
    assert "fingerprint SM3" in refused.output
    assert "root: 3 of 5 must sign" in refused.output
    assert draft.read_bytes() == before
    assert CliRunner().invoke(app, command, input="y\n").exit_code == 0
    assert draft.read_bytes() != before


def test_a_rotation_that_came_to_nothing_is_made_again(members: Ceremony) -> None:
    """A key that nobody admitted is not the one that vouches for the next, and the settings do not name it."""
    options = ["--repository", members.repository, "--keys", members.folder / CITY / "keys", *members.now(1)]
    for name in ("a.json", "b.json"):
        out = members.folder / CITY / name
        made = members.run("rotate", "keys", "--hub", CITY, "--role", "publisher", "--out", out, *options)
    assert made["keys"] == ["publisher-3.pem"]
    waiting = members.join(CITY, days=1)
    assert "publisher-1.pem" in waiting["config"]
    members.admit(CITY, "--overlap", "0", request="b.json", days=1)
    assert "publisher-3.pem" in members.join(CITY, days=2)["config"]


def test_a_witness_key_gives_its_line_for_policies(fed: Ceremony) -> None:
    public = fed.make_key("witness", "w43")
    line = fed.run("trust", "vkey", public, "--name", "prov.example/w43")["vkey"]
    policy = parse_policy(f"witness w43 {line}\nquorum w43\n".encode())
    assert policy.witnesses["w43"].key.raw == read_key_file(fed.holder("w43"), "witness").public.raw
    assert "role root" in fed.refused("trust", "vkey", fed.public("root-1"), "--name", "x")
