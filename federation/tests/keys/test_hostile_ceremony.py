"""Ceremonies under attack: each must be refused with a message, and nothing of it may come into force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dianhuan_federation.core import Refused, canonical, key_id
from dianhuan_federation.keys import (
    Draft,
    HubRole,
    TrustRepository,
    generate,
    read_key_file,
    read_signer,
    request_keys,
    request_rotation,
)

Ceremony = Any
CITY, OTHER = "430200", "440100"


def files(fed: Ceremony) -> dict[str, bytes]:
    """The trust repository, to see that nothing changed."""
    return TrustRepository(fed.repository).files()


def publish_refused(fed: Ceremony, *drafts: Path, days: float = 0) -> str:
    """Publishing has to be refused, and to leave the repository as it was."""
    before = files(fed)
    online = ["--snapshot-key", fed.holder("snapshot"), "--timestamp-key", fed.holder("timestamp")]
    message: str = fed.refused("trust", "publish", *drafts, "--repository", fed.repository, *online, *fed.now(days))
    assert files(fed) == before
    return message


def admit_options(fed: Ceremony, request: Path, days: float = 0) -> list[object]:
    """The arguments of `admit`."""
    out = fed.folder / "admitted"
    return ["admit", "--repository", fed.repository, "--request", request, "--out", out, *fed.now(days)]


def renewed(fed: Ceremony, role: str = "prov-43", folder: str = "renewed", days: float = 1) -> Path:
    """An unsigned draft."""
    out = fed.folder / folder
    answer = fed.run("trust", "renew", role, "--repository", fed.repository, "--out", out, *fed.now(days))
    draft: Path = fed.draft(answer, out)
    return draft


# The root and the fingerprint.


@pytest.mark.parametrize("wrong", ["0" * 64, "", "first 8 only", "sha1"])
def test_hostile_wrong_fingerprint_stops_the_city(fed: Ceremony, wrong: str) -> None:
    fed.invite(CITY)
    given = fed.fingerprint()[:8] if wrong == "first 8 only" else wrong
    message = fed.refused("join", *fed.join_options(CITY), "--fingerprint", given)
    assert "fingerprint" in message
    assert not (fed.folder / CITY / "keys").exists()
    assert not (fed.folder / CITY / "request.json").exists()


def test_hostile_repository_of_another_federation(fed: Ceremony, world: Any, tmp_path: Path) -> None:
    """The right words on the telephone, another federation on the stick."""
    confirmed = fed.fingerprint()
    other = type(fed)(tmp_path / "other", world)
    other.begin()
    fed.invite(CITY)
    options = fed.join_options(CITY)
    options[1] = other.repository
    assert "fingerprint" in fed.refused("join", *options, "--fingerprint", confirmed)
    assert "no valid signature" in fed.refused("join", *options, "--fingerprint", other.fingerprint())


def test_hostile_second_federation_cannot_replace_the_pinned_root(
    members: Ceremony, world: Any, tmp_path: Path
) -> None:
    root = members.folder / CITY / "keys" / "root.json"
    root.write_bytes(root.read_bytes() + b"\n")
    message = members.refused("join", *members.join_options(CITY), "--fingerprint", members.fingerprint())
    assert "another root" in message


def test_hostile_repository_changed_on_the_way(fed: Ceremony) -> None:
    fed.invite(CITY)
    targets = fed.repository / "1.targets.json"
    targets.write_bytes(targets.read_bytes().replace(b'"threshold":2', b'"threshold":1'))
    message = fed.refused("join", *fed.join_options(CITY), "--fingerprint", fed.fingerprint())
    assert "does not hold" in message


# Invitations and requests.


@pytest.mark.parametrize(
    "change",
    [
        {"hub": "430300"},
        {"origin": "evil.example/430200/r1"},
        {"valid_until": "2099-01-01T00:00:00Z"},
        {"roles": ["log"]},
    ],
)
def test_hostile_tampered_invitation(fed: Ceremony, spoil_envelope: Any, change: dict[str, Any]) -> None:
    invitation = fed.invite(CITY)
    spoil_envelope(invitation, lambda payload: payload.update(change))
    message = fed.refused("join", *fed.join_options(CITY), "--fingerprint", fed.fingerprint())
    assert "no valid signature of prov-43" in message
    assert not (fed.folder / CITY / "keys").exists()


def test_hostile_invitation_by_another_province(fed: Ceremony) -> None:
    out = fed.folder / "i.json"
    given = ["--hub", CITY, "--name", "x", "--authority", "fed.example", "--policy", fed.policy, "--out", out]
    given += ["--key", fed.holder("prov-44-1")]
    assert "no valid signature of prov-43" in fed.refused("invite", "--repository", fed.repository, *given, *fed.now())
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--hub", "43020"], "log"),
        (["--authority", "Fed Example"], "log"),
        (["--role", "king"], "roles"),
        (["--hub", "990100"], "no role"),
    ],
)
def test_hostile_invitations_that_cannot_be(fed: Ceremony, options: list[str], says: str) -> None:
    given = {"--hub": CITY, "--name": "x", "--authority": "fed.example", options[0]: options[1]}
    pairs = [x for pair in given.items() for x in pair]
    key = ["--key", fed.holder("prov-43-1"), "--out", fed.folder / "i.json", "--policy", fed.policy]
    assert says in fed.refused("invite", "--repository", fed.repository, *pairs, *key, *fed.now())


def test_hostile_invitation_past_its_date(fed: Ceremony) -> None:
    fed.invite(CITY, "--days", "5")
    message = fed.refused("join", *fed.join_options(CITY, 6), "--fingerprint", fed.fingerprint())
    assert "ended on" in message
    fed.join(CITY, 4)
    assert "ended on" in fed.refused(*admit_options(fed, fed.folder / CITY / "request.json", 6))


@pytest.mark.parametrize(
    "field", [{"endpoints": ["https://evil.example/"]}, {"hub": "430300"}, {"origin": "fed.example/430200/r2"}]
)
def test_hostile_request_changed_on_the_way(fed: Ceremony, spoil_envelope: Any, field: dict[str, Any]) -> None:
    fed.invite(CITY)
    fed.join(CITY)
    request = fed.folder / CITY / "request.json"
    spoil_envelope(request, lambda payload: payload.update(field))
    assert "not signed by the log key" in fed.refused(*admit_options(fed, request))
    assert not (fed.folder / "admitted").exists()


def test_hostile_request_for_a_key_that_the_asker_does_not_hold(fed: Ceremony) -> None:
    """A man in the middle puts his publisher key into the city's request, signed by himself only; and the reverse."""
    fed.invite(CITY)
    fed.join(CITY)
    request = fed.folder / CITY / "request.json"
    envelope = json.loads(request.read_bytes())
    for gone in range(3):
        short = {**envelope, "signatures": [s for i, s in enumerate(envelope["signatures"]) if i != gone]}
        request.write_bytes(canonical(short))
        assert "not signed by the" in fed.refused(*admit_options(fed, request))


