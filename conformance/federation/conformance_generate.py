"""Write the vectors of this folder; every byte follows from fixed seeds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from dianhuan_federation.core import (
    COSIGNATURE,
    ED25519,
    WARNING_ROWS,
    Checkpoint,
    Ed25519,
    canonical,
    consistency_proof,
    cosign,
    cosigned_at,
    decode_rows,
    encode_rows,
    format_note,
    inclusion_proof,
    key_id,
    leaf_hash,
    nodes_of,
    note_key,
    open_envelope,
    pae,
    parse,
    parse_checkpoint,
    row_root,
    seal,
    sign_note,
    tiles_of,
    tree_root,
)
from dianhuan_sdk import InputError

import conformance_sm2  # isort: skip
from conformance_world import b64, signer, warning_row  # isort: skip

HERE = Path(__file__).parent
P = 2**255 - 19
ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7


def canonical_cases() -> Iterator[dict[str, Any]]:
    """Inputs of the canonical form."""
    texts = {
        "order": '{"b":1,"a":2}',
        "utf-16 order": '{"\ufb33":1,"\U0001f600":2,"\u20ac":3,"1":4,"\\r":5}',
        "space": ' { "a" : [ 1 , true , null ] } ',
        "controls": '"\\u0000\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f\x7f"',
        "separators": '"\\u2028\\u2029"',
        "astral": '"\\ud83d\\ude00"',
        "solidus": '"\\/"',
        "largest": "9007199254740991",
        "too large": "9007199254740992",
        "float": "1.0",
        "exponent": "1e2",
        "negative zero": "-0",
        "not a number": "NaN",
        "duplicate key": '{"a":1,"a":1}',
        "lone surrogate": '"\\ud800"',
        "byte order mark": "\ufeff1",
        "deep": "[" * 18 + "]" * 18,
        "RFC 8785 section 3.2.3": json.dumps(
            {
                "\u20ac": "Euro Sign",
                "\r": "Carriage Return",
                "\ufb33": "Hebrew Letter Dalet With Dagesh",
                "1": "One",
                "\U0001f600": "Emoji: Grinning Face",
                "\x80": "Control",
                "\xf6": "Latin Small Letter O With Diaeresis",
            }
        ),
        "RFC 8785 section 3.2.2, texts": '{"string":"\\u20ac$\\u000F\\u000aA\\u0027\\u0042\\u0022\\u005c\\\\\\"\\/"}',
        "RFC 8785 section 3.2.2, numbers": '{"numbers":[333333333.33333329,1E30,4.50,2e-3]}',
        "RFC 8785 section 3.2.2, literals": '{"literals":[null,true,false]}',
    }
    for name, text in texts.items():
        data = text.encode()
        try:
            yield {"name": name, "input": b64(data), "refused": False, "output": b64(canonical(parse(data)))}
        except InputError:
            yield {"name": name, "input": b64(data), "refused": True}


def key_cases() -> Iterator[dict[str, Any]]:
    """Ed25519 keys."""
    keys = {
        "ordinary": signer("a").public.raw,
        "order 1": (1).to_bytes(32, "little"),
        "order 2": (P - 1).to_bytes(32, "little"),
        "order 4": bytes(32),
        "order 8": ORDER_8.to_bytes(32, "little"),
        "order 8 other sign": (ORDER_8 | 1 << 255).to_bytes(32, "little"),
        "y above p": (P + 3).to_bytes(32, "little"),
        "x zero with sign": (1 | 1 << 255).to_bytes(32, "little"),
        "not on the curve": (2).to_bytes(32, "little"),
    }
    for name, raw in keys.items():
        try:
            Ed25519().load(raw)
            accepted = True
        except InputError:
            accepted = False
        yield {"name": name, "public": b64(raw), "accepted": accepted}


def dsse_cases() -> Iterator[dict[str, Any]]:
    """Envelopes."""
    key = signer("a").public
    good = seal("application/vnd.in-toto+json", b'{"a":1}', [signer("a"), signer("b")])
    document = json.loads(good)
    variants = {
        "two signatures": good,
        "another payload": canonical({**document, "payload": b64(b'{"a":2}')}),
        "another type": canonical({**document, "payloadType": "application/json"}),
        "another key under the id": canonical(
            {**document, "signatures": [{"keyid": key_id(key), "sig": document["signatures"][1]["sig"]}]}
        ),
        "no signatures": canonical({**document, "signatures": []}),
        "one key id twice": canonical({**document, "signatures": document["signatures"][:1] * 2}),
        "unknown fields": canonical({**document, "later": 1}),
    }
    for name, data in variants.items():
        try:
            verifies = bool(open_envelope(data).signed_by({key_id(key): key}))
        except InputError:
            verifies = False
        yield {"name": name, "envelope": b64(data), "public": b64(key.raw), "verifies": verifies}


def pae_cases() -> Iterator[dict[str, Any]]:
    """What is signed; the first is the example of the DSSE specification."""
    for payload_type, payload in (
        ("http://example.com/HelloWorld", b"hello world"),
        ("application/vnd.in-toto+json", b""),
        ("类型", bytes(range(256))),
    ):
        yield {"payload_type": payload_type, "payload": b64(payload), "pae": b64(pae(payload_type, payload))}


def sm2_cases() -> Iterator[dict[str, Any]]:
    """Keys, messages and signatures of SM2 with SM3."""
    for case in conformance_sm2.cases():
        yield {name: b64(value) if isinstance(value, bytes) else value for name, value in case.items()}


RFC_9421_KEY = "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="
RFC_9421_SIGNATURE = "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="


def http_cases() -> Iterator[dict[str, Any]]:
    """Signed requests: the Ed25519 example of RFC 9421 B.2.6, and one in the form that hubs use."""
    example = {
        "method": "POST",
        "url": "https://example.com/foo?param=Value&Pet=dog",
        "headers": {
            "Host": "example.com",
            "Date": "Tue, 20 Apr 2021 02:07:55 GMT",
            "Content-Type": "application/json",
            "Content-Length": "18",
            "Signature-Input": 'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length")'
            ';created=1618884473;keyid="test-key-ed25519"',
            "Signature": f"sig-b26=:{RFC_9421_SIGNATURE}:",
        },
        "keyid": "test-key-ed25519",
        "public": RFC_9421_KEY,
    }
    yield {"name": "RFC 9421 B.2.6", **example, "verifies": True}
    yield {"name": "RFC 9421 B.2.6, another method", **example, "method": "PUT", "verifies": False}
    changed = {**example["headers"], "Content-Length": "19"}  # type: ignore[dict-item]
    yield {"name": "RFC 9421 B.2.6, another length", **example, "headers": changed, "verifies": False}
    key = signer("transport-440100")
    digest = f"sha-256=:{b64(sha256(b'').digest())}:"
    keyid = key_id(key.public)
    parameters = (
        '("@method" "@authority" "@target-uri" "content-digest");created=1800000000;expires=1800000300'
        f';nonce="{b64(bytes(16))}";keyid="{keyid}";tag="dianhuan-fed-1"'
    )
    url = "https://hub-430200.example/federation/pack?from=0&to=2"
    base = "\n".join(
        [
            '"@method": GET',
            '"@authority": hub-430200.example',
            f'"@target-uri": {url}',
            f'"content-digest": {digest}',
            f'"@signature-params": {parameters}',
        ]
    )
    ours = {
        "method": "GET",
        "url": url,
        "headers": {
            "Host": "hub-430200.example",
            "Content-Digest": digest,
            "Signature-Input": f"hub={parameters}",
            "Signature": f"hub=:{b64(key.sign(base.encode()))}:",
        },
        "keyid": keyid,
        "public": b64(key.public.raw),
    }
    yield {"name": "a pull between hubs", **ours, "verifies": True}
    yield {"name": "a pull, another range", **ours, "url": url.replace("to=2", "to=9"), "verifies": False}
    stranger = b64(signer("stranger").public.raw)
    yield {"name": "a pull, another key", **ours, "public": stranger, "verifies": False}


def row_cases() -> Iterator[dict[str, Any]]:
    """Payloads of the warning schema."""
    rows = [warning_row(number, score="0.9312") for number in (1, 2)]
    good = encode_rows(WARNING_ROWS, rows).payload
    variants = {
        "two rows": good,
        "no rows": b"",
        "no last newline": good[:-1],
        "unsorted": b"".join(line + b"\n" for line in reversed(good.split(b"\n")[:-1])),
        "a row twice": good + good.split(b"\n")[1] + b"\n",
        "a space": good.replace(b'":"', b'": "', 1),
        "an unknown column": good.replace(b'{"day"', b'{"a":1,"day"', 1),
        "a key twice": good.replace(b'{"day"', b'{"day":"2026-11-23","day"', 1),
        "a float": good.replace(b'"0.9312"', b"0.9312"),
        "a score above one": good.replace(b'"0.9312"', b'"1.9312"'),
        "text in NFD": good.replace("湘江".encode(), "e\u0301".encode(), 1),
        "a direction mark": good.replace("湘江".encode(), "\u202e".encode(), 1),
        "another zone": good.replace(b"06:30:00Z", b"14:30:00+08:00", 1),
        "carriage returns": good.replace(b"\n", b"\r\n"),
    }
    for name, payload in variants.items():
        count, root = payload.count(b"\n"), row_root(payload)
        try:
            decode_rows(WARNING_ROWS, payload, count=count, root=root)
            accepted = True
        except InputError:
            accepted = False
        yield {"name": name, "payload": b64(payload), "rows": count, "row_root": root.hex(), "accepted": accepted}


def tiles() -> dict[str, Any]:
    """SHA-256 of every tile of trees over `entry 0`, `entry 1`, …, by path."""
    leaves = [leaf_hash(f"entry {i}".encode()) for i in range(65_537)]
    trees = {}
    for size in (1, 255, 256, 257, 600, 65_537):
        nodes = nodes_of(leaves[:size])
        trees[str(size)] = {
            tile.path: sha256(
                b"".join(nodes(8 * (tile.level or 0), tile.index * 256 + i) for i in range(tile.width))
            ).hexdigest()
            for tile in tiles_of(size)
        }
    return {"trees": trees}


def merkle() -> dict[str, Any]:
    """Roots and proofs."""
    leaves = [leaf_hash(f"entry {i}".encode()) for i in range(65_537)]
    sizes = [*range(17), 255, 256, 257, 65_535, 65_536, 65_537]
    roots = {size: tree_root(leaves[:size]) for size in sizes}
    inclusion, consistency = [], []
    for size in (1, 2, 7, 16, 257, 65_537):
        nodes = nodes_of(leaves[:size])
        for index in sorted({0, size // 2, size - 1}):
            path = inclusion_proof(nodes, index, size)
            for holds, leaf in ((True, leaves[index]), (False, leaf_hash(b"other"))):
                case = {"size": size, "index": index, "leaf": b64(leaf), "path": [b64(p) for p in path]}
                inclusion.append({**case, "root": b64(roots[size]), "holds": holds})
        for old in (o for o in sizes if 0 < o <= size):
            proof = [b64(p) for p in consistency_proof(nodes, old, size)]
            for holds, root in ((True, roots[old]), (False, leaf_hash(b"fork"))):
                case = {"old": old, "old_root": b64(root), "new": size, "new_root": b64(roots[size])}
                consistency.append({**case, "proof": proof, "holds": holds})
    return {
        "roots": {str(size): b64(root) for size, root in roots.items()},
        "inclusion": inclusion,
        "consistency": consistency,
    }


def notes() -> dict[str, Any]:
    """Checkpoints, plain and cosigned."""
    origin = "fed.example/430200/r1"
    log = note_key(origin, ED25519, signer("log").public)
    witness = note_key("prov.example/w43", COSIGNATURE, signer("w43").public)
    root = leaf_hash(b"x")
    text = Checkpoint(origin, 3, root).text
    by_log = sign_note(text, origin, signer("log"))
    by_witness = cosign(text, witness.name, signer("w43"), 1_800_000_000)
    late = type(by_witness)(witness.name, by_witness.key_id, bytes(8) + by_witness.signature[8:])
    stranger = sign_note(text, "stranger", signer("stranger"))
    national = sign_note(text, origin, conformance_sm2.FixedSigner.named("log"))
    extended = text + b"extension\n"
    contents = {
        "plain": format_note(text, [by_log]),
        "cosigned": format_note(text, [by_log, by_witness]),
        "a stranger's signature too": format_note(text, [stranger, by_log]),
        "an SM2 line of named type too": format_note(text, [national, by_log]),
        "an SM2 line of named type only": format_note(text, [national]),
        "a stranger's signature only": format_note(text, [stranger]),
        "another time": format_note(text, [by_log, late]),
        "another size": format_note(text.replace(b"\n3\n", b"\n4\n"), [by_log]),
        "a leading zero": format_note(t := text.replace(b"\n3\n", b"\n03\n"), [sign_note(t, origin, signer("log"))]),
        "an extension line": format_note(extended, [sign_note(extended, origin, signer("log"))]),
        "carriage returns": format_note(text, [by_log]).replace(b"\n", b"\r\n"),
    }
    cases = []
    for name, data in contents.items():
        try:
            _, note = parse_checkpoint(data)
            verifies, time = note.signed_by(log), cosigned_at(note, witness)
        except InputError:
            verifies, time = False, None
        cases.append({"name": name, "checkpoint": b64(data), "verifies": verifies, "witnessed_at": time})
    return {"log": log.vkey, "witness": witness.vkey, "cases": cases}


def vectors() -> dict[str, dict[str, Any]]:
    """File name → content."""
    schema = {
        "id": WARNING_ROWS.id,
        "version": WARNING_ROWS.version,
        "digest": WARNING_ROWS.digest,
        "columns": [column.describe() for column in WARNING_ROWS.all_columns],
    }
    return {
        "canonical.json": {"cases": list(canonical_cases())},
        "keys.json": {"cases": list(key_cases())},
        "dsse.json": {"pae": list(pae_cases()), "cases": list(dsse_cases())},
        "sm2.json": {
            "sm3": [{"input": b64(case["input"]), "sm3": case["sm3"]} for case in conformance_sm2.digests()],
            "cases": list(sm2_cases()),
        },
        "http.json": {"cases": list(http_cases())},
        "tiles.json": tiles(),
        "rows.json": {"schema": schema, "cases": list(row_cases())},
        "merkle.json": merkle(),
        "notes.json": notes(),
    }


if __name__ == "__main__":
    for name, content in vectors().items():
        (HERE / name).write_text(json.dumps(content, indent=1, ensure_ascii=True) + "\n", "utf-8")
