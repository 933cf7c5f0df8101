"""SM2-SM3 against GB/T samples, OpenSSL and the letter of the standard; and the door it comes through."""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dianhuan_federation.core import (
    NAMED,
    Checkpoint,
    Code,
    State,
    Suites,
    canonical,
    format_note,
    key_id,
    load_trust,
    log_note_key,
    note_key,
    parse_note,
    parse_policy,
    parse_vkey,
    seal,
    sign_note,
)
from dianhuan_federation.core import Verifier as CoreVerifier
from dianhuan_federation.suites import SM2_SM3, Sm2Signer, Sm2Sm3, known_suites, sm2_digest
from dianhuan_sdk import ConfigError, InputError

Signers = Callable[[str], Any]
OPENSSL = shutil.which("openssl") or ""


def _openssl(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([OPENSSL, *words], capture_output=True, check=False, timeout=30)


def _has_sm2() -> bool:
    return bool(OPENSSL) and b"SM2" in _openssl("list", "-public-key-algorithms").stdout


needs_openssl = pytest.mark.skipif(not _has_sm2(), reason="openssl with SM2 (3.0 or later) is not installed")


@pytest.fixture(scope="module")
def sm2() -> Sm2Signer:
    pytest.importorskip("gmssl_pyx", reason="the extra `sm` (gmssl-pyx) is not installed")
    return Sm2Signer.generate()


def test_the_samples_of_the_standard_and_its_hostile_variants(sm2_letter: ModuleType) -> None:
    pytest.importorskip("gmssl_pyx", reason="the extra `sm` (gmssl-pyx) is not installed")
    names = []
    for case in sm2_letter.cases():
        try:
            answer = Sm2Sm3().load(case["public"]).verify(case["signature"], case["message"])
        except InputError:
            answer = False
        assert answer is case["verifies"], case["name"]
        names.append(case["name"])
    assert len(names) == len(set(names)) == 28


def test_hostile_bit_flips_of_an_sm2_signature_never_verify(sm2: Sm2Signer) -> None:
    good = sm2.sign(b"m")
    assert sm2.public.verify(good, b"m")
    for place in range(8 * len(good)):
        flipped = bytearray(good)
        flipped[place // 8] ^= 1 << place % 8
        assert not sm2.public.verify(bytes(flipped), b"m")


def test_digest_is_that_of_the_standard(sm2_letter: ModuleType) -> None:
    """GB/T 32918.5 A.2 prints e of its example."""
    key = sm2_letter.public(sm2_letter.SAMPLE_PRIVATE)
    assert sm2_digest(key, b"message digest").hex() == (
        "f0b43e94ba45accaace692ed534382eb17e6ab5a19ce7b31f4486fdfc0d28640"
    )


def test_sm3_is_that_of_the_standard(sm2_letter: ModuleType) -> None:
    for case in sm2_letter.digests():
        assert sm2_letter.sm3(case["input"]).hex() == case["sm3"]


def test_the_letter_of_the_standard_signs_what_the_suite_verifies(sm2_letter: ModuleType) -> None:
    pytest.importorskip("gmssl_pyx", reason="the extra `sm` (gmssl-pyx) is not installed")
    fixed = sm2_letter.FixedSigner.named("a")
    for length in (0, 1, 55, 64, 1000):
        assert Sm2Sm3().load(fixed.public.raw).verify(fixed.sign(bytes(length)), bytes(length))


def test_keys_travel_as_pem(sm2: Sm2Signer) -> None:
    again = Sm2Signer.from_pem(sm2.pem())
    assert again.public == sm2.public
    assert sm2.public.verify(again.sign(b"m"), b"m")


def test_hostile_private_keys_are_refused(sm2: Sm2Signer) -> None:
    other = Sm2Signer.generate()
    with pytest.raises(InputError, match="another"):
        Sm2Signer(sm2._private, other.public.raw)
    for scalar in (0, 2**256 - 1):
        with pytest.raises(InputError, match="range"):
            Sm2Signer(scalar.to_bytes(32, "big"), sm2.public.raw)
    for text in ("", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", sm2.pem().replace("M", "N", 1)):
        with pytest.raises(InputError, match="PKCS#8"):
            Sm2Signer.from_pem(text)


@needs_openssl
def test_openssl_verifies_what_the_suite_signs(sm2: Sm2Signer, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text(sm2.pem())
    (tmp_path / "m").write_bytes(b"a statement")
    (tmp_path / "s").write_bytes(sm2.sign(b"a statement"))
    pub = tmp_path / "pub.pem"
    assert _openssl("pkey", "-in", f"{tmp_path}/key.pem", "-pubout", "-out", str(pub)).returncode == 0
    assert _verified(pub, tmp_path)
    (tmp_path / "m").write_bytes(b"another statement")
    assert not _verified(pub, tmp_path)


def _verified(pub: Path, folder: Path, signer_id: str = "1234567812345678") -> bool:
    done = _openssl(
        *(
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            str(pub),
            "-rawin",
            "-in",
            f"{folder}/m",
            "-sigfile",
            f"{folder}/s",
        ),
        *("-digest", "sm3", "-pkeyopt", f"distid:{signer_id}"),
    )
    return done.returncode == 0


@needs_openssl
@pytest.mark.parametrize(("signer_id", "verifies"), [("1234567812345678", True), ("ALICE123@YAHOO.COM", False)])
def test_the_suite_verifies_what_openssl_signs_under_the_default_id_only(
    tmp_path: Path, signer_id: str, verifies: bool
) -> None:
    pytest.importorskip("gmssl_pyx", reason="the extra `sm` (gmssl-pyx) is not installed")
    pem = tmp_path / "key.pem"
    assert _openssl("genpkey", "-algorithm", "SM2", "-out", str(pem)).returncode == 0
    theirs = Sm2Signer.from_pem(pem.read_text())
    (tmp_path / "m").write_bytes(b"a statement")
    done = _openssl(
        *("pkeyutl", "-sign", "-inkey", str(pem), "-rawin", "-in", f"{tmp_path}/m", "-out", f"{tmp_path}/s"),
        *("-digest", "sm3", "-pkeyopt", f"distid:{signer_id}"),
    )
    assert done.returncode == 0, done.stderr
    assert theirs.public.verify((tmp_path / "s").read_bytes(), b"a statement") is verifies


@needs_openssl
def test_openssl_gives_the_same_verdicts_on_the_vectors(sm2_letter: ModuleType, tmp_path: Path) -> None:
    """But for one spelling of a key, which OpenSSL takes and trust files must not."""
    spki = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d034200")
    pub, answers = tmp_path / "pub.der", {}
    for case in sm2_letter.cases():
        pub.write_bytes(spki + case["public"])
        (tmp_path / "m").write_bytes(case["message"])
        (tmp_path / "s").write_bytes(case["signature"])
        answers[case["name"]] = _verified(pub, tmp_path) is case["verifies"]
    assert {name for name, same in answers.items() if not same} <= {"hybrid key"}


def test_an_sm2_log_line_has_a_named_type_and_others_ignore_it(sm2: Sm2Signer, signer: Signers) -> None:
    origin = "fed.example/430200/r1"
    text = Checkpoint(origin, 0, bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")).text
    note = parse_note(format_note(text, [sign_note(text, origin, signer("log")), sign_note(text, origin, sm2)]))
    plain, national = log_note_key(origin, signer("log").public), log_note_key(origin, sm2.public)
    assert national.algorithm == NAMED
    assert plain.key_id != national.key_id
    assert note.signed_by(plain)
    assert note.signed_by(national)
    assert parse_vkey(national.vkey, known_suites()) == national
    with pytest.raises(InputError, match="unknown type"):
        parse_vkey(national.vkey)
    changed = parse_note(format_note(text.replace(b"\n0\n", b"\n1\n"), [sign_note(text, origin, sm2)]))
    with pytest.raises(InputError, match="not that key's"):
        changed.signed_by(national)


def test_hostile_type_bytes_of_another_suite_are_refused(sm2: Sm2Signer, signer: Signers) -> None:
    for algorithm, key in ((1, sm2.public), (4, sm2.public), (NAMED, signer("a").public)):
        with pytest.raises(InputError, match="type"):
            note_key("x", algorithm, key)


@pytest.fixture
def both(world: ModuleType, sm2: Sm2Signer) -> Any:
    """A trust repository in which hub 430200 must sign with both suites."""
    key = world.key_entry("publisher", "x", suite=SM2_SM3, public=world.b64(sm2.public.raw))
    file = world.hub_file(world.HUB)
    file = {**file, "keys": [*file["keys"], key], "required_suites": ["ed25519", SM2_SM3]}
    return world.TrustBuilder(hubs={world.HUB: file, world.READER: world.hub_file(world.READER)})


def _verdict(world: ModuleType, builder: Any, signers: list[Any], suites: Suites) -> Any:
    log = world.Log()
    statement = log.statement("heartbeat", "alive", {"streams": 1})
    log.add_raw(seal("application/vnd.in-toto+json", statement, signers), statement)
    log.publish()
    trust = load_trust(builder.bootstrap(), builder.build(), world.NOW, suites=suites)
    report = CoreVerifier(trust, parse_policy(world.policy_text()), world.NOW, world.READER).verify(log.submission())
    return report.entries[0].verdict if report.entries else report.verdict


def test_both_suites_are_accepted_where_both_are_required(world: ModuleType, both: Any, sm2: Sm2Signer) -> None:
    signers = [world.signer(f"publisher-{world.HUB}"), sm2]
    assert _verdict(world, both, signers, known_suites()).state is State.ACCEPTED


def test_hostile_one_suite_where_two_are_required(world: ModuleType, both: Any, sm2: Sm2Signer) -> None:
    for alone in (world.signer(f"publisher-{world.HUB}"), sm2):
        assert _verdict(world, both, [alone], known_suites()).code is Code.SIG


def test_hostile_sm2_signature_of_a_stranger_beside_a_good_one(world: ModuleType, both: Any, sm2: Sm2Signer) -> None:
    stranger = Sm2Signer.generate()
    good = world.signer(f"publisher-{world.HUB}")
    assert _verdict(world, both, [good, stranger], known_suites()).code is Code.SIG
    log = world.Log()
    statement = log.statement("heartbeat", "alive", {"streams": 1})
    envelope = world.json.loads(seal("application/vnd.in-toto+json", statement, [good, stranger]))
    envelope["signatures"][1]["keyid"] = key_id(sm2.public)
    log.add_raw(canonical(envelope), statement)
    log.publish()
    trust = load_trust(both.bootstrap(), both.build(), world.NOW, suites=known_suites())
    report = CoreVerifier(trust, parse_policy(world.policy_text()), world.NOW, world.READER).verify(log.submission())
    assert report.entries[0].verdict.code is Code.SIG


def test_hostile_reader_without_the_suite_refuses_the_hub_by_name(world: ModuleType, both: Any, sm2: Sm2Signer) -> None:
    signers = [world.signer(f"publisher-{world.HUB}"), sm2]
    verdict = _verdict(world, both, signers, Suites())
    assert verdict.code is Code.TRUST
    assert SM2_SM3 in verdict.detail


def test_signing_without_the_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gmssl_pyx", None)
    with pytest.raises(ConfigError, match="gmssl-pyx"):
        Sm2Signer.generate()


def test_a_key_file_may_hold_an_sm2_key(sm2: Sm2Signer) -> None:
    from dianhuan_federation.keys import public_form, read_signer

    made = ec.generate_private_key(ec.SECP256R1())
    other = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    signer = read_signer(f"dianhuan key role: publisher\n{sm2.pem()}", "publisher")
    assert signer.public == sm2.public
    assert sm2.public.verify(signer.sign(b"m"), b"m")
    with pytest.raises(ConfigError, match="role"):
        read_signer(f"dianhuan key role: publisher\n{sm2.pem()}", "log")
    with pytest.raises(ConfigError, match="no key file"):
        read_signer(other)
    form = public_form("log", SM2_SM3, base64.b64encode(sm2.public.raw).decode())
    assert parse_vkey(form.vkey("fed.example/430200/r1"), known_suites()).key == sm2.public
