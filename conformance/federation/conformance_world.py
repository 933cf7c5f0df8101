"""A small federation with fixed keys and times: trust repository, witnesses, logs. Vectors and tests are made of it."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from dianhuan_federation.core import (
    COSIGNATURE,
    GZIP,
    PAYLOAD_TYPE,
    WARNING_ROWS,
    Checkpoint,
    Ed25519Signer,
    LogState,
    Refused,
    RowSchema,
    Submission,
    Verdict,
    Verifier,
    bundles_of,
    canonical,
    cosign,
    encode_rows,
    format_note,
    leaf_hash,
    load_trust,
    nodes_of,
    note_key,
    pack_entries,
    parse_policy,
    seal,
    sign_note,
    statement_digest,
    tiles_of,
    tree_root,
)

NOW = 1_800_000_000
DAY = 86_400
HUB, ORIGIN = "430200", "fed.example/430200/r1"
READER = "440100"
WITNESSES = ("w43", "w44", "w45")
ROLES = ("log", "publisher", "transport")
PREFIX = "urn:dianhuan:federation:"


def seed(name: str) -> bytes:
    """The private seed of that name."""
    return sha256(f"test key {name}".encode()).digest()


def signer(name: str) -> Ed25519Signer:
    """The signer of that name."""
    return Ed25519Signer(seed(name))


def iso(seconds: int) -> str:
    """RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def b64(data: bytes) -> str:
    """Base64 text."""
    return base64.b64encode(data).decode()


def key_entry(role: str, name: str, **changes: Any) -> dict[str, Any]:
    """One key of a hub file."""
    return {
        "role": role,
        "suite": "ed25519",
        "public": b64(signer(name).public.raw),
        "valid_from": iso(NOW - 300 * DAY),
        "valid_until": iso(NOW + 300 * DAY),
        "revoked_at": None,
        "reason": "",
        **changes,
    }


def hub_file(hub: str, **changes: Any) -> dict[str, Any]:
    """A hub file; the keys are named `<role>-<hub>`."""
    return {
        "hub": hub,
        "name": f"hub {hub}",
        "origins": [{"origin": f"fed.example/{hub}/r1", "inception": iso(NOW - 200 * DAY)}],
        "keys": [key_entry(role, f"{role}-{hub}") for role in ROLES],
        "required_suites": ["ed25519"],
        "endpoints": [f"https://hub-{hub}.example/"],
        **changes,
    }


def tuf_signer(name: str) -> CryptoSigner:
    """A TUF signer of that name."""
    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(seed(f"tuf {name}")))


def metadata(signed: Any, names: Iterable[str]) -> bytes:
    """Signed TUF metadata."""
    document = Metadata(signed)
    for name in names:
        document.sign(tuf_signer(name), append=True)
    return document.to_bytes(JSONSerializer(compact=True))


