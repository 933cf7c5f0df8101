"""Signed notes, checkpoints and cosignatures: vectors of the specifications and hostile spellings."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dianhuan_federation.core import (
    COSIGNATURE,
    ED25519,
    EMPTY_ROOT,
    Checkpoint,
    Ed25519Signer,
    LogProof,
    cosign,
    cosigned_at,
    format_note,
    leaf_hash,
    note_key,
    parse_checkpoint,
    parse_note,
    parse_proof,
    parse_vkey,
    sign_note,
)
from dianhuan_sdk import InputError

Signers = Callable[[str], Ed25519Signer]
ORIGIN = "fed.example/430200/r1"

# The example of C2SP signed-note.
VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = (
    "This is an example message.\n\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()

# The example of C2SP tlog-cosignature; the specification gives no keys, so it can be parsed only.
CHECKPOINT = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xe"
    "McTOAYQ8=\n— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZq"
    "hf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
).encode()


def test_the_example_of_the_specification_verifies() -> None:
    key = parse_vkey(VKEY)
    assert key.vkey == VKEY
    assert parse_note(NOTE).signed_by(key)


def test_the_cosigned_example_of_the_specification_parses() -> None:
    head, note = parse_checkpoint(CHECKPOINT)
    assert (head.origin, head.size) == ("example.com/behind-the-sofa", 20852163)
    assert [len(s.signature) for s in note.signatures] == [64, 72]
    assert int.from_bytes(note.signatures[1].signature[:8], "big") == 1679315147


def test_unknown_keys_are_ignored_and_known_bad_ones_refuse_the_note(signer: Signers) -> None:
    text = b"hello\n"
    good = sign_note(text, "a", signer("a"))
    a, b = note_key("a", ED25519, signer("a").public), note_key("b", ED25519, signer("b").public)
    note = parse_note(format_note(text, [good, sign_note(text, "c", signer("c"))]))
    assert note.signed_by(a)
    assert not note.signed_by(b)
    bad = sign_note(b"other\n", "a", signer("a"))
    with pytest.raises(InputError):
        parse_note(format_note(text, [good, bad])).signed_by(a)


def test_cosignatures_carry_the_witness_time(signer: Signers) -> None:
    head = Checkpoint(ORIGIN, 3, leaf_hash(b"x"))
    key = note_key("prov.example/w43", COSIGNATURE, signer("w").public)
    lines = [sign_note(head.text, ORIGIN, signer("log")), cosign(head.text, key.name, signer("w"), 1_700_000_000)]
    parsed, note = parse_checkpoint(format_note(head.text, lines))
    assert parsed == head
    assert cosigned_at(note, key) == 1_700_000_000
    assert cosigned_at(note, note_key("prov.example/w44", COSIGNATURE, signer("w").public)) is None


@pytest.mark.parametrize("field", ["time", "root", "size", "origin"])
def test_hostile_changes_under_a_cosignature_are_refused(signer: Signers, field: str) -> None:
    head = Checkpoint(ORIGIN, 3, leaf_hash(b"x"))
    key = note_key("w", COSIGNATURE, signer("w").public)
    line = cosign(head.text, "w", signer("w"), 1_700_000_000)
    if field == "time":
        line = type(line)(line.name, line.key_id, (1_600_000_000).to_bytes(8, "big") + line.signature[8:])
    changed = {
        "root": Checkpoint(ORIGIN, 3, leaf_hash(b"y")),
        "size": Checkpoint(ORIGIN, 4, leaf_hash(b"x")),
        "origin": Checkpoint("fed.example/430300/r1", 3, leaf_hash(b"x")),
    }.get(field, head)
    with pytest.raises(InputError):
        cosigned_at(parse_note(format_note(changed.text, [line])), key)


def test_hostile_plain_signature_is_no_cosignature(signer: Signers) -> None:
    """Another signature type has another key id, so the witness's plain signature counts for nothing."""
    head = Checkpoint(ORIGIN, 3, leaf_hash(b"x"))
    note = parse_note(format_note(head.text, [sign_note(head.text, "w", signer("w"))]))
    assert cosigned_at(note, note_key("w", COSIGNATURE, signer("w").public)) is None


def _checkpoint(signer: Signers, text: bytes) -> bytes:
    return format_note(text, [sign_note(text, ORIGIN, signer("log"))])


ROOT = base64.b64encode(leaf_hash(b"x"))
HOSTILE_TEXTS = {
    "leading zero": b"o\n03\n" + ROOT + b"\n",
    "plus": b"o\n+3\n" + ROOT + b"\n",
    "negative": b"o\n-3\n" + ROOT + b"\n",
    "hexadecimal": b"o\n0x3\n" + ROOT + b"\n",
    "size 2^63": b"o\n9223372036854775808\n" + ROOT + b"\n",
    "size of 20 digits": b"o\n10000000000000000000\n" + ROOT + b"\n",
    "Arabic digits": "o\n٣\n".encode() + ROOT + b"\n",
    "no origin": b"\n3\n" + ROOT + b"\n",
    "extension line": b"o\n3\n" + ROOT + b"\nextra\n",
    "two lines": b"o\n3\n",
    "short root": b"o\n3\n" + base64.b64encode(b"x" * 31) + b"\n",
    "root with stray bits": b"o\n3\n" + ROOT[:-2] + b"/=\n",
    "root in URL base64": b"o\n3\n" + b"_" * 43 + b"=\n",
    "empty tree with a root": b"o\n0\n" + ROOT + b"\n",
    "space after size": b"o\n3 \n" + ROOT + b"\n",
}


@pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS)
def test_hostile_checkpoint_texts_are_refused(signer: Signers, text: bytes) -> None:
    with pytest.raises(InputError):
        parse_checkpoint(_checkpoint(signer, text))


def test_the_empty_tree_has_a_checkpoint(signer: Signers) -> None:
    head = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert parse_checkpoint(_checkpoint(signer, head.text))[0] == head


HOSTILE_NOTES: dict[str, Callable[[bytes], bytes]] = {
    "CRLF": lambda n: n.replace(b"\n", b"\r\n"),
    "no last newline": lambda n: n[:-1],
    "no signatures": lambda n: n.partition(b"\n\n")[0] + b"\n\n",
    "no blank line": lambda n: n.replace(b"\n\n", b"\n"),
    "tab": lambda n: n.replace(b"example message", b"example\tmessage"),
    "NUL": lambda n: n.replace(b"example message", b"example\0message"),
    "not UTF-8": lambda n: n.replace(b"example message", b"\xff"),
    "hyphen for dash": lambda n: n.replace("—".encode(), b"-"),
    "two spaces": lambda n: n.replace("— ".encode(), "—  ".encode()),
    "no-break space in the name": lambda n: n.replace(b"example.com/foo ", "example\u00a0com ".encode()),
    "plus in the name": lambda n: n.replace(b"com/foo ", b"com+foo "),
    "text after the signatures": lambda n: n + b"more\n",
    "blank line at the end": lambda n: n + b"\n",
    "base64 with stray bits": lambda n: n.replace(b"aQM=", b"aQN="),
    "signature of key id only": lambda n: n.partition(b"foo ")[0] + b"foo Uw2QOg==\n",
    "97 signatures": lambda n: n + b"\xe2\x80\x94 x AAAAAAA=\n" * 96,
    "64 KiB": lambda n: b"x" * 65_536 + n,
}


@pytest.mark.parametrize("spoil", HOSTILE_NOTES.values(), ids=HOSTILE_NOTES)
def test_hostile_notes_are_refused(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(InputError):
        parse_note(spoil(NOTE))


def test_sixteen_and_more_signatures_are_accepted() -> None:
    data = NOTE + b"\xe2\x80\x94 x AAAAAAA=\n" * 95
    assert parse_note(data).signed_by(parse_vkey(VKEY))


@given(st.binary(max_size=300))
def test_hostile_bytes_never_crash_the_parsers(data: bytes) -> None:
    for parser in (parse_note, parse_checkpoint, parse_proof):
        for content in (data, NOTE[:40] + data, CHECKPOINT[:90] + data):
            try:
                parser(content)
            except InputError:
                continue


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com/foo",
        VKEY.replace("530d903a", "530D903A"),
        VKEY.replace("530d903a", "530d903b"),
        VKEY.replace("+Aeky", "+Beky"),
        VKEY + "=",
        "exam ple+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        note_key("x", ED25519, parse_vkey(VKEY).key).vkey[:-1],
    ],
)
def test_hostile_verifier_keys_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_vkey(text)


def test_hostile_small_order_verifier_key_is_refused() -> None:
    from hashlib import sha256

    material = bytes([ED25519]) + (1).to_bytes(32, "little")
    key_id = sha256(b"log\n" + material).hexdigest()[:8]
    with pytest.raises(InputError, match="small order"):
        parse_vkey(f"log+{key_id}+{base64.b64encode(material).decode()}")


@given(
    st.integers(0, 2**62), st.lists(st.binary(min_size=32, max_size=32), max_size=6), st.none() | st.binary(max_size=9)
)
def test_proof_files_come_back(index: int, path: list[bytes], extra: bytes | None) -> None:
    proof = LogProof(index, tuple(path), CHECKPOINT, extra)
    assert parse_proof(proof.text) == proof


@pytest.mark.parametrize(
    "data",
    [
        b"c2sp.org/tlog-proof@v2\nindex 1\n\n",
        b"c2sp.org/tlog-proof@v1\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 01\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 1\n" + (ROOT + b"\n") * 64 + b"\n",
        b"c2sp.org/tlog-proof@v1\nindex 1\nextra AA==\n\n",
        b"c2sp.org/tlog-proof@v1\r\nindex 1\r\n\r\n",
    ],
)
def test_hostile_proof_files_are_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        parse_proof(data)