def test_hostile_request_by_a_thief_of_the_invitation_names_its_keys_to_the_holders(fed: Ceremony) -> None:
    """Who steals an invitation can ask; signing shows the keys, so that holders compare them by telephone."""
    invitation = fed.invite(CITY)
    roles: tuple[HubRole, ...] = ("log", "publisher", "transport")
    made = [(role, generate(role)) for role in roles]
    signers = [(role, read_signer(key.pem)) for role, key in made]
    request = fed.folder / "stolen.json"
    request.write_bytes(request_keys(invitation.read_bytes(), signers, [], fed.time()))
    answer = fed.run(*admit_options(fed, request))
    draft = fed.draft(answer, fed.folder / "admitted")
    signed = fed.run("trust", "sign", draft, "--key", fed.holder("prov-43-1"))
    shown = {key["public"] for key in signed["content"]["new"][f"hubs/43/{CITY}.json"]["keys"]}
    assert len(shown) == 3
    fed.join(CITY)
    fed.sign(draft, "prov-43-2")
    fed.publish(draft)
    assert fed.join(CITY)["state"] == "waiting"


def test_hostile_request_without_an_invited_role(fed: Ceremony) -> None:
    invitation = fed.invite(CITY)
    signer = read_signer(generate("log").pem)
    request = fed.folder / "short.json"
    request.write_bytes(request_keys(invitation.read_bytes(), [("log", signer)], [], fed.time()))
    assert "lacks the key of publisher, transport" in fed.refused(*admit_options(fed, request))