@dataclass
class TrustBuilder:
    """Builds a trust repository; each field is something that a hostile variant changes."""

    hubs: dict[str, dict[str, Any]] = field(default_factory=lambda: {h: hub_file(h) for h in (HUB, READER)})
    roots: int = 1
    version: int = 1
    expires: dict[str, int] = field(default_factory=dict)
    signers: dict[str, Sequence[str]] = field(default_factory=dict)
    paths: dict[str, list[str]] = field(default_factory=dict)
    foreign: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    provinces: tuple[str, ...] = ("prov-43", "prov-44")

    def _expires(self, role: str) -> datetime:
        return datetime.fromtimestamp(self.expires.get(role, NOW + 30 * DAY), UTC)

    def _names(self, role: str) -> Sequence[str]:
        defaults = {"root": ("root-1", "root-2", "root-3"), "targets": ("root-1", "root-2", "root-3")}
        return self.signers.get(role, defaults.get(role, (f"{role}-1", f"{role}-2") if "prov" in role else (role,)))

    def root(self, version: int) -> Root:
        """The signed part of one root version."""
        root = Root(version=version, expires=self._expires("root"), consistent_snapshot=True)
        for role, names, threshold in (
            ("root", [f"root-{i}" for i in range(1, 6)], 3),
            ("targets", [f"root-{i}" for i in range(1, 6)], 3),
            ("snapshot", ["snapshot"], 1),
            ("timestamp", ["timestamp"], 1),
        ):
            root.roles[role] = Role([], threshold)
            for name in names:
                root.add_key(tuf_signer(name).public_key, role)
        return root

    def bootstrap(self) -> bytes:
        """Root 1, as it is handed over in person."""
        return metadata(self.root(1), ("root-1", "root-2", "root-3"))

    def build(self) -> dict[str, bytes]:
        """The repository: path → bytes."""
        files = {f"{v}.root.json": metadata(self.root(v), self._names("root")) for v in range(1, self.roots + 1)}
        roles, keys = {}, {}
        for name in self.provinces:
            signers = [tuf_signer(f"{name}-{i}") for i in (1, 2, 3)]
            keys.update({s.public_key.keyid: s.public_key for s in signers})
            roles[name] = DelegatedRole(
                name, [s.public_key.keyid for s in signers], 2, True, self.paths.get(name, [f"hubs/{name[-2:]}/*"])
            )
        targets = Targets(self.version, expires=self._expires("targets"), delegations=Delegations(keys, roles))
        metas = {"targets.json": MetaFile(self.version)}
        files[f"{self.version}.targets.json"] = metadata(targets, self._names("targets"))
        for name in self.provinces:
            province = Targets(self.version, expires=self._expires(name))
            contents = {f"hubs/{name[-2:]}/{h}.json": f for h, f in self.hubs.items() if h[:2] == name[-2:]}
            contents.update(self.foreign.get(name, {}))
            for path, content in contents.items():
                data = json.dumps(content).encode()
                province.targets[path] = TargetFile.from_data(path, data, ["sha256"])
                folder, _, file = path.rpartition("/")
                files[f"targets/{folder}/{sha256(data).hexdigest()}.{file}"] = data
            metas[f"{name}.json"] = MetaFile(self.version)
            files[f"{self.version}.{name}.json"] = metadata(province, self._names(name))
        snapshot = Snapshot(self.version, expires=self._expires("snapshot"), meta=metas)
        files[f"{self.version}.snapshot.json"] = metadata(snapshot, self._names("snapshot"))
        timestamp = Timestamp(self.version, expires=self._expires("timestamp"), snapshot_meta=MetaFile(self.version))
        files["timestamp.json"] = metadata(timestamp, self._names("timestamp"))
        return files


def policy_text(quorum: str = "quorum provinces", threshold: str = "2") -> bytes:
    """A witness policy: two of three provinces."""
    keys = [note_key(f"prov.example/{name}", COSIGNATURE, signer(name).public).vkey for name in WITNESSES]
    lines = [f"witness {name} {key}" for name, key in zip(WITNESSES, keys, strict=True)]
    return "\n".join([*lines, f"group provinces {threshold} {' '.join(WITNESSES)}", quorum, ""]).encode()


