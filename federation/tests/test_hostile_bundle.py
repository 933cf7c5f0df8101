"""Bundles: the same bytes for a stick, opened by standard tools, and every hostile container refused in V0."""

from __future__ import annotations

import gzip
import io
import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dianhuan_federation.bundle import (
    MANIFEST,
    BundleReader,
    BundleReport,
    FolderFiles,
    TarFiles,
    export_bundle,
    log_files,
)
from dianhuan_federation.core import ContainerCaps, Refused, cosign, parse_checkpoint, parse_policy
from dianhuan_federation.guard import CheckpointGuard
from dianhuan_federation.log_store import TileLog
from dianhuan_sdk import InputError

World = ModuleType


def contents(w: World, log: Any, builder: Any = None) -> dict[str, bytes]:
    """What a bundle of that log holds."""
    files = {f"trust/{path}": data for path, data in (builder or w.TrustBuilder()).build().items()}
    kept = {f"checkpoints/{parse_checkpoint(head)[0].size}": head for head in log.heads}
    files.update(log_files(log.origin, {"checkpoint": log.heads[-1], **kept, **log.tiles()}))
    files.update({f"blobs/sha256/{name}": blob for name, blob in log.blobs.items()})
    return files


def write(w: World, path: Path, files: dict[str, bytes], exporter: str | None = None, key: str | None = None) -> Path:
    """A bundle exported by the hub itself unless told otherwise."""
    name = exporter or w.HUB
    export_bundle(path, files.items(), exporter=name, signer=w.signer(key or f"transport-{name}"), created_at=w.NOW)
    return path


def read(w: World, path: Path, caps: ContainerCaps | None = None, states: Any = None) -> BundleReport:
    """The answer of a reader in province 44."""
    builder = w.TrustBuilder()
    policy = parse_policy(w.policy_text())
    reader = BundleReader(builder.bootstrap(), policy, w.NOW, w.READER, caps=caps or ContainerCaps())
    return reader.verify(path, states)


@pytest.fixture
def stick(world: World, tmp_path: Path) -> Path:
    """A good bundle."""
    return write(world, tmp_path / "stick.tar", contents(world, world.usual_log()))


def test_a_bundle_is_verified_whole(world: World, stick: Path) -> None:
    report = read(world, stick)
    assert report.verdict.code is None
    assert report.exporter == world.HUB
    log = report.logs[world.ORIGIN]
    assert [(e.verdict.code, len(e.rows)) for e in log.entries] == [(None, 0), (None, 3), (None, 3)]
    again = read(world, stick, states={world.ORIGIN: log.state})
    assert again.logs[world.ORIGIN].entries == ()
    assert again.logs[world.ORIGIN].state == log.state


def test_the_same_contents_give_the_same_bytes(world: World, tmp_path: Path) -> None:
    files = contents(world, world.usual_log())
    one = write(world, tmp_path / "1.tar", files)
    two = write(world, tmp_path / "2.tar", dict(reversed(list(files.items()))))
    assert one.read_bytes() == two.read_bytes()


def test_standard_tools_open_a_bundle_and_their_archives_are_read(world: World, stick: Path, tmp_path: Path) -> None:
    with tarfile.open(stick) as archive:
        names = archive.getnames()
        if hasattr(tarfile, "data_filter"):  # since 3.11.4; Debian 12 has 3.11.2
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(tmp_path / "open")
    assert sorted(names) == sorted(TarFiles(stick))
    tar = shutil.which("tar")
    assert tar is not None
    for form in ("ustar", "gnu"):
        packed = tmp_path / f"{form}.tar"
        subprocess.run(
            [tar, f"--format={form}", "-cf", packed, *sorted(p.name for p in (tmp_path / "open").iterdir())],
            cwd=tmp_path / "open",
            check=True,
        )
        assert read(world, packed).verdict.code is None, form