def test_hostile_request_of_an_uninvited_hub(members: Ceremony, spoil_envelope: Any) -> None:
    file = {"hub": "430300", "origins": [{"origin": "fed.example/430300/r1"}]}
    request = members.folder / "uninvited.json"
    new = read_signer(generate("publisher").pem)
    request.write_bytes(request_rotation(file, [("publisher", new)], [], members.time()))
    assert "no member" in members.refused(*admit_options(members, request))


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b'{"payload":"e30=","payloadType":"x","signatures":[]}'])
def test_hostile_files_that_are_none(fed: Ceremony, data: bytes) -> None:
    path = fed.folder / "junk.json"
    path.write_bytes(data)
    assert fed.refused(*admit_options(fed, path))
    assert fed.refused("trust", "sign", path, "--key", fed.holder("root-1"))
    assert publish_refused(fed, path)
    fed.invite(CITY)
    options = fed.join_options(CITY)
    options[3] = path
    assert fed.refused("join", *options, "--fingerprint", fed.fingerprint())
    assert fed.refused("trust", "fingerprint", path)


# Keys in two places.


@pytest.mark.parametrize("other", ["prov-43-3", "root-1", "snapshot"])
def test_hostile_hub_key_that_already_signs_trust_metadata(fed: Ceremony, other: str) -> None:
    invitation = fed.invite(CITY, "--role", "publisher")
    signer = read_signer(fed.holder(other).read_text("ascii"))
    request = fed.folder / "r.json"
    request.write_bytes(request_keys(invitation.read_bytes(), [("publisher", signer)], [], fed.time()))
    assert "already" in fed.refused(*admit_options(fed, request))


def test_hostile_hub_key_of_another_hub_or_role(members: Ceremony) -> None:
    invitation = members.invite("430300", "--role", "publisher")
    for hub, role in ((OTHER, "publisher"), (CITY, "log")):
        signer = read_key_file(members.key(hub, role))
        request = members.folder / f"{hub}.json"
        request.write_bytes(request_keys(invitation.read_bytes(), [("publisher", signer)], [], members.time()))
        assert f"the {role} key of hub {hub} already" in members.refused(*admit_options(members, request))


def test_hostile_one_key_for_two_holders_at_the_beginning(fed: Ceremony) -> None:
    pub = {name: fed.public(name) for name in ("root-1", "root-2", "targets-1")}
    options: list[object] = ["--threshold", "2", "--province-threshold", "2", "--out", fed.folder / "again", *fed.now()]
    options += ["--root", pub["root-1"], "--root", pub["root-1"], "--root", pub["root-2"]]
    options += [x for i in (1, 2, 3) for x in ("--targets", fed.public(f"targets-{i}"))]
    options += [x for r in ("snapshot", "timestamp") for x in (f"--{r}", fed.public(r))]
    names = ",".join(str(fed.public(f"prov-43-{i}")) for i in (1, 2, 3))
    options += ["--province", f"43={names}"]
    assert "one key is to be root and root" in fed.refused("init", *options)
    swapped = [pub["targets-1"] if x == pub["root-2"] else x for x in options]
    assert "made for the role targets" in fed.refused("init", *swapped)
    secret = [fed.holder("root-2") if x == pub["root-2"] else x for x in options]
    assert "private key" in fed.refused("init", *secret)


