"""What is stored of a log between two merges: the verifier's state, in pieces so that a commit costs what is new.

The statement digests of a log grow with its history, so they stand in chunks of 256 beside the rest of the state; a
commit rewrites the last chunks only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from dianhuan_federation.bundle import log_hash
from dianhuan_federation.core import Hub, LogState, canonical, digests, key_id
from dianhuan_sdk import InputError, StoragePort

CHUNK = 256
_NONE = bytes(32)


@dataclass(frozen=True, slots=True)
class Stored:
    """State of a log, and the digest of the hub's keys under which it was last judged; empty asks for a replay."""

    state: LogState
    judged_under: str = ""


class _Record(msgspec.Struct, frozen=True):
    judged_under: str
    state: msgspec.Raw


def _record(storage: StoragePort, origin: str) -> _Record | None:
    data = storage.state(f"log/{log_hash(origin)}")
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=_Record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the stored state of {origin} cannot be read: {error}") from None


def load_state(storage: StoragePort, origin: str) -> Stored | None:
    """What is stored of a log; None where nothing is.

    Raises:
        InputError: what is stored cannot be read; it must not pass for an empty state.
    """
    name = log_hash(origin)
    record = _record(storage, origin)
    if record is None:
        return None
    state = LogState.decode(bytes(record.state))
    known: dict[int, str] = {}
    for first in range(0, state.size, CHUNK):
        chunk = storage.state(f"digests/{name}/{first // CHUNK}") or b""
        count = min(CHUNK, state.size - first)
        if len(chunk) < 32 * count:
            raise InputError(
                f"the stored digests of {origin} end early", hint="run `dianhuan federation replica rebuild`"
            )
        for i in range(count):
            digest = chunk[32 * i : 32 * i + 32]
            if digest != _NONE:
                known[first + i] = digest.hex()
    return Stored(replace(state, digests=known), record.judged_under)


def store_state(state: LogState, before: int, judged_under: str) -> Mapping[str, bytes]:
    """State keys to commit.

    Args:
        state: the state now.
        before: verified entries when it was stored last.
        judged_under: as `fingerprint` gives it, or empty to ask for a replay.
    """
    name = log_hash(state.origin)
    record = _Record(judged_under, msgspec.Raw(replace(state, digests={}).encode()))
    keys = {f"log/{name}": msgspec.json.encode(record)}
    for first in range(before // CHUNK * CHUNK, state.size, CHUNK):
        last = min(first + CHUNK, state.size)
        keys[f"digests/{name}/{first // CHUNK}"] = b"".join(
            bytes.fromhex(state.digests[i]) if i in state.digests else _NONE for i in range(first, last)
        )
    return keys


def fingerprint(hub: Hub) -> str:
    """Digest of what the trust root says of a hub; verdicts on its entries depend on that, and on assignees' keys."""
    return digests(
        canonical(
            {
                "origins": dict(hub.origins),
                "suites": sorted(hub.required_suites),
                "keys": sorted(
                    [k.role, key_id(k.key), k.valid_from, k.valid_until, -1 if k.revoked_at is None else k.revoked_at]
                    for k in hub.keys
                ),
            }
        )
    )["sha256"]
