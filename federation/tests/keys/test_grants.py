"""Grants between two cities, file by file, and what the verifier then lets through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dianhuan_federation.core import WARNING_ROWS, Code, Ref, SharePolicy, build_statement, statement_digest

Ceremony = Any
CITY, OTHER = "430200", "440100"


@pytest.fixture
def provider(members: Ceremony) -> Ceremony:
    """The federation, where city 430200 has logged a conditional policy."""
    moment = members.world.datetime.fromtimestamp
    policy = SharePolicy(
        origin=f"fed.example/{CITY}/r1",
        stream="policies",
        stream_seq=1,
        prev_statement_digest=None,
        issued_at=moment(members.time(1), members.world.UTC),
        id="warnings-to-some",
        version=1,
        target="warnings",
        klass="conditional",
        purpose="joint enforcement",
        onward=False,
        schema=Ref(id="warning", version="1.0", digest=WARNING_ROWS.digest),
        fields=[column.name for column in WARNING_ROWS.columns],
        valid_from=moment(members.time(0), members.world.UTC),
        valid_until=moment(members.time(300), members.world.UTC),
    )
    statement = build_statement(policy)
    members.policy_digest = statement_digest(statement)
    members.append(CITY, [members.sealed(CITY, statement)], 1)
    return members


def new(fed: Ceremony, name: str = "grant.json", **changes: str) -> list[object]:
    """The arguments of `grant new`."""
    options = {
        "log": fed.folder / CITY / "log",
        "policy": "warnings-to-some",
        "assignee": OTHER,
        "purpose": "joint enforcement",
        "from": fed.world.iso(fed.time(2)),
        "until": fed.world.iso(fed.time(200)),
        "out": fed.folder / name,
        **changes,
    }
    return ["grant", "new", *(x for k, v in options.items() for x in (f"--{k}", v)), *fed.now(2)]


def sign(fed: Ceremony, hub: str, name: str = "grant.json", role: str = "publisher") -> list[object]:
    """The arguments of `grant sign`."""
    file = fed.folder / name
    return ["grant", "sign", file, "--key", fed.key(hub, role), "--repository", fed.repository, *fed.now(2)]


def agree(fed: Ceremony) -> Path:
    """A grant signed by both."""
    fed.run(*new(fed))
    fed.run(*sign(fed, CITY))
    fed.run(*sign(fed, OTHER))
    path: Path = fed.folder / "grant.json"
    return path


def test_a_grant_gathers_both_signatures_and_is_accepted(provider: Ceremony) -> None:
    first = provider.run(*new(provider))
    assert first["signed"] == {CITY: False, OTHER: False}
    assert first["place"] == ["grants", 1]
    path = provider.folder / "grant.json"
    check = ["grant", "check", path, "--repository", provider.repository, *provider.now(2), "--json"]
    assert provider.raw(*check)[0] == 1
    second = provider.run(*sign(provider, CITY))
    assert [line["en"] for line in second["missing"]] == [f"the signature of {OTHER}"]
    third = provider.run(*sign(provider, OTHER))
    assert third["signed"] == {CITY: True, OTHER: True}
    assert provider.raw(*check)[0] == 0
    provider.append(CITY, [path.read_bytes()], 3)
    report = provider.verify(CITY, 4, OTHER)
    assert [entry.verdict.code for entry in report.entries] == [None, None]


def test_a_grant_is_withdrawn_by_a_retraction(provider: Ceremony) -> None:
    provider.append(CITY, [agree(provider).read_bytes()], 3)
    out = provider.folder / "retraction.json"
    options = ["--log", provider.folder / CITY / "log", "--key", provider.key(CITY, "publisher"), "--out", out]
    reason = ["--reason", "ended early", "--legal-basis", "Order 809 art. 25"]
    provider.run("revoke", "grant", *options, "--grant", f"warnings-to-some.{OTHER}.1", *reason, *provider.now(5))
    provider.append(CITY, [out.read_bytes()], 6)
    report = provider.verify(CITY, 7, OTHER)
    assert [entry.verdict.code for entry in report.entries] == [None, None, None]
    assert report.state.book.retracted
    wrong = ["--grant", "other", *reason, "--out", provider.folder / "x.json", *provider.now(5)]
    assert "no grant" in provider.refused("revoke", "grant", *options[:4], *wrong)


def test_hostile_grant_of_one_signature_is_not_accepted(provider: Ceremony) -> None:
    provider.run(*new(provider))
    provider.run(*sign(provider, CITY))
    provider.append(CITY, [(provider.folder / "grant.json").read_bytes()], 3)
    report = provider.verify(CITY, 4, OTHER)
    assert [entry.verdict.code for entry in report.entries] == [None, Code.POLICY]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"policy": "nothing"}, "no share policy"),
        ({"purpose": "marketing"}, "purpose"),
        ({"until": "2030-01-01"}, "a grant from"),
        ({"from": "2026-01-01"}, "a grant from"),
        ({"until": "2027-01-17"}, "a grant from"),
        ({"assignee": CITY}, "to itself"),
        ({"from": "soon"}, "time"),
    ],
)
def test_hostile_grants_outside_their_policy_are_refused(
    provider: Ceremony, changes: dict[str, str], says: str
) -> None:
    assert says in provider.refused(*new(provider, **changes))


def test_hostile_signatures_of_others_are_refused(provider: Ceremony) -> None:
    provider.run(*new(provider))
    assert "has not signed yet" in provider.refused(*sign(provider, OTHER))
    assert "role transport" in provider.refused(*sign(provider, CITY, role="transport"))
    stranger = provider.make_key("publisher", "stranger")
    with_stranger = ["--key", stranger.with_name("stranger.pem"), "--repository", provider.repository]
    file = provider.folder / "grant.json"
    assert "no publisher key" in provider.refused("grant", "sign", file, *with_stranger, *provider.now(2))
    provider.run(*sign(provider, CITY))
    assert "already" in provider.refused(*sign(provider, CITY))


def test_hostile_change_between_the_signatures_voids_the_first(provider: Ceremony, spoil_envelope: Any) -> None:
    provider.run(*new(provider))
    provider.run(*sign(provider, CITY))
    file = provider.folder / "grant.json"
    spoil_envelope(file, lambda statement: statement["predicate"].update(purpose="anything"))
    assert "has not signed yet" in provider.refused(*sign(provider, OTHER))


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"payload":"e30=","payloadType":"x","signatures":[]}'])
def test_hostile_grant_files_are_refused(provider: Ceremony, data: bytes) -> None:
    file = provider.folder / "grant.json"
    file.write_bytes(data)
    assert provider.refused(*sign(provider, CITY))


def test_hostile_folder_that_is_no_log(provider: Ceremony, tmp_path: Path) -> None:
    assert "no readable log" in provider.refused(*new(provider, log=str(tmp_path)))
    assert json.dumps(str(tmp_path)) not in "".join(provider.outputs)
