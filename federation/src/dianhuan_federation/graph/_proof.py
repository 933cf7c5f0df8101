"""The proof of one record out of the replica's files."""

from __future__ import annotations

from dianhuan_federation.config import FederationConfig
from dianhuan_federation.core import ResultBatch, prove_record, read_payload
from dianhuan_federation.replica import ReplicaLog, read_entry
from dianhuan_sdk import InputError, PluginContext


def prove(context: PluginContext, origin: str, index: int, record_id: str) -> bytes:
    """A record proof, as `federation check-proof` takes it.

    Raises:
        InputError: no such record is kept here, or its payload was redacted.
    """
    config = context.config
    assert isinstance(config, FederationConfig)
    log = ReplicaLog((config.folder or context.folder) / "replica", origin)
    files = log.files()
    size = int(files["checkpoint"].split(b"\n")[1])
    read = read_entry(log.entry(index, size))
    if read is None or not isinstance(read[1].predicate, ResultBatch):
        raise InputError(f"entry {index} of {origin} carries no rows", hint="take origin and index from a record")
    payload = read_payload(read[1].predicate, read[1].subject, log.blobs())
    return prove_record(files, index, payload, record_id)
