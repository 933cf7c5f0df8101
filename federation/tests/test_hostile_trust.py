"""Hostile trust repositories: each with the step, code and state it must end in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import pytest

from dianhuan_federation.core import (
    Refused,
    Verdict,
    load_trust,
)

World = ModuleType
Case = tuple[str, Callable[[World], Verdict]]


def _mixed(w: World) -> Verdict:
    newer = w.TrustBuilder(version=2).build()
    return w.trusting({"1.snapshot.json": newer["2.snapshot.json"]})


def _endless(w: World) -> Verdict:
    builder = w.TrustBuilder()
    files = builder.build()
    document = json.loads(files["1.prov-43.json"])
    document["signed"]["delegations"] = json.loads(files["1.targets.json"])["signed"]["delegations"]
    from tuf.api.metadata import Metadata

    signed = Metadata.from_dict(document).signed
    return w.trusting({"1.prov-43.json": w.metadata(signed, ("prov-43-1", "prov-43-2"))})


def _other_hub_bytes(w: World) -> Verdict:
    files = w.TrustBuilder().build()
    name = next(n for n in files if n.startswith("targets/hubs/43/"))
    return w.trusting({name: files[name].replace(b"hub 430200", b"hub 430201")})


def _without(w: World, name: str) -> Verdict:
    builder = w.TrustBuilder()
    files = builder.build()
    del files[name]
    try:
        load_trust(builder.bootstrap(), files, w.NOW)
    except Refused as refused:
        return Verdict.of(refused)
    raise AssertionError("accepted")


def _skipped_root(w: World) -> Verdict:
    files = w.TrustBuilder(roots=3).build()
    return w.trusting({"3.root.json": files["3.root.json"]})


def _small_order(w: World) -> Verdict:
    return w.trusting(hubs=w.changed_keys(publisher={"public": w.b64((1).to_bytes(32, "little"))}))


def _duplicate_key_in_metadata(w: World) -> Verdict:
    files = w.TrustBuilder().build()
    return w.trusting({"timestamp.json": files["timestamp.json"].replace(b'"version":', b'"version":9,"version":', 1)})


TRUST: dict[str, Case] = {
    "root chain with a gap": ("V1 E-TRUST rejected", _skipped_root),
    "root short of its threshold": (
        "V1 E-TRUST rejected",
        lambda w: w.trusting(roots=2, signers={"root": ("root-1", "root-2")}),
    ),
    "root signed by the keys of another role": (
        "V1 E-TRUST rejected",
        lambda w: w.trusting(roots=2, signers={"root": ("prov-43-1", "prov-43-2", "prov-43-3")}),
    ),
    "more roots than a chain may have": ("V0 E-CAP rejected", lambda w: w.trusting(roots=66)),
    "top targets short of their threshold": (
        "V1 E-TRUST rejected",
        lambda w: w.trusting(signers={"targets": ("root-1", "root-2")}),
    ),
    "timestamp signed by the snapshot key": (
        "V1 E-TRUST rejected",
        lambda w: w.trusting(signers={"timestamp": ("snapshot",)}),
    ),
    "timestamp rolled back": ("V1 E-TRUST rejected", lambda w: w.trusting(seen={"timestamp": 2})),
    "snapshot rolled back": ("V1 E-TRUST rejected", lambda w: w.trusting(seen={"snapshot": 2})),
    "province rolled back": ("V1 E-TRUST rejected", lambda w: w.trusting(seen={"prov-43": 2})),
    "province gone from the snapshot": ("V1 E-TRUST rejected", lambda w: w.trusting(seen={"prov-46": 1})),
    "snapshot of another version": ("V1 E-TRUST rejected", _mixed),
    "no snapshot": ("V1 E-TRUST rejected", lambda w: _without(w, "1.snapshot.json")),
    "no timestamp": ("V1 E-TRUST rejected", lambda w: _without(w, "timestamp.json")),
    "a key twice in the timestamp": ("V1 E-TRUST rejected", _duplicate_key_in_metadata),
    "10 MB of metadata": (
        "V0 E-CAP rejected",
        lambda w: w.trusting({"timestamp.json": b"[" + b"1," * 5_000_000 + b"1]"}),
    ),
    "deeply nested metadata": ("V1 E-TRUST rejected", lambda w: w.trusting({"timestamp.json": b"[" * 100_000})),
    "metadata 10 days past its date": (
        "V1 E-STALE pending",
        lambda w: w.trusting(expires={"timestamp": w.NOW - 10 * w.DAY}),
    ),
    "metadata 31 days past its date": (
        "V1 E-STALE quarantined",
        lambda w: w.trusting(expires={"snapshot": w.NOW - 31 * w.DAY}),
    ),
    "root 31 days past its date": (
        "V1 E-STALE quarantined",
        lambda w: w.trusting(expires={"root": w.NOW - 31 * w.DAY}),
    ),
    "province 10 days past its date": (
        "V1 E-STALE pending",
        lambda w: w.trusting(expires={"prov-43": w.NOW - 10 * w.DAY}),
    ),
    "the year 2106": ("V1 E-STALE quarantined", lambda w: w.trusting(now=2**32)),
    "province short of its threshold": (
        "V1 E-TRUST rejected",
        lambda w: w.trusting(signers={"prov-43": ("prov-43-1",)}),
    ),
    "one province key signing twice": (
        "V1 E-TRUST rejected",
        lambda w: w.trusting(signers={"prov-43": ("prov-43-1", "prov-43-1")}),
    ),
    "province that delegates further": ("V1 E-TRUST rejected", _endless),
    "province with the path of all": (
        "V1 E-TRUST rejected",
        lambda w: w.trusting(paths={"prov-43": ["hubs/*/*"]}),
    ),
    "hub vouched for by another province only": (
        "V1 E-TRUST rejected",
        lambda w: w.trusting(
            hubs={w.READER: w.hub_file(w.READER)},
            foreign={"prov-44": {"hubs/43/430200.json": w.hub_file(w.HUB)}},
        ),
    ),
    "hub file changed under its digest": ("V1 E-TRUST rejected", _other_hub_bytes),
    "hub file of another hub": ("V1 E-TRUST rejected", lambda w: w.trusting(hubs={w.HUB: w.hub_file("430300")})),
    "hub file with another hub's origin": (
        "V1 E-TRUST rejected",
        lambda w: w.changed_hub(origins=[{"origin": "fed.example/440100/r1", "inception": w.iso(w.NOW - w.DAY)}]),
    ),
    "hub file without the origin": ("V1 E-TRUST rejected", lambda w: w.changed_hub(origins=[])),
    "hub file with an unknown field": ("V1 E-TRUST rejected", lambda w: w.changed_hub(admin=True)),
    "hub file with a suite unknown here": ("V1 E-TRUST rejected", lambda w: w.changed_hub(required_suites=["sm2-sm3"])),
    "hub file with no suite required": ("V1 E-TRUST rejected", lambda w: w.changed_hub(required_suites=[])),
    "hub file with a key of small order": ("V1 E-TRUST rejected", _small_order),
    "one key in two roles": (
        "V1 E-TRUST rejected",
        lambda w: w.changed_hub(keys=[w.key_entry("log", "log-430200"), w.key_entry("publisher", "log-430200")]),
    ),
    "hub on the deny list": (
        "V1 E-TRUST rejected",
        lambda w: w.whole(w.usual_log(), w.verifier(denied=frozenset({w.HUB}))),
    ),
    "origin on the deny list": (
        "V1 E-TRUST rejected",
        lambda w: w.whole(w.usual_log(), w.verifier(denied=frozenset({w.ORIGIN}))),
    ),
    "origin nobody vouches for": (
        "V1 E-TRUST rejected",
        lambda w: w.whole(w.usual_log(), origin="fed.example/430200/r2"),
    ),
    "origin without a path": ("V1 E-TRUST rejected", lambda w: w.whole(w.usual_log(), origin="x")),
}


@pytest.mark.parametrize("name", TRUST)
def test_hostile_trust_ends_as_the_matrix_says(world: World, name: str) -> None:
    expected, build = TRUST[name]
    verdict = build(world)
    assert f"{verdict.step or '-'} {verdict.code or '-'} {verdict.state}" == expected, verdict.detail


def test_hostile_bad_province_does_not_stop_the_others(world: World) -> None:
    builder = world.TrustBuilder(signers={"prov-44": ("prov-44-1",)})
    trust = load_trust(builder.bootstrap(), builder.build(), world.NOW)
    assert set(trust.hubs) == {world.HUB}
    assert "prov-44" in trust.refused
    assert world.whole(world.usual_log(), replace(world.verifier(), trust=trust)).code is None


def test_a_week_past_its_date_the_metadata_still_serves(world: World) -> None:
    verdict = world.trusting(expires={"timestamp": world.NOW - 6 * world.DAY})
    assert verdict.code is None