def test_hostile_threshold_of_a_minority(fed: Ceremony) -> None:
    options = [x for i in (1, 2, 3) for x in ("--key", fed.make_key("province", f"prov-45-{i}"))]
    for threshold in ("0", "1", "4"):
        given = ["--repository", fed.repository, "--out", fed.folder / "p", "--threshold", threshold, *fed.now(1)]
        assert "signatures" in fed.refused("trust", "province", "--province", "45", *options, *given)


def test_hostile_province_that_takes_a_key_of_another(fed: Ceremony) -> None:
    keys = [fed.public(name) for name in ("prov-44-1", "prov-44-2", "prov-44-3")]
    options = [x for key in keys for x in ("--key", key)]
    given = ["--repository", fed.repository, "--out", fed.folder / "p", *fed.now(1)]
    assert "a key of prov-44 already" in fed.refused("trust", "province", "--province", "45", *options, *given)


# Signatures and publication.


def test_hostile_publication_short_of_its_threshold(fed: Ceremony) -> None:
    draft = renewed(fed)
    assert "0 of 2 signatures of prov-43" in publish_refused(fed, draft, days=1)
    fed.sign(draft, "prov-43-1")
    assert "1 of 2 signatures of prov-43" in publish_refused(fed, draft, days=1)
    assert "already" in fed.refused("trust", "sign", draft, "--key", fed.holder("prov-43-1"))


def test_hostile_draft_that_lowers_its_own_threshold(fed: Ceremony) -> None:
    """The holders named in a draft only inform; what counts is the delegation in force."""
    draft = renewed(fed)
    fed.sign(draft, "prov-43-1")
    document = json.loads(draft.read_bytes())
    document["holders"][0]["threshold"] = 1
    draft.write_bytes(canonical(document))
    assert fed.raw("trust", "check", draft)[0] == 0
    assert "would not be trusted" in publish_refused(fed, draft, days=1)


def test_hostile_draft_that_names_a_stranger_as_holder(fed: Ceremony) -> None:
    from dianhuan_federation.keys import tuf_key

    draft = renewed(fed)
    document = json.loads(draft.read_bytes())
    for number in (1, 2):
        fed.make_key("province", f"stranger-{number}")
        public = read_key_file(fed.holder(f"stranger-{number}")).public
        document["holders"][0]["keys"][tuf_key(public).keyid] = public.raw.hex()
    draft.write_bytes(canonical(document))
    fed.sign(draft, "stranger-1", "stranger-2")
    assert "would not be trusted" in publish_refused(fed, draft, days=1)


@pytest.mark.parametrize(("name", "says"), [("prov-44-1", "none of those"), ("root-1", "role root")])
def test_hostile_signature_by_another_holder(fed: Ceremony, name: str, says: str) -> None:
    assert says in fed.refused("trust", "sign", renewed(fed), "--key", fed.holder(name))


def test_hostile_change_after_signing(fed: Ceremony) -> None:
    draft = renewed(fed)
    fed.sign(draft, "prov-43-1", "prov-43-2")
    document = json.loads(draft.read_bytes())
    document["metadata"]["signed"]["expires"] = "2099-01-01T00:00:00Z"
    draft.write_bytes(canonical(document))
    assert "0 of 2 signatures" in publish_refused(fed, draft, days=1)


def test_hostile_hub_file_swapped_in_a_signed_draft(fed: Ceremony) -> None:
    fed.invite(CITY)
    fed.join(CITY)
    draft = fed.draft(fed.run(*admit_options(fed, fed.folder / CITY / "request.json")), fed.folder / "admitted")
    fed.sign(draft, "prov-43-1", "prov-43-2")
    document = json.loads(draft.read_bytes())
    path = f"hubs/43/{CITY}.json"
    document["targets"][path] = document["targets"][path].replace("hub-430200", "hub-666666")
    draft.write_bytes(canonical(document))
    assert "does not hold" in publish_refused(fed, draft)


