"""Offline commands for what arrives on a stick and for what an auditor is shown."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from dianhuan_federation.bundle import BundleReader, FolderFiles, TarFiles, log_files_of
from dianhuan_federation.console import Bundle, Now, Reader, Root, Witnesses, print_json, time_of, told, verdict_of
from dianhuan_federation.core import (
    Refused,
    Verdict,
    load_trust,
    parse_policy,
    parse_vkey,
    prove_record,
    verify_fork,
    verify_record,
)
from dianhuan_federation.log_store import fsck as check_log
from dianhuan_federation.suites import known_suites
from dianhuan_sdk import InputError

bundles_app = typer.Typer()


@bundles_app.command()
def verify(bundle: Bundle, trust: Root, policy: Witnesses, now: Now = "", reader: Reader = "") -> None:
    """验证数据包 · Verify a bundle, V0 to V10. Prints JSON; exit code 0 if everything was accepted, 1 if not."""
    with told():
        report = BundleReader(trust.read_bytes(), parse_policy(policy.read_bytes()), time_of(now), reader).verify(
            bundle
        )
    logs = {
        origin: {
            "verdict": verdict_of(log.verdict),
            "size": log.state.size,
            "witnesses": list(log.witnesses),
            "counts": dict(Counter(str(e.verdict.state) for e in log.entries)),
            "rows": sum(len(e.rows) for e in log.entries),
            "entries": [{"index": e.index, "kind": e.kind, **verdict_of(e.verdict)} for e in log.entries],
        }
        for origin, log in report.logs.items()
    }
    print_json({"verdict": verdict_of(report.verdict), "exporter": report.exporter, "logs": logs})
    verdicts = [
        report.verdict,
        *(v for log in report.logs.values() for v in (log.verdict, *(e.verdict for e in log.entries))),
    ]
    raise typer.Exit(0 if all(v.code is None for v in verdicts) else 1)


@bundles_app.command()
def prove(
    bundle: Bundle,
    trust: Root,
    policy: Witnesses,
    origin: Annotated[str, typer.Option(help="日志 · the log")],
    index: Annotated[int, typer.Option(help="序号 · index of the statement")],
    out: Annotated[Path, typer.Option(help="证明文件 · file to write")],
    record: Annotated[str, typer.Option(help="记录编号 · record id, for a proof to the row")] = "",
    now: Now = "",
    reader: Reader = "",
) -> None:
    """生成证明 · Write the proof of one record out of a bundle that is verified first."""
    with told():
        report = BundleReader(trust.read_bytes(), parse_policy(policy.read_bytes()), time_of(now), reader).verify(
            bundle
        )
        log = report.logs.get(origin)
        if log is None or log.verdict.code is not None or not 0 <= index < len(log.entries):
            raise InputError(
                f"entry {index} of {origin} is not in the bundle, or the bundle does not hold",
                hint="see `dianhuan federation verify`",
            )
        entry = log.entries[index]
        if entry.verdict.code is not None:
            raise InputError(f"entry {index} is not accepted: {entry.verdict.detail}")
        payload = entry.payload if record else None
        out.write_bytes(prove_record(log_files_of(TarFiles(bundle), origin), index, payload, record))
    print_json({"written": out.name, "origin": origin, "index": index, "record": record or None})


@bundles_app.command("check-proof")
def check_proof(
    proof: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    trust: Root,
    policy: Witnesses,
    repository: Annotated[Path, typer.Option(exists=True, help="信任库 · trust repository: a folder")],
    now: Now = "",
) -> None:
    """检验证明 · Verify a record proof without any hub. Exit code 0 if it holds, 1 if not."""
    with told():
        time = time_of(now)
        try:
            known = load_trust(trust.read_bytes(), FolderFiles(repository), time, suites=known_suites())
            shown = verify_record(proof.read_bytes(), known, parse_policy(policy.read_bytes()), time)
        except Refused as refused:
            print_json(verdict_of(Verdict.of(refused)))
            raise typer.Exit(1) from None
    row: Any = None if shown.row is None else json.loads(shown.row)
    at = datetime.fromtimestamp(shown.witnessed_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    print_json(
        {
            "state": "accepted",
            "origin": shown.origin,
            "index": shown.index,
            "witnessed_at": at,
            "kind": shown.kind,
            "row": row,
        }
    )


@bundles_app.command("check-fork")
def check_fork(
    evidence: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    key: Annotated[list[str], typer.Option(help="日志公钥 · verifier key of the log, <name>+<id>+<base64>")],
) -> None:
    """检验分叉证据 · Check the evidence that a log signed two histories. Exit code 0 if it proves one."""
    with told():
        print_json({"forked": verify_fork(evidence.read_bytes(), [parse_vkey(text, known_suites()) for text in key])})


@bundles_app.command()
def fsck(folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)]) -> None:
    """检查日志 · Rebuild every tile and the root of a log folder from its entries."""
    with told():
        head = check_log(folder)
    print_json({"origin": head.origin, "size": head.size, "root": head.root.hex()})
