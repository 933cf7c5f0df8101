"""`dianhuan federation publish …` and its neighbours: the commands of a publisher. Mounted by the federation's CLI."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from dianhuan_federation.console import Now, Root, Witnesses, print_json, time_of, told
from dianhuan_sdk import InputError, PluginContext

publish_app = typer.Typer(no_args_is_help=True, add_completion=False)
commitment_app = typer.Typer(no_args_is_help=True, help="输入承诺 · Commitments to the readings behind a warning")
publish_app.add_typer(commitment_app, name="commitment")

AsJson = Annotated[bool, typer.Option("--json", help="JSON 输出 · print JSON")]
Index = Annotated[int, typer.Argument(help="序号 · index of the statement in our log")]
Records = Annotated[
    list[str] | None, typer.Option("--record", help="记录编号 · record id, may be repeated; none means all")
]
Reason = Annotated[str, typer.Option(help="理由，公开 · reason, everybody reads it")]
Basis = Annotated[str, typer.Option("--legal-basis", help="法律依据，公开 · legal basis, everybody reads it")]


@publish_app.command("publish")
def publish(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="只逐行显示，不签名不发送 · show every row")] = False,
    as_json: AsJson = False,
) -> None:
    """发布到期结果 · Publish what is due: policies, rows, statistics, corrections, withdrawals, or a heartbeat."""
    with _publisher(ctx) as (publisher, context):
        _tell(publisher.publish(context.clock.today(), dry_run=dry_run), as_json, rows=dry_run)


@publish_app.command("begin-log")
def begin_log(ctx: typer.Context, as_json: AsJson = False) -> None:
    """启用日志（仅一次）· Begin the hub's log, once in its life."""
    with _publisher(ctx) as (publisher, _):
        _tell(publisher.begin(), as_json)


@publish_app.command("log-grant")
def log_grant(
    ctx: typer.Context, file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)], as_json: AsJson = False
) -> None:
    """登记双方签署的授权 · Log a grant that both sides have signed."""
    with _publisher(ctx) as (publisher, context):
        _tell(publisher.log_grant(context.clock.today(), file.read_bytes()), as_json)


@publish_app.command("model")
def model(
    ctx: typer.Context,
    passport: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="模型护照 · passport, JSON")],
    license: Annotated[str, typer.Option(help="许可证 · SPDX identifier")],
    as_json: AsJson = False,
) -> None:
    """发布模型定义 · Publish a model's definition with its passport."""
    with _publisher(ctx) as (publisher, context):
        _tell(publisher.publish_model(context.clock.today(), passport.read_bytes(), license), as_json)


@publish_app.command("retract")
def retract(
    ctx: typer.Context,
    index: Index,
    reason: Reason,
    legal_basis: Basis,
    record: Records = None,
    as_json: AsJson = False,
) -> None:
    """撤回 · Say that an earlier statement, or some of its rows, no longer holds. It stays in the log."""
    with _publisher(ctx) as (publisher, context):
        _tell(publisher.retract(context.clock.today(), index, record or [], reason, legal_basis), as_json)


@publish_app.command("redact")
def redact(ctx: typer.Context, index: Index, reason: Reason, legal_basis: Basis, as_json: AsJson = False) -> None:
    """删除载荷 · Order that a batch's payload is dropped everywhere, and drop it here. Its leaf and digests stay."""
    with _publisher(ctx) as (publisher, context):
        _tell(publisher.redact(context.clock.today(), index, reason, legal_basis), as_json)


@publish_app.command("dispute")
def dispute(
    ctx: typer.Context,
    origin: Annotated[str, typer.Argument(help="对方日志 · the other log")],
    index: Annotated[int, typer.Argument(help="序号 · index of its statement")],
    digest: Annotated[str, typer.Argument(help="声明摘要 · SHA-256 of its statement, hex")],
    reason: Reason,
    record: Records = None,
    as_json: AsJson = False,
) -> None:
    """提出异议 · Contest a statement of another log, in ours. It changes nothing there."""
    with _publisher(ctx) as (publisher, context):
        _tell(publisher.dispute(context.clock.today(), origin, index, digest, record or [], reason), as_json)


@publish_app.command("recover")
def recover(
    ctx: typer.Context,
    source: Annotated[
        str, typer.Option("--from", help="镜像地址或目录 · a mirror's address, or a folder with its tree")
    ],
    as_json: AsJson = False,
) -> None:
    """从镜像恢复日志 · Take the hub's own log back from a mirror after a restore from an old backup."""
    from dianhuan_federation.bundle import FolderFiles
    from dianhuan_federation.config import FederationConfig
    from dianhuan_federation.publish._clients import mirror_files
    from dianhuan_federation.publish._open import transport_auth

    with _publisher(ctx) as (publisher, context):
        if "://" in source:
            assert isinstance(context.config, FederationConfig)
            auth = transport_auth(context, context.config)
            files = mirror_files(source, publisher.settings.origin, context.http, auth)
            _tell(publisher.recover(*files), as_json)
            return
        folder = Path(source)
        _tell(publisher.recover(FolderFiles(folder / "log"), FolderFiles(folder / "blob" / "sha256")), as_json)