def test_hostile_province_signing_the_path_of_another(members: Ceremony) -> None:
    """All holders of province 43 vouch for a hub of province 44; nobody who reads the repository believes them."""
    from tuf.api.metadata import TargetFile

    store = TrustRepository(members.repository)
    file = {**store.hub_file(OTHER), "endpoints": ["https://evil.example/"]}
    draft = Draft.decode(renewed(members).read_bytes())
    data = canonical(file)
    draft.document.signed.targets[f"hubs/44/{OTHER}.json"] = TargetFile.from_data("x", data, ["sha256"])
    document = json.loads(draft.encode())
    document["targets"] = {f"hubs/44/{OTHER}.json": data.decode()}
    path = members.folder / "foreign.json"
    path.write_bytes(canonical(document))
    members.sign(path, "prov-43-1", "prov-43-2", "prov-43-3")
    assert f"hubs/44/{OTHER}.json is not of province 43" in publish_refused(members, path, days=1)


def test_hostile_second_draft_of_a_version_and_one_that_jumps(fed: Ceremony) -> None:
    one, two = renewed(fed, folder="a"), renewed(fed, folder="b", days=2)
    fed.sign(one, "prov-43-1", "prov-43-2")
    fed.sign(two, "prov-43-1", "prov-43-2")
    assert "two different drafts" in publish_refused(fed, one, two, days=2)
    fed.publish(one, days=2)
    assert "does not follow version 2" in publish_refused(fed, two, days=2)


def test_hostile_online_key_that_the_root_does_not_name(fed: Ceremony) -> None:
    before = files(fed)
    fed.make_key("timestamp", "thief")
    online = ["--snapshot-key", fed.holder("snapshot"), "--timestamp-key", fed.holder("thief")]
    assert "does not hold" in fed.refused("trust", "publish", "--repository", fed.repository, *online, *fed.now(1))
    swapped = ["--snapshot-key", fed.holder("timestamp"), "--timestamp-key", fed.holder("snapshot")]
    assert "role timestamp" in fed.refused("trust", "publish", "--repository", fed.repository, *swapped, *fed.now(1))
    assert files(fed) == before


def test_hostile_root_signed_by_its_new_holders_only(fed: Ceremony) -> None:
    options = [x for i in (6, 7, 8, 9, 10) for x in ("--root", fed.make_key("root", f"root-{i}"))]
    out = fed.folder / "n"
    answer = fed.run("rotate", "root", "--repository", fed.repository, *options, "--out", out, *fed.now(2))
    draft = fed.draft(answer, out)
    fed.sign(draft, *(f"root-{i}" for i in (6, 7, 8, 9, 10)))
    assert "0 of 3 signatures of root 1" in publish_refused(fed, draft, days=2)
    document = json.loads(draft.read_bytes())
    document["holders"] = document["holders"][1:]
    draft.write_bytes(canonical(document))
    assert "does not hold" in publish_refused(fed, draft, days=2)


def test_hostile_old_repository_after_a_newer_one_was_seen(members: Ceremony) -> None:
    seen = dict(members.trust(1).versions)
    members.publish(days=1)
    newer = dict(members.trust(1).versions)
    assert newer["timestamp"] == seen["timestamp"] + 1
    with pytest.raises(Refused, match="seen before"):
        members.trust(1, seen={**newer, "timestamp": newer["timestamp"] + 1})


# Rotation and revocation.


def test_hostile_rotation_without_the_old_key(members: Ceremony) -> None:
    store = TrustRepository(members.repository)
    new = read_signer(generate("publisher").pem)
    request = members.folder / "r.json"
    for old in ([], [read_key_file(members.key(CITY, "transport"))], [read_key_file(members.key(OTHER, "publisher"))]):
        request.write_bytes(request_rotation(store.hub_file(CITY), [("publisher", new)], old, members.time(1)))
        assert "not vouched for by a present publisher key" in members.refused(*admit_options(members, request, 1))


