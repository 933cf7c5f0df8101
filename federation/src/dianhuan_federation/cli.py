"""`dianhuan federation …`: offline commands for what arrives on a stick and for what an auditor is shown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from dianhuan_federation.bundle import BundleReader, FolderFiles, TarFiles, log_files_of
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
from dianhuan_federation.policy import read_terms
from dianhuan_sdk import DianhuanError, InputError

app = typer.Typer(
    no_args_is_help=True, help="跨省联邦 · Federation between hubs: verify, prove, check", add_completion=False
)
policies = typer.Typer(no_args_is_help=True, help="共享策略 · Sharing policies")
app.add_typer(policies, name="policy")

Root = Annotated[
    Path, typer.Option("--trust", exists=True, dir_okay=False, help="根信任文件 · root.json as handed over")
]
Witnesses = Annotated[Path, typer.Option("--policy", exists=True, dir_okay=False, help="见证策略 · witness policy")]
Bundle = Annotated[Path, typer.Option("--bundle", exists=True, dir_okay=False, help="数据包 · bundle (tar)")]
Now = Annotated[
    str, typer.Option("--now", help="判定时刻 · time to judge by, RFC 3339 (default: this machine's clock)")
]
Reader = Annotated[str, typer.Option("--reader", help="本方代码 · own hub id, empty for an auditor")]


@app.command()
def verify(bundle: Bundle, trust: Root, policy: Witnesses, now: Now = "", reader: Reader = "") -> None:
    """验证数据包 · Verify a bundle, V0 to V10. Prints JSON; exit code 0 if everything was accepted, 1 if not."""
    with _told():
        report = BundleReader(trust.read_bytes(), parse_policy(policy.read_bytes()), _time(now), reader).verify(bundle)
    logs = {
        origin: {
            "verdict": _verdict(log.verdict),
            "size": log.state.size,
            "witnesses": list(log.witnesses),
            "counts": dict(Counter(str(e.verdict.state) for e in log.entries)),
            "rows": sum(len(e.rows) for e in log.entries),
            "entries": [{"index": e.index, "kind": e.kind, **_verdict(e.verdict)} for e in log.entries],
        }
        for origin, log in report.logs.items()
    }
    _print({"verdict": _verdict(report.verdict), "exporter": report.exporter, "logs": logs})
    verdicts = [
        report.verdict,
        *(v for log in report.logs.values() for v in (log.verdict, *(e.verdict for e in log.entries))),
    ]
    raise typer.Exit(0 if all(v.code is None for v in verdicts) else 1)


@app.command()
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
    with _told():
        report = BundleReader(trust.read_bytes(), parse_policy(policy.read_bytes()), _time(now), reader).verify(bundle)
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
    _print({"written": out.name, "origin": origin, "index": index, "record": record or None})


@app.command("check-proof")
def check_proof(
    proof: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    trust: Root,
    policy: Witnesses,
    repository: Annotated[Path, typer.Option(exists=True, help="信任库 · trust repository: a folder")],
    now: Now = "",
) -> None:
    """检验证明 · Verify a record proof without any hub. Exit code 0 if it holds, 1 if not."""
    with _told():
        time = _time(now)
        try:
            known = load_trust(trust.read_bytes(), FolderFiles(repository), time)
            shown = verify_record(proof.read_bytes(), known, parse_policy(policy.read_bytes()), time)
        except Refused as refused:
            _print(_verdict(Verdict.of(refused)))
            raise typer.Exit(1) from None
    row: Any = None if shown.row is None else json.loads(shown.row)
    at = datetime.fromtimestamp(shown.witnessed_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    _print(
        {
            "state": "accepted",
            "origin": shown.origin,
            "index": shown.index,
            "witnessed_at": at,
            "kind": shown.kind,
            "row": row,
        }
    )


@app.command("check-fork")
def check_fork(
    evidence: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    key: Annotated[list[str], typer.Option(help="日志公钥 · verifier key of the log, <name>+<id>+<base64>")],
) -> None:
    """检验分叉证据 · Check the evidence that a log signed two histories. Exit code 0 if it proves one."""
    with _told():
        _print({"forked": verify_fork(evidence.read_bytes(), [parse_vkey(text) for text in key])})


@app.command()
def fsck(folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)]) -> None:
    """检查日志 · Rebuild every tile and the root of a log folder from its entries."""
    with _told():
        head = check_log(folder)
    _print({"origin": head.origin, "size": head.size, "root": head.root.hex()})


@policies.command("check")
def check_policy(file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)]) -> None:
    """检查共享策略 · Check a sharing policy, and say what it lets out. Exit code 0 if it holds, 2 if it is refused."""
    with _told():
        terms = read_terms(file.read_bytes())
    _print(
        {
            "id": terms.id,
            "version": terms.version,
            "stream": terms.target,
            "class": terms.klass,
            "assignee": terms.assignee,
            "schema": f"{terms.schema.id} {terms.schema.version}",
            "fields": sorted(terms.fields),
            "aggregated": terms.aggregation is not None,
        }
    )


def _verdict(verdict: Verdict) -> Mapping[str, str | None]:
    return {
        "state": str(verdict.state),
        "step": str(verdict.step) if verdict.step else None,
        "code": str(verdict.code) if verdict.code else None,
        "detail": verdict.detail,
    }


def _print(value: object) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))


def _time(text: str) -> int:
    if not text:
        return int(datetime.now(UTC).timestamp())
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise InputError(f"time {text[:40]!r}", expected="RFC 3339 with a zone, e.g. 2026-11-24T06:30:00Z")
    return int(time.timestamp())


@contextmanager
def _told() -> Iterator[None]:
    """Expected errors as JSON on stderr and exit code 2."""
    try:
        yield
    except DianhuanError as error:
        typer.echo(json.dumps(error.as_dict(), ensure_ascii=False), err=True)
        raise typer.Exit(2) from None
