"""Witness policies in the syntax of C2SP tlog-policy."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from dianhuan_federation.core import (
    parse_policy,
)

World = ModuleType


def _cosigner(w: World, name: str) -> str:
    from dianhuan_federation.core import COSIGNATURE, note_key

    vkey: str = note_key(f"prov.example/{name}", COSIGNATURE, w.signer(name).public).vkey
    return vkey


HOSTILE_POLICIES: dict[str, Callable[[bytes], bytes]] = {
    "no quorum": lambda p: p.replace(b"quorum provinces\n", b""),
    "two quorums": lambda p: p + b"quorum w43\n",
    "quorum before its group": lambda p: b"quorum provinces\n" + p,
    "unknown member": lambda p: p.replace(b"2 w43", b"2 w99"),
    "member twice": lambda p: p.replace(b"2 w43", b"2 w43 w43"),
    "member of two groups": lambda p: p.replace(b"quorum", b"group more any w43\nquorum"),
    "threshold zero": lambda p: p.replace(b"provinces 2", b"provinces 0"),
    "threshold above": lambda p: p.replace(b"provinces 2", b"provinces 4"),
    "threshold in words": lambda p: p.replace(b"provinces 2", b"provinces most"),
    "no members": lambda p: p.replace(b"2 w43 w44 w45", b"2"),
    "group called none": lambda p: p.replace(b"group provinces", b"group none"),
    "witness key twice": lambda p: p.replace(b"quorum", b"witness again " + p.split()[2] + b"\nquorum"),
    "name twice": lambda p: p.replace(b"group provinces", b"group w43"),
    "unknown line": lambda p: p + b"trust everyone\n",
    "carriage return": lambda p: p.replace(b"\n", b"\r\n"),
    "no last newline": lambda p: p[:-1],
    "log key as witness": lambda p: p.replace(b"quorum", b"witness l fed+00000000+AQ==\nquorum"),
}


def test_witness_policies_of_the_specification(world: World) -> None:
    policy = parse_policy(world.policy_text())
    assert not policy.satisfied_by({"w43"})
    assert policy.satisfied_by({"w43", "w45"})
    assert parse_policy(world.policy_text("quorum w44")).satisfied_by({"w44"})
    assert parse_policy(world.policy_text(threshold="all")).satisfied_by(world.WITNESSES)
    assert not parse_policy(world.policy_text(threshold="all")).satisfied_by(world.WITNESSES[:2])
    assert parse_policy(world.policy_text(threshold="any")).satisfied_by({"w45"})
    nested = world.policy_text("group both all provinces w46\nquorum both")
    extra = "witness w46 " + _cosigner(world, "w46") + "\n"
    both = parse_policy(b"# comment\n\n\t " + extra.encode() + nested)
    assert both.satisfied_by({"w46", "w43", "w44"})
    assert not both.satisfied_by({"w43", "w44", "w45"})


@pytest.mark.parametrize("spoil", HOSTILE_POLICIES.values(), ids=HOSTILE_POLICIES)
def test_hostile_witness_policies_are_refused(world: World, spoil: Callable[[bytes], bytes]) -> None:
    from dianhuan_sdk import ConfigError

    with pytest.raises(ConfigError):
        parse_policy(spoil(world.policy_text()))