def test_hostile_rotation_by_a_revoked_key(members: Ceremony) -> None:
    key = key_id(read_key_file(members.key(CITY, "publisher")).public)
    out = members.folder / "r"
    since = ["--since", members.world.iso(members.time(1)), "--reason", "stolen", "--out", out, *members.now(2)]
    answer = members.run("revoke", "key", "--repository", members.repository, "--hub", CITY, "--key", key, *since)
    draft = members.draft(answer, out)
    members.sign(draft, "prov-43-1", "prov-43-2")
    members.publish(draft, days=2)
    request = members.folder / CITY / "rotation.json"
    options = ["--repository", members.repository, "--keys", members.folder / CITY / "keys", "--out", request]
    command = ["rotate", "keys", "--hub", CITY, "--role", "publisher", *options, *members.now(3)]
    assert "lacks the publisher key" in members.refused(*command)
    new, old = read_signer(generate("publisher").pem), read_key_file(members.key(CITY, "publisher"))
    file = TrustRepository(members.repository).hub_file(CITY)
    request.write_bytes(request_rotation(file, [("publisher", new)], [old], members.time(3)))
    assert "not vouched for" in members.refused(*admit_options(members, request, 3))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"--key": "0" * 64}, "0 found"),
        ({"--key": "abc"}, "0 found"),
        ({"--hub": "430300"}, "no province vouches"),
        ({"--since": "2099-01-01"}, "a revocation from"),
        ({"--since": "yesterday"}, "time"),
    ],
)
def test_hostile_revocations_that_cannot_be(members: Ceremony, options: dict[str, str], says: str) -> None:
    key = key_id(read_key_file(members.key(CITY, "publisher")).public)
    given = {"--hub": CITY, "--key": key, "--since": members.world.iso(members.time(1)), "--reason": "x", **options}
    pairs = [x for pair in given.items() for x in pair]
    common = ["--repository", members.repository, "--out", members.folder / "r", *members.now(2)]
    assert says in members.refused("revoke", "key", *pairs, *common)


def test_hostile_revocation_made_milder(members: Ceremony) -> None:
    key = key_id(read_key_file(members.key(CITY, "publisher")).public)
    given = ["--hub", CITY, "--key", key, "--reason", "x", "--repository", members.repository]
    since = ["--since", members.world.iso(members.time(1)), "--out", members.folder / "r", *members.now(5)]
    draft = members.draft(members.run("revoke", "key", *given, *since), members.folder / "r")
    members.sign(draft, "prov-43-1", "prov-43-2")
    members.publish(draft, days=5)
    milder = ["--since", members.world.iso(members.time(3)), "--out", members.folder / "s", *members.now(5)]
    assert "revoked since" in members.refused("revoke", "key", *given, *milder)


# Files and time.


def test_hostile_key_files_open_to_others_are_refused_by_commands(fed: Ceremony) -> None:
    draft = renewed(fed)
    fed.holder("prov-43-1").chmod(0o644)
    assert "open to others" in fed.refused("trust", "sign", draft, "--key", fed.holder("prov-43-1"))
    fed.holder("snapshot").chmod(0o640)
    assert "open to others" in publish_refused(fed)


def test_hostile_second_join_and_keys_never_overwrite(fed: Ceremony) -> None:
    fed.invite(CITY)
    fed.join(CITY)
    keys = {p: p.read_bytes() for p in (fed.folder / CITY / "keys").iterdir()}
    (fed.folder / CITY / "request.json").unlink()
    message = fed.refused("join", *fed.join_options(CITY), "--fingerprint", fed.fingerprint())
    assert "holds keys already" in message
    assert {p: p.read_bytes() for p in (fed.folder / CITY / "keys").iterdir()} == keys
    assert "already" in fed.refused("trust", "key", "--role", "root", "--out", fed.holder("root-1"))


