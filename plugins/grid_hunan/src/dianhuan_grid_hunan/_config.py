"""What a city states: how files come, and what differs from the shipped profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dianhuan_sdk import SecretRef
from dianhuan_sdk.rest import Budget


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileDelivery(_Strict):
    """One file of one stream, as `dianhuan ingest STREAM FILE` gives it."""

    kind: Literal["file"] = "file"
    path: Path


class FolderDelivery(_Strict):
    """A watched folder, with control files (`control_file: .ok`) or without (then files settle first)."""

    kind: Literal["folder"] = "folder"
    path: Path
    control_file: str = ""
    settle_seconds: float = Field(default=5.0, ge=0)


class SftpDelivery(_Strict):
    """A folder on an SFTP server.

    Args:
        host_key: the server's public key as OpenSSH prints it (`ssh-ed25519 AAAA…`); any other key is refused.
        password, key: secrets, one of them; `key` is a private key in OpenSSH form.
        control_file: suffix of control files; without them a file counts as complete when its size and time stay the
            same during `settle_seconds`.
    """

    kind: Literal["sftp"] = "sftp"
    host: str
    port: int = Field(default=22, ge=1, le=65535)
    user: str
    path: str = "."
    host_key: str = Field(min_length=20)
    password: SecretRef | None = None
    key: SecretRef | None = None
    control_file: str = ".ok"
    settle_seconds: float = Field(default=5.0, ge=0)
    timeout: float = Field(default=30.0, gt=0)

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if (self.password is None) == (self.key is None):
            raise ValueError("give either `password` or `key`, as env:NAME or file:PATH")
        return self


class RestDelivery(_Strict):
    """The REST form with signed requests.

    Args:
        url: address before the paths of the profile.
        app_id: who asks.
        secret: key of the signature.
        first_day_back: without a cursor, how many days before today the first run asks for.
    """

    kind: Literal["rest"] = "rest"
    url: str = Field(pattern=r"^https?://")
    app_id: str
    secret: SecretRef
    budget: Budget = Budget()
    first_day_back: int = Field(default=1, ge=1, le=400)


class HunanConfig(_Strict):
    """One configured source.

    Args:
        delivery: how files come.
        profile: a file with what differs from the shipped profile.
    """

    delivery: Annotated[FileDelivery | FolderDelivery | SftpDelivery | RestDelivery, Field(discriminator="kind")]
    profile: Path | None = None


def file_config(stream: str, file: Path, mapping: Path | None) -> HunanConfig:
    """The config of `dianhuan ingest STREAM FILE`; the mapping file is a profile here. The stream names itself."""
    return HunanConfig(delivery=FileDelivery(path=file), profile=mapping)
