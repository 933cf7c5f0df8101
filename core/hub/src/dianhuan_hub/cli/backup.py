"""`dianhuan backup` and `dianhuan restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dianhuan_hub.cli._hub import Json, opened
from dianhuan_hub.cli._output import emit
from dianhuan_hub.cli._state import hub_config


def command(
    target: Annotated[Path, typer.Argument(help="目标目录(空或新) · new or empty folder")], as_json: Json = False
) -> None:
    """Copy the hub's data, consistent and with a manifest of digests."""
    from dianhuan_hub.store import backup

    with opened() as hub:
        manifest = backup(hub.store.engine, hub.config.data_dir, target, hub.clock.now())
    files = manifest["files"]
    assert isinstance(files, dict)
    size = sum(f["bytes"] for f in files.values())
    emit({"target": target, "files": len(files), "bytes": size, "made_at": manifest["made_at"]}, as_json=as_json)


def restore(
    source: Annotated[Path, typer.Argument(help="备份目录 · folder of a backup")], as_json: Json = False
) -> None:
    """Check a backup and put it in the place of an empty data folder."""
    from dianhuan_hub.store import restore as put_back

    data = hub_config().data_dir
    emit({"data_dir": data, "files": put_back(source, data)}, as_json=as_json)