def test_a_log_on_the_disk_is_exported_and_only_what_is_new(world: World, tmp_path: Path) -> None:
    memory = world.usual_log(1)
    guard = CheckpointGuard(tmp_path / "guard.sqlite")
    log = TileLog.create(tmp_path / "log", world.ORIGIN, world.signer(f"log-{world.HUB}"), guard)

    def publish(entries: list[bytes], at: int) -> None:
        log.append(entries)
        _, note = parse_checkpoint(log.checkpoint())
        lines = [cosign(note.text, f"prov.example/{n}", world.signer(n), at) for n in world.WITNESSES]
        log.add_signatures(note.text, lines)

    publish(memory.entries, world.NOW - 7200)
    trust = {f"trust/{p}": d for p, d in world.TrustBuilder().build().items()}

    def pack(name: str, start: int) -> Path:
        blobs = {f"blobs/sha256/{n}": b for n, b in memory.blobs.items()}
        return write(
            world, tmp_path / name, {**trust, **dict(log_files(log.origin, FolderFiles(log.folder), start)), **blobs}
        )

    first = read(world, pack("1.tar", 0)).logs[world.ORIGIN]
    assert [e.verdict.code for e in first.entries] == [None, None]
    memory.add_batch([world.warning_row(55)])
    publish(memory.entries[2:], world.NOW - 3600)
    second = read(world, pack("2.tar", 2), states={world.ORIGIN: first.state}).logs[world.ORIGIN]
    assert [e.index for e in second.entries] == [2]
    assert second.entries[0].verdict.code is None
    with pytest.raises(InputError):
        log.add_signatures(b"older text\n", [])


