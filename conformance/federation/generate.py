"""Write the vectors of this folder; every byte follows from fixed seeds."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from dianhuan_federation.core import (
    WARNING_ROWS,
    Ed25519,
    Ed25519Signer,
    canonical,
    decode_rows,
    encode_rows,
    key_id,
    open_envelope,
    parse,
    row_root,
    seal,
)
from dianhuan_sdk import InputError

HERE = Path(__file__).parent
P = 2**255 - 19
ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7


def b64(data: bytes) -> str:
    """Base64 text."""
    return base64.b64encode(data).decode()


def signer(name: str) -> Ed25519Signer:
    """The signer of that name, as the tests use it."""
    return Ed25519Signer(sha256(f"test key {name}".encode()).digest())


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
    rows = [
        {
            "record_id": f"w-{number:06d}",
            "enterprise": "91430100MA4L16JK8X",
            "enterprise_name": "湘江化工有限公司",
            "division": "430200",
            "industry": "C2614",
            "day": "2026-11-23",
            "model_id": "m05-night-only",
            "model_version": "1.2",
            "score": "0.9312",
            "raised_at": "2026-11-24T06:30:00Z",
        }
        for number in (1, 2)
    ]
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
    }


if __name__ == "__main__":
    for name, content in vectors().items():
        (HERE / name).write_text(json.dumps(content, indent=1, ensure_ascii=True) + "\n", "utf-8")