def warning_row(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A valid row of the warning schema."""
    return {
        "record_id": f"w-{number:06d}",
        "enterprise": "91430100MA4L16JK8X",
        "enterprise_name": "湘江化工有限公司",
        "division": "430200",
        "industry": "C2614",
        "day": "2026-11-23",
        "model_id": "m05-night-only",
        "model_version": "1.2",
        "score": f"0.{number % 10000:04d}",
        "raised_at": "2026-11-24T06:30:00Z",
        **changes,
    }


def schema_ref(schema: RowSchema = WARNING_ROWS) -> dict[str, str]:
    """How a statement names a row schema."""
    return {"id": schema.id, "version": schema.version, "digest": schema.digest}


class Log:
    """A hub's log in memory."""

    def __init__(self, hub: str = HUB, origin: str | None = None) -> None:
        self.hub = hub
        self.origin = origin or f"fed.example/{hub}/r1"
        self.entries: list[bytes] = []
        self.heads: list[bytes] = []
        self.blobs: dict[str, bytes] = {}
        self.streams: dict[str, tuple[int, str]] = {}
        self.digests: list[str] = []

    def statement(
        self, kind: str, stream: str, fields: Mapping[str, Any], payload: bytes | None = None, **head: Any
    ) -> bytes:
        """Statement bytes, next of their stream unless `head` says otherwise."""
        last, digest = self.streams.get(stream, (0, None))
        predicate = {
            "origin": self.origin,
            "stream": stream,
            "stream_seq": last + 1,
            "prev_statement_digest": digest,
            "issued_at": iso(NOW - 2 * DAY),
            **fields,
            **head,
        }
        subject = canonical(predicate) if payload is None else payload
        return canonical(
            {
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [{"name": "_", "digest": {"sha256": sha256(subject).hexdigest()}}],
                "predicateType": f"{PREFIX}{kind}" + ("" if ":" in kind else ":v1"),
                "predicate": predicate,
            }
        )

    def add(self, statement: bytes, signers: Sequence[str] | None = None, payload_type: str = PAYLOAD_TYPE) -> int:
        """Sign a statement, append it, and count it in its stream."""
        names = signers if signers is not None else [f"publisher-{self.hub}"]
        return self.add_raw(seal(payload_type, statement, [signer(name) for name in names]), statement)

    def add_raw(self, entry: bytes, statement: bytes = b"") -> int:
        """Append any bytes."""
        self.entries.append(entry)
        self.digests.append(statement_digest(statement))
        if statement:
            predicate = json.loads(statement).get("predicate", {})
            if "stream" in predicate:
                self.streams[predicate["stream"]] = (predicate["stream_seq"], statement_digest(statement))
        return len(self.entries) - 1

    def policy_fields(self, **changes: Any) -> dict[str, Any]:
        """Fields of a share policy for the stream `warnings`."""
        return {
            "id": "warnings-to-all",
            "version": 1,
            "target": "warnings",
            "class": "unconditional",
            "purpose": "joint enforcement",
            "onward": False,
            "schema": schema_ref(),
            "fields": [c.name for c in WARNING_ROWS.columns],
            "valid_from": iso(NOW - 150 * DAY),
            "valid_until": iso(NOW + 150 * DAY),
            **changes,
        }

    def add_policy(self, **changes: Any) -> int:
        """Log a share policy."""
        return self.add(self.statement("share-policy", "policies", self.policy_fields(**changes)))

    def add_grant(self, policy: int, signers: Sequence[str] | None = None, **changes: Any) -> int:
        """Log a grant to the reader under a logged policy."""
        fields = {
            "id": "grant-1",
            "policy": {"id": "warnings-to-all", "digest": self.digests[policy]},
            "assigner": self.hub,
            "assignee": READER,
            "purpose": "joint enforcement",
            "valid_from": iso(NOW - 150 * DAY),
            "valid_until": iso(NOW + 150 * DAY),
            **changes,
        }
        both = [f"publisher-{self.hub}", f"publisher-{READER}"]
        return self.add(self.statement("grant", "grants", fields), signers or both)

    def batch_fields(
        self,
        payload: bytes,
        count: int,
        root: bytes,
        policy: int = 0,
        media_type: str = GZIP,
        compress: Callable[[bytes], bytes] = lambda data: gzip.compress(data, mtime=0),
        **changes: Any,
    ) -> dict[str, Any]:
        """Fields of a batch; its blob is kept."""
        blob = compress(payload)
        digest = sha256(blob).hexdigest()
        self.blobs[digest] = blob
        encoding = {
            "media_type": media_type,
            "digest": {"sha256": digest},
            "size": len(blob),
            "uncompressed_size": len(payload),
        }
        return {
            "schema": schema_ref(),
            "period": {"start": iso(NOW - 3 * DAY), "end": iso(NOW - 2 * DAY)},
            "rows": count,
            "row_root": root.hex(),
            "encodings": [encoding],
            "model": None,
            "standard": None,
            "policy": {
                "id": "warnings-to-all",
                "digest": self.digests[policy] if policy < len(self.digests) else "0" * 64,
            },
            "disclosure": {"rule": "none", "k": 0, "p": 0, "suppressed": 0, "precision": "exact"},
            "inputs": {"commitment": None, "expected": 96, "present": 96, "late": 0},
            "software": {"id": "dianhuan", "version": "0.1.0", "digest": "0" * 64},
            **changes,
        }

    def add_batch(
        self, rows: Sequence[dict[str, Any]], kind: str = "result-batch", stream: str = "warnings", **changes: Any
    ) -> int:
        """Log a batch of warning rows."""
        batch = encode_rows(WARNING_ROWS, rows)
        fields = self.batch_fields(batch.payload, batch.count, batch.root, **changes)
        return self.add(self.statement(kind, stream, fields, batch.payload))

    def publish(
        self,
        at: int = NOW - 3600,
        witnesses: Sequence[str] = WITNESSES,
        log: str | None = None,
        size: int | None = None,
    ) -> bytes:
        """Sign a checkpoint over the entries so far and have it cosigned at that time."""
        count = len(self.entries) if size is None else size
        root = tree_root([leaf_hash(entry) for entry in self.entries[:count]])
        text = Checkpoint(self.origin, count, root).text
        lines = [sign_note(text, self.origin, signer(log or f"log-{self.hub}"))]
        lines += [cosign(text, f"prov.example/{name}", signer(name), at) for name in witnesses]
        self.heads.append(format_note(text, lines))
        return self.heads[-1]

    def tiles(self) -> dict[str, bytes]:
        """All tiles and entry bundles of the present tree."""
        size = len(self.entries)
        nodes = nodes_of([leaf_hash(entry) for entry in self.entries])
        files = {
            tile.path: b"".join(nodes(8 * (tile.level or 0), tile.index * 256 + i) for i in range(tile.width))
            for tile in tiles_of(size)
        }
        for bundle in bundles_of(size):
            files[bundle.path] = pack_entries(self.entries[bundle.index * 256 : bundle.index * 256 + bundle.width])
        return files

    def submission(self, **changes: Any) -> Submission:
        """What this log would send to one who knows nothing yet."""
        given = {"origin": self.origin, "checkpoint": self.heads[-1], "earlier": self.heads[:-1], "tiles": self.tiles()}
        return Submission(**{**given, "blobs": self.blobs, **changes})


def verifier(
    trust: TrustBuilder | None = None, now: int = NOW, policy: bytes | None = None, **changes: Any
) -> Verifier:
    """A verifier in province 44 that trusts the whole small federation."""
    builder = trust or TrustBuilder()
    loaded = load_trust(builder.bootstrap(), builder.build(), now, denied=changes.pop("denied", ()))
    return Verifier(loaded, parse_policy(policy or policy_text()), now, **{"reader": READER, **changes})


def usual_log(batches: int = 2) -> Log:
    """A log with a policy and some batches, published."""
    log = Log()
    log.add_policy()
    for number in range(batches):
        log.add_batch([warning_row(10 * number + i) for i in range(1, 4)])
    log.publish()
    return log


def whole(log: Log, judge: Verifier | None = None, state: LogState | None = None, **changes: Any) -> Verdict:
    """The verdict on a submission as a whole."""
    return (judge or verifier()).verify(log.submission(**changes), state).verdict


def entry(log: Log, index: int, judge: Verifier | None = None, **changes: Any) -> Verdict:
    """The verdict on one entry of a submission that is accepted as a whole."""
    report = (judge or verifier()).verify(log.submission(**changes))
    assert report.verdict.code is None, report.verdict
    return report.entries[index].verdict


def trusting(files: Mapping[str, bytes] | None = None, now: int = NOW, **fields: Any) -> Verdict:
    """The verdict on the usual log under a changed trust repository."""
    seen = fields.pop("seen", None)
    builder = TrustBuilder(**fields)
    try:
        trust = load_trust(builder.bootstrap(), {**builder.build(), **(files or {})}, now, seen=seen)
    except Refused as refused:
        return Verdict.of(refused)
    return whole(usual_log(), replace(verifier(), trust=trust, now=now))


def changed_hub(**changes: Any) -> Verdict:
    """The verdict on the usual log where its hub file is changed."""
    return trusting(hubs={HUB: hub_file(HUB, **changes), READER: hub_file(READER)})


def changed_keys(**roles: dict[str, Any]) -> dict[str, Any]:
    """The hubs, with changed keys of hub 430200: role → fields."""
    entries = [key_entry(role, f"{role}-{HUB}", **roles.get(role, {})) for role in ROLES]
    return {HUB: hub_file(HUB, keys=entries), READER: hub_file(READER)}