def raw_tar(members: list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.USTAR_FORMAT) -> bytes:
    """An archive by the standard library."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


def with_member(
    good: bytes, name: str, data: bytes = b"x", kind: bytes = b"0", link: str = "", form: int = tarfile.USTAR_FORMAT
) -> bytes:
    """The good bundle with one more member at its end."""
    with tarfile.open(fileobj=io.BytesIO(good)) as archive:
        members = [(info, archive.extractfile(info).read()) for info in archive]  # type: ignore[union-attr]
    extra = tarfile.TarInfo(name)
    extra.type, extra.linkname = kind, link
    return raw_tar([*members, (extra, data if kind == b"0" else b"")], form)


BLOB = "blobs/sha256/" + "a" * 64
CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    "path with two dots": lambda b: with_member(b, "../evil"),
    "path with dots inside": lambda b: with_member(b, "trust/../../evil.json"),
    "absolute path": lambda b: with_member(b, "/etc/passwd"),
    "path with a backslash": lambda b: with_member(b, "trust\\evil.json"),
    "path with a drive": lambda b: with_member(b, "c:/evil"),
    "path in capitals": lambda b: with_member(b, "TRUST/timestamp.json"),
    "path in full-width letters": lambda b: with_member(b, "ｔrust/timestamp.json", form=tarfile.GNU_FORMAT),
    "path in NFD": lambda b: with_member(b, "trust/e\u0301.json", form=tarfile.GNU_FORMAT),
    "path with a newline": lambda b: with_member(b, "trust/a\nb.json"),
    "path with a leading dot": lambda b: with_member(b, "./trust/timestamp.json"),
    "path of no bundle": lambda b: with_member(b, "autorun.inf"),
    "empty path": lambda b: with_member(b, ""),
    "very long path": lambda b: with_member(b, "logs/" + "a" * 250, form=tarfile.GNU_FORMAT),
    "symbolic link": lambda b: with_member(b, BLOB, kind=b"2", link="/etc/passwd"),
    "hard link": lambda b: with_member(b, BLOB, kind=b"1", link=MANIFEST),
    "character device": lambda b: with_member(b, BLOB, kind=b"3"),
    "block device": lambda b: with_member(b, BLOB, kind=b"4"),
    "pipe": lambda b: with_member(b, BLOB, kind=b"6"),
    "sparse file": lambda b: with_member(b, BLOB, kind=b"S"),
    "contiguous file": lambda b: with_member(b, BLOB, kind=b"7"),
    "extended header": lambda b: with_member(b, "x" * 120, form=tarfile.PAX_FORMAT),
    "one file twice": lambda b: with_member(b, "trust/timestamp.json"),
    "folder with dots": lambda b: with_member(b, "../evil/", kind=b"5"),
    "a file the manifest does not list": lambda b: with_member(b, BLOB),
    "no manifest": lambda b: raw_tar([(tarfile.TarInfo("trust/timestamp.json"), b"{}")]),
    "a manifest that is none": lambda b: raw_tar([(tarfile.TarInfo(MANIFEST), b"{}")]),
    "nothing": lambda b: b"",
    "zeros": lambda b: bytes(4096),
    "gzip around it": lambda b: gzip.compress(b),
    "trailing rubbish": lambda b: b + b"rubbish".ljust(512, b"!"),
    "a second archive behind": lambda b: b + b,
    "too many zeros behind": lambda b: b + bytes(1024 * 1024),
    "one empty block at the end": lambda b: b[:-512],
    "no end": lambda b: b[:-1024],
    "a wrong checksum": lambda b: b[:150] + b"7" + b[151:],
    "another magic": lambda b: _reheaded(b, 257, b"USTAR\0"),
    "a size in base 256": lambda b: _reheaded(b, 124, b"\x80" + bytes(10) + b"\x01"),
    "a size beyond the file": lambda b: _reheaded(b, 124, b"77777777777\0"),
    "a negative size": lambda b: _reheaded(b, 124, b"-0000000001\0"),
}


def _reheaded(data: bytes, place: int, field: bytes) -> bytes:
    """The archive with a field of its first header changed and the checksum made right again."""
    block = bytearray(data[:512])
    block[place : place + len(field)] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + data[512:]


@pytest.mark.parametrize("name", CONTAINERS)
def test_hostile_container_is_refused_in_v0(world: World, stick: Path, name: str) -> None:
    stick.write_bytes(CONTAINERS[name](stick.read_bytes()))
    verdict = read(world, stick).verdict
    assert (verdict.step, verdict.code, verdict.state) == ("V0", "E-CAP", "rejected"), verdict


def test_hostile_truncation_anywhere_is_refused(world: World, stick: Path) -> None:
    data = stick.read_bytes()
    for length in range(0, len(data), 1024):
        stick.write_bytes(data[:length])
        assert read(world, stick).verdict.code == "E-CAP", length


@pytest.mark.parametrize(
    "caps",
    [ContainerCaps(members=5), ContainerCaps(member=1000), ContainerCaps(total=10_000)],
    ids=["too many", "one too large", "too large together"],
)
def test_hostile_amounts_are_refused(world: World, stick: Path, caps: ContainerCaps) -> None:
    assert read(world, stick, caps).verdict.code == "E-CAP"


def test_hostile_million_folders_are_refused(world: World, tmp_path: Path) -> None:
    info = tarfile.TarInfo("trust/")
    info.type = tarfile.DIRTYPE
    path = tmp_path / "folders.tar"
    path.write_bytes(info.tobuf(tarfile.USTAR_FORMAT) * 2000 + bytes(1024))
    assert read(world, path, ContainerCaps(members=1000)).verdict.code == "E-CAP"


def test_hostile_exporters_are_refused(world: World, tmp_path: Path) -> None:
    files = contents(world, world.usual_log())
    for exporter, key, code in (
        (world.HUB, f"publisher-{world.HUB}", "E-SIG"),
        (world.HUB, f"transport-{world.READER}", "E-SIG"),
        ("110000", "transport-110000", "E-SIG"),
    ):
        assert read(world, write(world, tmp_path / "b.tar", files, exporter, key)).verdict.code == code


def test_a_courier_or_another_hub_may_carry_a_log(world: World, tmp_path: Path) -> None:
    files = contents(world, world.usual_log())
    report = read(world, write(world, tmp_path / "b.tar", files, world.READER))
    assert report.exporter == world.READER
    assert report.logs[world.ORIGIN].verdict.code is None


def test_hostile_log_under_another_name_is_refused(world: World, tmp_path: Path) -> None:
    files = contents(world, world.usual_log())
    name = next(path for path in files if path.endswith("/origin"))
    spoiled = {**files, name: b"fed.example/430300/r1\n"}
    assert read(world, write(world, tmp_path / "b.tar", spoiled)).verdict.code == "E-CAP"


def test_hostile_bytes_inside_never_pass(world: World, stick: Path) -> None:
    """A flipped bit anywhere is refused, pending or without any effect on what is accepted."""
    data = stick.read_bytes()
    good = {e.leaf: e.payload for e in read(world, stick).logs[world.ORIGIN].entries}
    for place in random.Random(1).sample(range(len(data)), 150):
        stick.write_bytes(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
        for log in read(world, stick).logs.values():
            for entry in log.entries:
                if entry.verdict.code is None:
                    assert good[entry.leaf] == entry.payload


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=2000))
def test_hostile_random_files_never_crash(world: World, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "random.tar"
    path.write_bytes(data)
    assert read(world, path).verdict.code == "E-CAP"


def test_export_refuses_paths_that_bundles_do_not_have_and_leaves_nothing(world: World, tmp_path: Path) -> None:
    with pytest.raises(Refused):
        write(world, tmp_path / "b.tar", {"secret/raw.csv": b"load"})
    assert list(tmp_path.iterdir()) == []
