"""Backup of a running hub: the writer pauses, the log is folded in, the folder is copied, a manifest is written."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import datetime
from pathlib import Path

from dianhuan_hub.store._engine import Connection, Engine, StoreError

MANIFEST = "backup.json"


def backup(engine: Engine, data: Path, target: Path, at: datetime) -> dict[str, object]:
    """Copy the database file and every other file of the data folder to an empty or new folder.

    Returns:
        The manifest: `made_at` and, for each file, its size and SHA-256.

    Raises:
        StoreError: the target holds files already.
    """
    if target.exists() and any(target.iterdir()):
        raise StoreError(f"{target} is not empty", expected="a new or empty folder", hint="give another folder")
    target.mkdir(parents=True, exist_ok=True)

    def copy(con: Connection) -> None:
        con.execute("CHECKPOINT")
        for source in sorted(data.rglob("*")):
            if source.is_file() and source.suffix not in (".part", ".wal", ".lock"):
                place = target / source.relative_to(data)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, place)

    engine.outside_transaction(copy)
    files = {
        str(path.relative_to(target)): {"bytes": path.stat().st_size, "sha256": _digest(path)}
        for path in sorted(target.rglob("*"))
        if path.is_file()
    }
    manifest: dict[str, object] = {"made_at": at.isoformat(), "files": files}
    (target / MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")
    return manifest


def restore(source: Path, data: Path) -> int:
    """Check a backup against its manifest and put it into an empty or new data folder; answers the files restored.

    Raises:
        StoreError: the backup is incomplete or changed, or the data folder is not empty; nothing was written then.
    """
    try:
        manifest = json.loads((source / MANIFEST).read_text("utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        raise StoreError(
            f"{source} is no backup", expected=f"a folder with {MANIFEST}", hint="dianhuan backup FOLDER makes one"
        ) from None
    if data.exists() and any(data.iterdir()):
        raise StoreError(f"{data} is not empty", hint="move the present data folder away first")
    for name, facts in manifest["files"].items():
        path = source / name
        if not path.is_file() or _digest(path) != facts["sha256"]:
            raise StoreError(f"{name} of the backup is missing or changed", hint="restore from another backup")
    for name in manifest["files"]:
        place = data / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, place)
    return len(manifest["files"])


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