@publish_app.command("self-check")
def self_check(ctx: typer.Context) -> None:
    """自检 · Check log, guard, payloads, policies and witnesses. Exit code 0 if everything holds, 1 if not."""
    with _publisher(ctx) as (publisher, _):
        found = publisher.self_check()
    print_json({name: wrong or "ok" for name, wrong in found.items()})
    raise typer.Exit(1 if any(found.values()) else 0)


@commitment_app.command("open")
def commitment_open(
    ctx: typer.Context,
    record: Annotated[str, typer.Argument(help="记录编号 · record id of a published warning")],
    out: Annotated[Path, typer.Option(help="文件（含原始数据，仅限现场）· file with raw data, for use on site only")],
) -> None:
    """打开承诺 · Write the file that shows an inspector on site which readings stood behind one warning."""
    with _publisher(ctx) as (publisher, _):
        data = publisher.open_commitment(record)
        if out.exists():
            raise InputError(f"{out.name} is there already", expected="a new file")
        out.touch(0o600)
        out.write_bytes(data)
    print_json(
        {"written": out.name, "record": record, "note": "含原始负荷数据，不得带出本市 · raw load: it stays in the city"}
    )


@commitment_app.command("check")
def commitment_check(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    trust: Root,
    policy: Witnesses,
    repository: Annotated[Path, typer.Option(exists=True, help="信任库 · trust repository: a folder")],
    now: Now = "",
) -> None:
    """检验承诺 · Do these readings stand behind the published warning? Needs no hub. Exit code 0 if so, 1 if not."""
    from dianhuan_federation.bundle import FolderFiles
    from dianhuan_federation.core import Refused, Verdict, canonical, load_trust, parse, parse_policy, verify_record
    from dianhuan_federation.publish._commitments import check_commitment
    from dianhuan_federation.suites import known_suites

    with told():
        time = time_of(now)
        witnesses = parse_policy(policy.read_bytes())
        try:
            known = load_trust(trust.read_bytes(), FolderFiles(repository), time, suites=known_suites())
            record, readings = check_commitment(file.read_bytes())
            shown = verify_record(canonical(parse(file.read_bytes())["proof"]), known, witnesses, time)
        except (Refused, InputError) as error:
            detail = Verdict.of(error).detail if isinstance(error, Refused) else str(error)
            print_json({"holds": False, "detail": detail})
            raise typer.Exit(1) from None
    print_json({"holds": True, "record": record, "origin": shown.origin, "index": shown.index, "readings": readings})


@contextmanager
def _publisher(ctx: typer.Context) -> Iterator[tuple[Any, PluginContext]]:
    from dianhuan_federation.publish._open import publisher_of

    with told():
        host = ctx.find_root().obj
        if host is None:
            raise InputError("this command needs a hub", expected="`dianhuan federation …` with a hub.toml")
        with host.service("federation") as context:
            yield publisher_of(context), context


def _tell(report: Any, as_json: bool, rows: bool = False) -> None:
    told_of = report.as_dict(rows)
    if as_json:
        print_json(told_of)
        return
    typer.echo(f"{told_of['origin']}  {told_of['size']} 条 · entries")
    for one in told_of["statements"]:
        to = ", ".join(one["recipients"]) or "所有 · everyone"
        typer.echo(f"  #{one['index']} {one['kind']} {one['stream']}  {one['rows']} 行 · rows → {to}")
        for row in one.get("content", ()):
            typer.echo("      " + "  ".join(f"{name}={'' if value is None else value}" for name, value in row.items()))
    for one in told_of["refused"]:
        typer.echo(f"  未发布 · refused {one['policy']}: {one['reason']}")
    for source, count in told_of["left_out"].items():
        if count:
            typer.echo(f"  {source}: {count} 行缺代码、区划或版本，未共享 · rows lack a code, division or version")
    seen = told_of["witnessed"]
    if seen is not None:
        quorum = "达到 · reached" if seen["quorum"] else "未达到，对外待定 · not reached: pending elsewhere"
        typer.echo(f"  见证 · witnesses: {', '.join(seen['names']) or '无 · none'}; 门限 · quorum {quorum}")
        for name, why in seen["pending"].items():
            typer.echo(f"  等待 · pending {name}: {why}")
