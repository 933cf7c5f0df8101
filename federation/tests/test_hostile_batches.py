"""Hostile payloads: bytes that are not what was signed, bombs, and rows that are not canonical."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable
from dataclasses import replace
from hashlib import new as new_hash
from hashlib import sha256
from types import ModuleType
from typing import Any

import pytest
import rfc8785
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from dianhuan_federation.core import (
    GZIP,
    PLAIN,
    WARNING_ROWS,
    ZSTD,
    Caps,
    EntryResult,
    encode_rows,
    row_root,
)

World = ModuleType
MIB = 1024 * 1024


def judged(w: World, payload: bytes, caps: Caps | None = None, blobs: Any = None, **fields: Any) -> EntryResult:
    """The answer about one batch with that uncompressed payload and changed statement fields."""
    log = w.Log()
    log.add_policy()
    count, root = payload.count(b"\n"), row_root(payload)
    log.add(log.statement("result-batch", "warnings", log.batch_fields(payload, count, root, **fields), payload))
    log.publish()
    verifier = w.verifier() if caps is None else replace(w.verifier(), caps=caps)
    given_blobs = log.blobs if blobs is None else blobs(log.blobs)
    result: EntryResult = verifier.verify(log.submission(blobs=given_blobs)).entries[1]
    return result


def good(w: World) -> bytes:
    """A good payload."""
    return encode_rows(WARNING_ROWS, [w.warning_row(i) for i in range(1, 30)]).payload


def encoding(blob: bytes, size: int, media_type: str = GZIP, **digests: str) -> dict[str, Any]:
    """One encoding as a statement describes it."""
    digest = {"sha256": sha256(blob).hexdigest(), **digests}
    return {"media_type": media_type, "digest": digest, "size": len(blob), "uncompressed_size": size}


def sent(w: World, blob: bytes, size: int, media_type: str = GZIP, caps: Caps | None = None) -> EntryResult:
    """The answer about a batch whose signed blob is this one."""
    return judged(
        w, good(w), caps, lambda _: {sha256(blob).hexdigest(): blob}, encodings=[encoding(blob, size, media_type)]
    )


def _changed(w: World, change: Callable[[bytes], bytes]) -> EntryResult:
    return judged(w, good(w), blobs=lambda blobs: {name: change(blob) for name, blob in blobs.items()})


def zstd(data: bytes, **how: Any) -> bytes:
    """A zstd frame."""
    return zstandard.ZstdCompressor(**how).compress(data)


def zstd_without_size(data: bytes) -> bytes:
    """A zstd frame that does not say how long its content is."""
    stream = zstandard.ZstdCompressor(level=19, write_content_size=False).compressobj()
    return stream.compress(data) + stream.flush()


def zstd_window(data: bytes) -> bytes:
    """A zstd frame that asks the reader for a window of 1 GiB."""
    parameters = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=False)
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    target = io.BytesIO()
    with compressor.stream_writer(target, closefd=False) as writer:
        writer.write(data)
    return target.getvalue()


Case = tuple[str, Callable[[World], EntryResult]]

BYTES: dict[str, Case] = {
    "payload missing": ("E-MISSING pending", lambda w: judged(w, good(w), blobs=lambda b: {})),
    "payload under another digest": (
        "E-MISSING pending",
        lambda w: judged(w, good(w), blobs=lambda b: {"0" * 64: next(iter(b.values()))}),
    ),
    "an encoding nobody knows": (
        "E-MISSING pending",
        lambda w: judged(w, good(w), media_type="application/x-parquet"),
    ),
    "payload cut off": ("E-DIGEST rejected", lambda w: _changed(w, lambda b: b[:-1])),
    "payload with one byte more": ("E-DIGEST rejected", lambda w: _changed(w, lambda b: b + b"\0")),
    "payload with a flipped bit": (
        "E-DIGEST rejected",
        lambda w: _changed(w, lambda b: b[:-9] + bytes([b[-9] ^ 1]) + b[-8:]),
    ),
    "payload of nothing": ("E-DIGEST rejected", lambda w: _changed(w, lambda b: b"")),
    "another batch's payload": (
        "E-DIGEST rejected",
        lambda w: sent(w, gzip.compress(good(w)[:-1] + b" \n", mtime=0), len(good(w)) + 1),
    ),
    "a size that is not the blob's": (
        "E-DIGEST rejected",
        lambda w: judged(
            w,
            good(w),
            encodings=[{**encoding(gzip.compress(good(w), mtime=0), len(good(w))), "size": 7}],
        ),
    ),
    "another SM3": (
        "E-DIGEST rejected",
        lambda w: judged(w, good(w), encodings=[encoding(gzip.compress(good(w), mtime=0), len(good(w)), sm3="0" * 64)]),
    ),
    "an encoding without SHA-256": (
        "E-MISSING pending",
        lambda w: judged(
            w,
            good(w),
            encodings=[{**encoding(gzip.compress(good(w), mtime=0), len(good(w))), "digest": {"md5": "0" * 32}}],
        ),
    ),
    "less inside than declared": (
        "E-DIGEST rejected",
        lambda w: sent(w, gzip.compress(good(w), mtime=0), len(good(w)) + 1),
    ),
    "gzip that is none": ("E-DIGEST rejected", lambda w: sent(w, b"not compressed at all", 100)),
    "zstd that is none": ("E-DIGEST rejected", lambda w: sent(w, b"not compressed at all", 100, ZSTD)),
    "gzip with a wrong checksum": (
        "E-DIGEST rejected",
        lambda w: sent(w, gzip.compress(good(w), mtime=0)[:-8] + b"\0" * 8, len(good(w))),
    ),
    "gzip without its end": ("E-BOMB rejected", lambda w: sent(w, gzip.compress(good(w), mtime=0)[:-8], len(good(w)))),
    "zstd without its end": ("E-BOMB rejected", lambda w: sent(w, zstd(good(w))[:-3], len(good(w)), ZSTD)),
    "gzip bomb that says so": ("E-BOMB rejected", lambda w: sent(w, gzip.compress(bytes(32 * MIB)), 32 * MIB)),
    "gzip bomb that does not": ("E-BOMB rejected", lambda w: sent(w, gzip.compress(bytes(32 * MIB)), 5000)),
    "gzip bomb of two members": (
        "E-BOMB rejected",
        lambda w: sent(w, gzip.compress(good(w), mtime=0) + gzip.compress(bytes(MIB)), len(good(w))),
    ),
    "gzip with rubbish after it": (
        "E-BOMB rejected",
        lambda w: sent(w, gzip.compress(good(w), mtime=0) + b"rubbish", len(good(w))),
    ),
    "zstd bomb that says so": ("E-BOMB rejected", lambda w: sent(w, zstd(bytes(64 * MIB), level=1), 64 * MIB, ZSTD)),
    "zstd bomb that does not": ("E-BOMB rejected", lambda w: sent(w, zstd(bytes(256 * MIB), level=1), 5000, ZSTD)),
    "zstd bomb without a content size": (
        "E-BOMB rejected",
        lambda w: sent(w, zstd_without_size(bytes(64 * MIB)), 5000, ZSTD),
    ),
    "zstd of two frames": ("E-BOMB rejected", lambda w: sent(w, zstd(good(w)) + zstd(b"more"), len(good(w)), ZSTD)),
    "zstd with rubbish after it": (
        "E-BOMB rejected",
        lambda w: sent(w, zstd(good(w)) + b"x" * 200, len(good(w)), ZSTD),
    ),
    "zstd that wants a window of 1 GiB": (
        "E-DIGEST rejected",
        lambda w: sent(w, zstd_window(good(w)), len(good(w)), ZSTD),
    ),
    "a payload larger than the cap": (
        "E-BOMB rejected",
        lambda w: sent(w, good(w), len(good(w)), PLAIN, Caps(payload=1000)),
    ),
    "a declared size of 2^53-1": ("E-BOMB rejected", lambda w: sent(w, good(w), 2**53 - 1, PLAIN)),
    "gzip inside gzip": (
        "E-DIGEST rejected",
        lambda w: sent(
            w, gzip.compress(gzip.compress(good(w), mtime=0), mtime=0), len(gzip.compress(good(w), mtime=0))
        ),
    ),
    "gzip inside gzip, signed as the payload": (
        "E-ROWS rejected",
        lambda w: judged(w, gzip.compress(good(w), mtime=0), rows=29),
    ),
}


@pytest.mark.parametrize("name", BYTES)
def test_hostile_payload_ends_as_the_matrix_says(world: World, name: str) -> None:
    expected, build = BYTES[name]
    result = build(world)
    assert f"{result.verdict.code} {result.verdict.state}" == expected, result.verdict.detail
    assert result.rows == ()


ROWS: dict[str, Callable[[World, list[bytes]], list[bytes]]] = {
    "unsorted": lambda w, lines: lines[::-1],
    "one record twice": lambda w, lines: [lines[0], *lines],
    "a float": lambda w, lines: [lines[0].replace(b'"0.0001"', b"0.0001"), *lines[1:]],
    "a negative zero": lambda w, lines: [lines[0].replace(b'"0.0001"', b'"-0.0000"'), *lines[1:]],
    "out of range": lambda w, lines: [lines[0].replace(b'"0.0001"', b'"1.0001"'), *lines[1:]],
    "not a number": lambda w, lines: [lines[0].replace(b'"0.0001"', b'"NaN"'), *lines[1:]],
    "an unknown column": lambda w, lines: [rfc8785.dumps({**w.warning_row(1), "meter_no": "4300000001"}), *lines[1:]],
    "a load curve in a column": lambda w, lines: [
        rfc8785.dumps({**w.warning_row(1), "industry": [1, 2, 3]}),
        *lines[1:],
    ],
    "a missing column": lambda w, lines: [
        rfc8785.dumps({k: v for k, v in w.warning_row(1).items() if k != "day"}),
        *lines[1:],
    ],
    "a name in NFD": lambda w, lines: [rfc8785.dumps(w.warning_row(1, enterprise_name="Ame\u0301lie")), *lines[1:]],
    "a reversed name": lambda w, lines: [rfc8785.dumps(w.warning_row(1, enterprise_name="\u202eexe")), *lines[1:]],
    "a key twice": lambda w, lines: [lines[0].replace(b'{"day"', b'{"day":"2026-11-23","day"'), *lines[1:]],
    "blank lines": lambda w, lines: [lines[0], b"", *lines[1:]],
    "a formula for an enterprise": lambda w, lines: [rfc8785.dumps(w.warning_row(1, enterprise="=1+1")), *lines[1:]],
}


@pytest.mark.parametrize("name", ROWS)
def test_hostile_rows_refuse_the_whole_batch(world: World, name: str) -> None:
    lines = good(world).split(b"\n")[:-1]
    changed = ROWS[name](world, lines)
    assert changed != lines
    result = judged(world, b"".join(line + b"\n" for line in changed))
    assert (result.verdict.step, result.verdict.code, result.verdict.state) == ("V10", "E-ROWS", "rejected")


@pytest.mark.parametrize("fields", [{"rows": 28}, {"rows": 30}, {"row_root": "0" * 64}], ids=["fewer", "more", "root"])
def test_hostile_counts_and_roots_refuse_the_whole_batch(world: World, fields: dict[str, Any]) -> None:
    result = judged(world, good(world), **fields)
    assert (result.verdict.step, result.verdict.code) == ("V10", "E-ROWS")


@pytest.mark.parametrize(
    ("media_type", "compress"),
    [
        (PLAIN, bytes),
        (GZIP, gzip.compress),
        (ZSTD, zstd),
        (ZSTD, zstd_without_size),
        (GZIP, lambda d: gzip.compress(d, 1)),
    ],
    ids=["plain", "gzip", "zstd", "zstd without size", "gzip fast"],
)
def test_the_same_rows_in_any_encoding(world: World, media_type: str, compress: Callable[[bytes], bytes]) -> None:
    result = judged(world, good(world), media_type=media_type, compress=compress)
    assert result.verdict.code is None
    assert result.payload == good(world)
    assert len(result.rows) == 29


def test_a_right_sm3_is_checked_and_accepted(world: World) -> None:
    blob = gzip.compress(good(world), mtime=0)
    digest = new_hash("sm3", blob).hexdigest()
    result = judged(world, good(world), encodings=[encoding(blob, len(good(world)), sm3=digest)])
    assert result.verdict.code is None


def test_one_bad_batch_does_not_stop_the_next(world: World) -> None:
    log = world.usual_log(3)
    names = list(log.blobs)
    log.blobs[names[1]] = b"damaged"
    report = world.verifier().verify(log.submission())
    assert [e.verdict.code for e in report.entries] == [None, None, "E-DIGEST", None]


def test_a_payload_that_comes_later_is_judged_then(world: World) -> None:
    log = world.usual_log(1)
    verifier = world.verifier()
    report = verifier.verify(log.submission(blobs={}))
    pending = report.entries[1]
    assert pending.verdict.code == "E-MISSING"
    resumed = verifier.resume(pending, log.blobs, report.state)
    assert resumed.verdict.code is None
    assert len(resumed.rows) == 3
    assert verifier.resume(pending, {}, report.state).verdict.code == "E-MISSING"


def test_hostile_policy_withdrawn_while_the_payload_was_away(world: World) -> None:
    log = world.usual_log(1)
    verifier = world.verifier()
    first = verifier.verify(log.submission(blobs={}))
    target = {"index": 0, "digest": log.digests[0], "record_ids": []}
    log.add(log.statement("retraction", "r", {"targets": [target], "reason": "r", "legal_basis": "l"}))
    log.publish(world.NOW - 60)
    second = verifier.verify(log.submission(blobs={}), first.state)
    resumed = verifier.resume(first.entries[1], log.blobs, second.state)
    assert (resumed.verdict.code, resumed.rows) == ("E-POLICY", ())


def test_a_correction_of_earlier_rows_is_accepted(world: World) -> None:
    log = world.usual_log(1)
    target = {"index": 1, "digest": log.digests[1], "record_ids": ["w-000001"]}
    log.add_batch([world.warning_row(1, score="0.5000")], kind="correction", supersedes=[target], reason="typing error")
    log.add(log.statement("retraction", "r", {"targets": [target], "reason": "r", "legal_basis": "l"}))
    log.add(log.statement("retraction", "r", {"targets": [target], "reason": "again", "legal_basis": "l"}))
    log.publish(world.NOW - 60)
    report = world.verifier().verify(log.submission())
    assert [e.verdict.code for e in report.entries] == [None] * 5
    assert log.digests[1] in report.state.book.retracted


@settings(max_examples=60)
@given(st.binary(max_size=400), st.sampled_from([GZIP, ZSTD, PLAIN]), st.integers(0, 500))
def test_hostile_random_blobs_never_crash(world: World, blob: bytes, media_type: str, size: int) -> None:
    result = sent(world, blob, size, media_type)
    assert result.verdict.code in ("E-DIGEST", "E-BOMB")


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_hostile_random_entries_never_crash(world: World, data: bytes) -> None:
    log = world.Log()
    log.add_raw(data)
    log.publish()
    assert world.verifier().verify(log.submission()).entries[0].verdict.code == "E-SIG"


@settings(max_examples=40)
@given(st.binary(max_size=200), st.integers(0, 100), st.integers(0, 400))
def test_hostile_random_damage_to_a_deflate_stream_never_crashes(
    world: World, junk: bytes, place: int, size: int
) -> None:
    stream = zlib.compress(good(world), wbits=31)
    result = sent(world, stream[:place] + junk + stream[place + len(junk) :], size)
    assert result.rows == () or result.payload == good(world)
