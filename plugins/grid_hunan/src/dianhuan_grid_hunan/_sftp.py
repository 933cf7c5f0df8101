"""Delivery by SFTP: the server's key is pinned, files are fetched whole before they are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from dianhuan_grid_hunan._config import SftpDelivery
from dianhuan_grid_hunan._profile import StreamProfile
from dianhuan_sdk import (
    AuthError,
    Batch,
    Checkpoint,
    ConfigError,
    Cursor,
    Discard,
    PluginContext,
    SourceRef,
    TerminalError,
    TransientError,
    Window,
)
from dianhuan_sdk.tabular import FileReader, is_data_file, read_one, sha256_of
from dianhuan_standards import TABLES


@asynccontextmanager
async def connect(context: PluginContext, delivery: SftpDelivery) -> AsyncIterator[Any]:
    """An SFTP client.

    Raises:
        ConfigError: asyncssh is not installed, or the host key or private key is unreadable.
        AuthError: the server's key is not the pinned one, or it refuses the credentials.
        TransientError: it cannot be reached, or the connection breaks.
        TerminalError: the folder is not there, or may not be read.
    """
    try:
        import asyncssh
    except ImportError:
        raise ConfigError(
            "delivery by SFTP needs asyncssh",
            expected="the extra `sftp`",
            hint="pip install 'dianhuan-grid-hunan[sftp]'",
        ) from None
    where = f"{delivery.host}:{delivery.port}"
    try:
        host_key = asyncssh.import_public_key(delivery.host_key)
        options: dict[str, Any] = {"password": None, "client_keys": None}
        if delivery.key is not None:
            options["client_keys"] = [asyncssh.import_private_key(context.secret(delivery.key).reveal())]
        elif delivery.password is not None:
            options["password"] = context.secret(delivery.password).reveal()
    except asyncssh.KeyImportError as error:
        raise ConfigError(
            f"a key of {where} is unreadable: {error}",
            expected="`host_key` as ssh-keyscan prints it without the host, `key` as ssh-keygen writes it",
            hint="copy the key again",
        ) from error
    try:
        async with (
            asyncssh.connect(
                delivery.host,
                delivery.port,
                username=delivery.user,
                known_hosts=([host_key], [], []),
                server_host_key_algs=[host_key.algorithm.decode()],
                config=None,
                agent_path=None,
                login_timeout=delivery.timeout,
                connect_timeout=delivery.timeout,
                **options,
            ) as connection,
            connection.start_sftp_client() as client,
        ):
            yield client
    except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
        raise AuthError(
            f"{where} does not show the pinned host key: {error.reason}",
            expected="the key in `host_key`",
            hint="ask the grid company whether its key has changed before you change `host_key`",
        ) from error
    except asyncssh.PermissionDenied as error:
        raise AuthError(
            f"{where} refuses {delivery.user}: {error.reason}",
            expected="accepted credentials",
            hint="check user and secret",
        ) from error
    except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPPermissionDenied) as error:
        raise TerminalError(f"{where}: {error.reason}", hint="check `delivery.path` with the grid company") from error
    except (asyncssh.Error, OSError, TimeoutError) as error:
        raise TransientError(f"{where}: {error}", hint="check the network; it is tried again later") from error


async def read_sftp(
    context: PluginContext,
    delivery: SftpDelivery,
    profile: StreamProfile | None,
    reader: FileReader,
    window: Window | None,
    cursor: Cursor | None,
) -> AsyncIterator[Batch | Checkpoint | Discard]:
    """Read new files in order of their names; the cursor is as in `dianhuan_sdk.tabular.Folder`.

    Without a profile nothing is read: the folder is only listed, as a check.
    """
    async with connect(context, delivery) as client:
        entries = {e.filename: e.attrs for e in await client.readdir(delivery.path)}
        if profile is None:
            return
        names = [n for n in sorted(entries) if fnmatch(n, profile.pattern) and is_data_file(n, delivery.control_file)]
        done: dict[str, Any] = {} if window is not None else dict((cursor or {}).get("files", {}))
        done = {name: state for name, state in done.items() if name in names}
        for name in names:
            day = profile.day_of(name)
            if window is not None and day is not None and day not in window:
                continue
            state = [entries[name].size, entries[name].mtime]
            if done.get(name, [])[:2] == state:
                continue
            remote = str(PurePosixPath(delivery.path) / name)
            if not await _complete(client, delivery, name, remote, state, set(entries)):
                context.log.info("left for the next run: %s is not complete", name)
                continue
            local = context.folder / name
            part = local.with_name(name + ".part")
            try:
                await client.get(remote, part)
                part.replace(local)
                digest = await asyncio.to_thread(sha256_of, local)
                source = SourceRef(f"sftp://{delivery.host}:{delivery.port}/{remote.lstrip('/')}", digest)
                contract = TABLES[profile.tables[0].table]
                async for item in read_one(
                    local, source, [*state, digest], done, contract, reader, window, context.log
                ):
                    yield item
            finally:
                _drop(part, local)


async def _complete(
    client: Any, delivery: SftpDelivery, name: str, remote: str, state: list[Any], names: set[str]
) -> bool:
    if delivery.control_file:
        return bool({name + delivery.control_file, str(Path(name).with_suffix(delivery.control_file))} & names)
    await asyncio.sleep(delivery.settle_seconds)
    now = await client.stat(remote)
    return [now.size, now.mtime] == state


def _drop(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