def test_hostile_expired_province_is_not_trusted_for_new_data(members: Ceremony) -> None:
    members.publish(days=200)
    assert members.trust(200).freshness == {"prov-43": 2, "prov-44": 2}
    members.publish(days=215)
    assert members.trust(215).freshness == {"prov-43": 3, "prov-44": 3}


def test_hostile_hub_on_the_local_deny_list(members: Ceremony) -> None:
    """The local list wins over whatever the root says."""
    assert members.trust(1, denied=[CITY]).hub(CITY) is None
    assert members.trust(1, denied=[CITY]).hub(OTHER) is not None


def test_hostile_repository_past_its_date_admits_nobody(fed: Ceremony) -> None:
    fed.invite(CITY, "--days", "300")
    for days in (40, 200):
        message = fed.refused("join", *fed.join_options(CITY, days), "--fingerprint", fed.fingerprint())
        assert "past its date" in message
    assert fed.join(CITY, 33)["state"] == "requested"
    assert "past its date" in fed.refused(*admit_options(fed, fed.folder / CITY / "request.json", 40))


def test_hostile_province_metadata_without_signatures_invites_nobody(fed: Ceremony) -> None:
    fed.invite(CITY)
    path = fed.repository / "1.prov-43.json"
    document = json.loads(path.read_bytes())
    document["signatures"] = document["signatures"][:1]
    path.write_bytes(canonical(document))
    message = fed.refused("join", *fed.join_options(CITY), "--fingerprint", fed.fingerprint())
    assert "prov-43 is not trusted" in message


def test_hostile_repository_under_another_root_than_the_pinned_one(
    members: Ceremony, world: Any, tmp_path: Path
) -> None:
    other = type(members)(tmp_path / "other", world)
    other.begin()
    pinned = ["--trust", members.folder / CITY / "keys" / "root.json"]
    assert members.run("status", "--repository", members.repository, *pinned, *members.now(1))["hubs"]
    assert members.refused("status", "--repository", other.repository, *pinned, *members.now(1))


@pytest.mark.parametrize("name", ["timestamp.json", "1.targets.json", "1.root.json"])
@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"signed":{"_type":"root"},"signatures":[]}'])
def test_hostile_damage_to_the_repository_is_told(members: Ceremony, name: str, data: bytes) -> None:
    (members.repository / name).write_bytes(data)
    assert members.refused("status", "--repository", members.repository, *members.now(1))
    out = ["--repository", members.repository, "--out", members.folder / "x", *members.now(1)]
    if name != "1.root.json":
        assert members.refused("trust", "renew", "prov-43", *out)
    assert publish_refused(members, days=1)


@pytest.mark.parametrize(
    "endpoint",
    [
        "ftp://hub.example/",
        "https://user:pass@hub.example/",
        "https://hub.example/?x=1",
        "hub",
        "file:///etc",
        "https://[::1",
    ],
)
def test_hostile_endpoints_are_refused_by_city_and_province(fed: Ceremony, endpoint: str) -> None:
    fed.invite(CITY)
    options = fed.join_options(CITY)
    options[options.index("--endpoint") + 1] = endpoint
    assert "endpoint" in fed.refused("join", *options, "--fingerprint", fed.fingerprint())
    assert not (fed.folder / CITY / "keys").exists()


def test_hostile_names_do_not_steer_the_terminal(fed: Ceremony) -> None:
    out = fed.folder / "i.json"
    given = ["--hub", CITY, "--name", "\x1b[2J\u202eevil", "--authority", "fed.example", "--policy", fed.policy]
    key = ["--key", fed.holder("prov-43-1"), "--out", out]
    code, shown, _ = fed.raw("invite", "--repository", fed.repository, *given, *key, *fed.now())
    assert code == 0
    assert "evil" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
