"""Key files: one role each, for their owner's eyes only, never written twice."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from dianhuan_federation.core import Ed25519, key_id
from dianhuan_federation.keys import (
    KEY_ROLES,
    PublicForm,
    generate,
    read_key_file,
    read_public,
    read_signer,
    refuse_reuse,
    write_key,
)
from dianhuan_federation.suites import SM2_SM3, Sm2Signer
from dianhuan_sdk import ConfigError, InputError

Ceremony = Any


@pytest.mark.parametrize("role", KEY_ROLES)
def test_a_key_goes_to_disk_and_signs(tmp_path: Path, role: Any) -> None:
    key = generate(role)
    path = tmp_path / "keys" / f"{role}-1.pem"
    os.umask(old := os.umask(0))
    write_key(path, key)
    assert os.umask(old) == old
    assert path.stat().st_mode & 0o777 == 0o600
    signer = read_key_file(path, role)
    assert signer.public.raw == key.public.raw
    assert key.public.verify(signer.sign(b"x"), b"x")
    assert read_signer(path.read_text("ascii")).public.raw == key.public.raw


def test_openssl_reads_the_key_file(tmp_path: Path) -> None:
    key = generate("publisher")
    write_key(tmp_path / "k.pem", key)
    command = ["openssl", "pkey", "-in", str(tmp_path / "k.pem"), "-pubout", "-outform", "DER"]
    der = subprocess.run(command, check=True, capture_output=True).stdout
    assert der[-32:] == key.public.raw


def test_a_key_file_may_hold_an_sm2_key() -> None:
    pytest.importorskip("gmssl_pyx")
    made = Sm2Signer.generate()
    signer = read_signer(f"dianhuan key role: publisher\n{made.pem()}", "publisher")
    assert signer.public.suite == SM2_SM3
    assert made.public.verify(signer.sign(b"x"), b"x")
    with pytest.raises(ConfigError, match="role publisher"):
        read_signer(f"dianhuan key role: publisher\n{made.pem()}", "log")


def test_hostile_overwriting_a_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "k.pem"
    write_key(path, generate("log"))
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        write_key(path, generate("log"))
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o666])
def test_hostile_key_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "k.pem"
    write_key(path, generate("log"))
    path.chmod(mode)
    with pytest.raises(ConfigError, match="open to others"):
        read_key_file(path)


def test_hostile_key_of_another_role_does_not_sign(tmp_path: Path) -> None:
    write_key(tmp_path / "k.pem", generate("log"))
    with pytest.raises(ConfigError, match="role log"):
        read_key_file(tmp_path / "k.pem", "publisher")


def pem(key: Any, encryption: Any = None) -> str:
    """A PKCS#8 PEM block."""
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode())


HOSTILE_TEXTS = {
    "empty": "",
    "no PEM": "secret words that are no key",
    "another curve": pem(ec.generate_private_key(ec.SECP256R1())),
    "encrypted": pem(ed25519.Ed25519PrivateKey.generate(), BestAvailableEncryption(b"x")),
    "two keys": generate("log").pem + generate("log").pem,
    "cut off": generate("log").pem[:-40],
    "spoilt base64": generate("log").pem.replace("M", "A"),
    "a heap": "x" * 20_000 + generate("log").pem,
}


@pytest.mark.parametrize("name", HOSTILE_TEXTS)
def test_hostile_key_texts_are_refused_and_never_quoted(name: str) -> None:
    text = HOSTILE_TEXTS[name]
    with pytest.raises(ConfigError) as refused:
        read_signer(text)
    assert not any(line and line in str(refused.value) for line in text.split("\n") if "KEY" not in line)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("what", ["missing", "folder", "not text"])
def test_hostile_paths_are_no_key_files(tmp_path: Path, what: str) -> None:
    path = tmp_path / "k.pem"
    if what == "folder":
        path.mkdir()
    elif what == "not text":
        path.write_bytes(b"\xff\xfe")
        path.chmod(0o600)
    with pytest.raises(ConfigError):
        read_key_file(path)


def test_public_forms_are_read_back_and_name_their_verifier_key() -> None:
    key = generate("witness")
    form = PublicForm("witness", key.public, "第 43 省")
    assert read_public(form.encode()) == form
    assert form.id == key_id(key.public)
    assert form.vkey("prov.example/w43").startswith("prov.example/w43+")


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"[]",
        b"\xff",
        PublicForm("log", generate("log").public).encode().replace(b"public-key:v1", b"public-key:v2"),
        PublicForm("log", generate("log").public).encode().replace(b'"log"', b'"king"'),
        PublicForm("log", generate("log").public).encode().replace(b'"public":"', b'"public":"!'),
        b'{"kind":"urn:dianhuan:federation:public-key:v1","role":"log","suite":"ed25519","public":"%s"}'
        % base64.b64encode((1).to_bytes(32, "little")),
        generate("log").pem.encode(),
    ],
)
def test_hostile_public_forms_are_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        read_public(data)


def test_hostile_one_key_in_two_roles_is_refused() -> None:
    public = generate("log").public
    with pytest.raises(InputError, match="log and publisher"):
        refuse_reuse([PublicForm("log", public), PublicForm("publisher", Ed25519().load(public.raw))])


def test_reprs_show_no_private_half() -> None:
    key = generate("log")
    body = key.pem.split("\n")[2]
    signer = read_signer(key.pem)
    for shown in (repr(key), str(key), repr(signer), str(signer), repr(vars(signer)), f"{key}"):
        assert body not in shown
        assert "PRIVATE" not in shown.upper().replace("ED25519PRIVATEKEY", "")


def test_hostile_search_for_secrets_in_everything_printed(members: Ceremony, tmp_path: Path) -> None:
    """Every byte that a command printed, and every file that is handed over, against every private half."""
    files = [p for p in members.folder.rglob("*") if p.is_file()]
    private = [p for p in files if p.suffix == ".pem"]
    assert len(private) == 24
    needles: list[bytes] = []
    for path in private:
        block = path.read_text("ascii").split("\n")[2]
        seed = base64.b64decode(block)[-32:]
        needles += [
            block.encode()[-43:],
            seed,
            seed.hex().encode(),
            base64.b64encode(seed),
            base64.b64encode(seed)[:42],
        ]
    for path in members.folder.rglob("pseudonym.key"):
        assert path.stat().st_mode & 0o777 == 0o600
        private.append(path)
        needles.append(path.read_bytes())
    printed = "".join(members.outputs).encode()
    assert len(printed) > 20_000
    handed = b"".join(p.read_bytes() for p in files if p not in private)
    for needle in needles:
        assert needle not in printed
        assert needle not in handed
