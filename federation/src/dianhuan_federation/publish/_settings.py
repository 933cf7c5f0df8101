"""What a publisher needs besides the hub: identity, keys, folders, policies, witnesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dianhuan_federation.core import ORIGIN, Policy, Signer, Trust
from dianhuan_federation.policy import EgressGate
from dianhuan_sdk import ConfigError


@dataclass(frozen=True, slots=True)
class Settings:
    """One publisher.

    Args:
        origin: its log, `<authority>/<division code>/r<epoch>`.
        folder: `public/` below it is served as it lies, `private/` never leaves the city.
        guard: file of the checkpoint guard, outside `folder` and its backups.
        log_key: signs checkpoints.
        publisher_keys: sign statements; one of each suite that the trust root requires.
        pseudonym_key: the city's secret for pseudonyms and salts, 16 bytes or more.
        policies: sharing policies as they lie in their files: name and bytes.
        gate: the egress gate with the city's canaries.
        quorum: whose cosignatures make a checkpoint count; None asks nobody.
        patience: seconds to wait for that quorum.
        trust: whose signatures the other side of a grant carries; None leaves that to the readers.
    """

    origin: str
    folder: Path
    guard: Path
    log_key: Signer
    publisher_keys: Sequence[Signer]
    pseudonym_key: bytes
    policies: Sequence[tuple[str, bytes]] = ()
    gate: EgressGate = field(default_factory=EgressGate)
    quorum: Policy | None = None
    patience: float = 20.0
    trust: Trust | None = None

    def __post_init__(self) -> None:
        if not ORIGIN.fullmatch(self.origin):
            raise ConfigError(f"origin {self.origin!r}", expected="<authority>/<6 digits>/r<epoch>")
        if not self.publisher_keys:
            raise ConfigError("no publisher key", expected="at least one", hint="dianhuan federation init")
        if self.guard.resolve().is_relative_to(self.folder.resolve()):
            raise ConfigError(
                f"the guard {self.guard.name} lies in the folder of the log",
                expected="a place outside it and outside its backups",
                hint="a guard that is restored together with the log guards nothing",
            )

    @property
    def hub(self) -> str:
        """Hub id: the division code in the origin."""
        match = ORIGIN.fullmatch(self.origin)
        assert match is not None
        return match[1]

    @property
    def epoch(self) -> int:
        """Number of the log among those of the hub."""
        return int(self.origin.rpartition("/r")[2])

    @property
    def public(self) -> Path:
        """What is served."""
        return self.folder / "public"

    @property
    def private(self) -> Path:
        """What stays: salts and digests of raw records, the lock."""
        return self.folder / "private"

    @property
    def log(self) -> Path:
        """The log's files."""
        return self.public / "log"

    def blob(self, digest: str) -> Path:
        """Where a payload lies, by the SHA-256 of its bytes in hex."""
        return self.public / "blob" / "sha256" / digest
