"""V9 and V10: the payload's bytes, then its rows."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import zstandard

from dianhuan_federation.core._rows import decode_rows
from dianhuan_federation.core._schema import RowSchema, Schemas
from dianhuan_federation.core._statements import Correction, Encoding, Head, Redaction, ResultBatch, Retraction
from dianhuan_federation.core._verdicts import Code, Refused, State, Step
from dianhuan_sdk import InputError

PLAIN = "application/x-ndjson"
GZIP = "application/x-ndjson+gzip"
ZSTD = "application/x-ndjson+zstd"
MEDIA_TYPES = (PLAIN, GZIP, ZSTD)
PARQUET = "application/vnd.apache.parquet"
"""A second encoding of the same rows, which this core never opens; see `Decoders`."""

Decoders = Mapping[str, Callable[[bytes, RowSchema, int], bytes]]
"""Media type → `decode(blob, schema, size)`, which gives canonical rows or raises `Refused`; in another process."""

_ZSTD_WINDOW = 8 * 1024 * 1024
_ZSTD_SLICE = 64
"""Input bytes fed at once: each can hold at most 16 blocks of 128 KiB, so the overshoot stays below 3 MiB."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Limits on one payload.

    Args:
        payload: most uncompressed bytes.
        ratio: most uncompressed bytes per transported byte.
    """

    payload: int = 64 * 1024 * 1024
    ratio: int = 200


def v9_targets(index: int, predicate: Head, digests: Mapping[int, str]) -> None:
    """V9 for statements about earlier ones: what they refer to is there.

    Raises:
        Refused: `E-MISSING`, pending.
    """
    targets = []
    if isinstance(predicate, (Retraction, Redaction)):
        targets = predicate.targets
    elif isinstance(predicate, Correction):
        targets = predicate.supersedes
    for target in targets:
        if target.index >= index or digests.get(target.index) != target.digest:
            raise _missing(f"entry {index} refers to entry {target.index}, which is not that statement")


def v9_blob(
    batch: ResultBatch,
    subject: Mapping[str, str],
    blobs: Mapping[str, bytes],
    caps: Caps,
    schemas: Schemas,
    decoders: Decoders,
) -> bytes:
    """V9: the payload: length, digests, then bounded decompression, then the digests of what came out.

    Args:
        batch: the statement.
        subject: digests of the uncompressed payload.
        blobs: SHA-256 in hex → bytes.
        caps: limits.
        schemas: known row schemas.
        decoders: of further encodings.

    Raises:
        Refused: `E-MISSING`, pending; `E-DIGEST`; `E-BOMB`; what a decoder raises.
    """
    for encoding in batch.encodings:
        digest = encoding.digest.get("sha256", "")
        if (encoding.media_type in MEDIA_TYPES or encoding.media_type in decoders) and digest in blobs:
            blob = blobs[digest]
            break
    else:
        raise _missing("the payload is not at hand in an encoding known here")
    if len(blob) != encoding.size:
        raise _differs(f"a payload of {len(blob)} bytes", f"{encoding.size}")
    _check_digests(blob, encoding.digest)
    declared = encoding.uncompressed_size
    if declared > caps.payload or declared > caps.ratio * max(1, len(blob)):
        raise Refused(
            Step.V9,
            Code.BOMB,
            f"{len(blob)} bytes that declare {declared}",
            expected=f"at most {caps.payload} bytes and {caps.ratio} times the transported size",
        )
    decode = decoders.get(encoding.media_type)
    if decode is None:
        payload = _decompress(encoding, blob)
    else:
        payload = decode(blob, schemas[batch.schema.id, batch.schema.version], declared)
    _check_digests(payload, subject)
    return payload


def _decompress(encoding: Encoding, blob: bytes) -> bytes:
    declared = encoding.uncompressed_size
    try:
        if encoding.media_type == GZIP:
            payload, whole = _gunzip(blob, declared)
        elif encoding.media_type == ZSTD:
            payload, whole = _unzstd(blob, declared)
        else:
            payload, whole = blob, True
    except (zlib.error, zstandard.ZstdError) as error:
        raise _differs(f"a payload that cannot be decompressed: {error}", encoding.media_type) from None
    if len(payload) > declared or not whole:
        raise Refused(
            Step.V9,
            Code.BOMB,
            "a payload with more in it than it declares",
            expected=f"one compressed stream of exactly {declared} bytes",
        )
    if len(payload) != declared:
        raise _differs(f"{len(payload)} bytes after decompression", f"the {declared} declared")
    return payload


def _gunzip(blob: bytes, declared: int) -> tuple[bytes, bool]:
    stream = zlib.decompressobj(wbits=31)
    payload = stream.decompress(blob, declared + 1)
    return payload, len(payload) > declared or (stream.eof and not stream.unused_data)


def _unzstd(blob: bytes, declared: int) -> tuple[bytes, bool]:
    stream = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
    parts: list[bytes] = []
    total = place = 0
    while place < len(blob) and not stream.eof and total <= declared:
        parts.append(stream.decompress(blob[place : place + _ZSTD_SLICE]))
        total += len(parts[-1])
        place += _ZSTD_SLICE
    return b"".join(parts), stream.eof and not stream.unused_data and place >= len(blob)


def _check_digests(data: bytes, digests: Mapping[str, str]) -> None:
    """SHA-256 must be there and right, SM3 right where it is there; other algorithms are not relied on."""
    if hashlib.sha256(data).hexdigest() != digests.get("sha256"):
        raise _differs("a payload with another SHA-256", "the digest that was signed")
    if "sm3" in digests and hashlib.new("sm3", data).hexdigest() != digests["sm3"]:
        raise _differs("a payload with another SM3", "the digest that was signed")


def v10_rows(batch: ResultBatch, payload: bytes, schemas: Schemas) -> Sequence[msgspec.Struct]:
    """V10: exactly the rows that were signed, in canonical form, within their schema.

    Raises:
        Refused: `E-ROWS`: the whole batch.
    """
    schema = schemas[batch.schema.id, batch.schema.version]
    try:
        return decode_rows(schema, payload, count=batch.rows, root=bytes.fromhex(batch.row_root))
    except InputError as error:
        raise Refused(Step.V10, Code.ROWS, str(error)) from None


def _missing(message: str) -> Refused:
    return Refused(Step.V9, Code.MISSING, message, state=State.PENDING)


def _differs(message: str, expected: str) -> Refused:
    return Refused(Step.V9, Code.DIGEST, message, expected=expected)


def read_payload(batch: ResultBatch, subject: Mapping[str, str], blobs: Mapping[str, bytes]) -> bytes:
    """The rows of a batch that was verified before, from the payloads kept, with length and digests checked again.

    Raises:
        InputError: none of its encodings known here is kept, or what is kept is damaged.
    """
    try:
        return v9_blob(batch, subject, blobs, Caps(), {}, {})
    except Refused as refused:
        raise InputError(f"the payload cannot be read: {refused.message}", hint="it may have been redacted") from None
