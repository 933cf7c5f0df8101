"""Write the vectors of this folder; every byte follows from fixed seeds."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
    parse,
    parse_checkpoint,
    row_root,
    seal,
    sign_note,
    tree_root,
)
from dianhuan_sdk import InputError

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
    extended = text + b"extension\n"
    contents = {
        "plain": format_note(text, [by_log]),
        "cosigned": format_note(text, [by_log, by_witness]),
        "a stranger's signature too": format_note(text, [stranger, by_log]),
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
        "dsse.json": {"cases": list(dsse_cases())},
        "rows.json": {"schema": schema, "cases": list(row_cases())},
        "merkle.json": merkle(),
        "notes.json": notes(),
    }


if __name__ == "__main__":
    for name, content in vectors().items():
        (HERE / name).write_text(json.dumps(content, indent=1, ensure_ascii=True) + "\n", "utf-8")
