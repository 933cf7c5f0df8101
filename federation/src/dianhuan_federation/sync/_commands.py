"""`dianhuan federation sync | import | export | watch | show | replica …`: the subscriber on the command line."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from dianhuan_federation.config import FederationConfig
from dianhuan_federation.console import print_json, told, verdict_of
from dianhuan_federation.sync._export import sizes_in
from dianhuan_federation.sync._subscriber import Subscriber, SyncReport

sync_app = typer.Typer(no_args_is_help=True, help="订阅 · What arrives from other hubs")
replica_app = typer.Typer(no_args_is_help=True, help="副本 · The verified replica")
sync_app.add_typer(replica_app, name="replica")

Origins = Annotated[list[str], typer.Option("--origin", help="只取此日志，可重复 · this log only, repeatable")]

ADVICE: Mapping[str, str] = {
    "": "无需处理 · nothing to do",
    "E-NET": "检查地址、网络和对方服务；会自动重试 · check address, network and the peer; it is tried again",
    "E-STALE": "更新信任元数据：同步或导入新数据包 · newer trust metadata is needed: sync, or import a newer bundle",
    "E-TRUST": "核对信任库：该日志未被任何省担保 · no province vouches for this log: ask the province",
    "E-QUORUM": "等待更多见证签名 · wait until more witnesses have signed",
    "E-FORK": "立即联系对方，保存证据文件，查明后用 replica release 解除 · "
    "call the hub, keep the evidence file; `replica release` once a person has decided",
    "E-TREE": "数据损坏，换一个镜像或重新拷贝 · damaged on its way: take it from another mirror or copy it again",
    "E-DIGEST": "受损载荷会重新请求，仍受损则换镜像 · payloads are asked for again; if it stays, use another mirror",
    "E-CP": "核对地址和对方日志密钥 · check the address, and the hub's log key in the trust data",
}
SILENT = "超过 26 小时没有消息，联系对方 · silent for more than 26 hours: call the hub"
NEVER = "从未收到，检查设置中的地址或文件夹 · never heard of: check its address or folder in the settings"


@sync_app.command()
def sync(ctx: typer.Context, origin: Origins = [], everything: bool = False) -> None:  # noqa: B006
    """拉取、验证并合并 · Pull, verify and merge what is new. Exit code 0 if all is well, 1 if not."""
    with _subscriber(ctx) as subscriber:
        _answer(subscriber.sync(origin or None, everything=everything))


@sync_app.command("import")
def import_(ctx: typer.Context, bundle: Annotated[Path, typer.Argument(exists=True, dir_okay=False)]) -> None:
    """导入数据包 · Verify a bundle and merge it. Exit code 0 if everything was accepted, 1 if not."""
    with _subscriber(ctx) as subscriber:
        _answer(subscriber.import_bundle(bundle))


@sync_app.command()
def export(
    ctx: typer.Context,
    bundle: Annotated[Path, typer.Argument(dir_okay=False, help="要写的数据包 · file to write")],
    since: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="上次的数据包 · the bundle that the receiver got last"),
    ] = None,
    receiver: Annotated[str, typer.Option(help="接收方代码 · hub id of the receiver, for payloads under a grant")] = "",
    origin: Origins = [],  # noqa: B006
) -> None:
    """导出数据包 · Write what is verified here as a bundle; what the receiver has is left out."""
    with _subscriber(ctx) as subscriber:
        known = {} if since is None else sizes_in(since)
        sizes = subscriber.export_bundle(bundle, known, receiver=receiver, origins=origin)
        print_json({"written": bundle.name, "files": len(sizes), "bytes": sum(sizes.values())})


@sync_app.command()
def show(ctx: typer.Context) -> None:
    """各节点状态 · Every peer: fresh, stale, missing, pending or quarantined, why, and what to do."""
    with _subscriber(ctx) as subscriber:
        for row in subscriber.show():
            print_json(_shown(row))


@sync_app.command()
def watch(
    ctx: typer.Context,
    minutes: Annotated[float, typer.Option(min=0.0, help="间隔分钟 · minutes between rounds")] = 5.0,
    rounds: Annotated[int, typer.Option(min=0, help="轮数，0 为不停 · rounds, 0 for ever")] = 0,
) -> None:
    """持续观察 · Sync again and again; print new heads, forks and silence of more than 26 hours."""
    with _subscriber(ctx) as subscriber:
        before: dict[str, str] = {}
        done = 0
        while True:
            report = subscriber.sync()
            for merged in report.merged:
                if merged.size > merged.before:
                    print_json({"new": merged.origin, "from": merged.before, "to": merged.size, "rows": merged.rows})
            for row in subscriber.show():
                state = f"{row['state']} {row['code']}"
                if before.get(row["origin"], "FRESH ") != state:
                    print_json(_shown(row))
                before[row["origin"]] = state
            done += 1
            if done == rounds:
                return
            time.sleep(minutes * 60)


@replica_app.command()
def rebuild(ctx: typer.Context, origin: Origins = []) -> None:  # noqa: B006
    """从零重新验证 · Verify every log again from its files, entry 0 on, and write all rows anew."""
    with _subscriber(ctx) as subscriber:
        _answer(subscriber.rebuild(origin or None))


@replica_app.command()
def release(ctx: typer.Context, origin: Annotated[str, typer.Argument()]) -> None:
    """解除隔离 · Take from a quarantined log again, once a person has decided; the evidence stays."""
    with _subscriber(ctx) as subscriber:
        subscriber.release(origin)
        print_json({"released": origin})


@contextmanager
def _subscriber(ctx: typer.Context) -> Iterator[Subscriber]:
    with told(), ctx.find_root().obj.service("federation") as context:
        config = context.config
        assert isinstance(config, FederationConfig)
        subscriber = Subscriber.of(context, config)
        try:
            yield subscriber
        finally:
            subscriber.close()


def _answer(report: SyncReport) -> None:
    for merged in report.merged:
        print_json(
            {
                "origin": merged.origin,
                "state": merged.state,
                "code": merged.code or None,
                "detail": merged.detail,
                "from": merged.before,
                "to": merged.size,
                "statements": dict(merged.statements),
                "rows": merged.rows,
                "via": merged.via,
            }
        )
    summary: dict[str, object] = {
        "logs": len(report.merged),
        "rows": sum(m.rows for m in report.merged),
        "trouble": sum(1 for m in report.merged if m.code),
        "trust": "renewed" if report.trust else "unchanged",
        "notes": list(report.notes),
    }
    if report.verdict is not None:
        summary |= {"bundle": verdict_of(report.verdict), "exporter": report.exporter}
    print_json(summary)
    raise typer.Exit(0 if report.ok else 1)


def _shown(row: Mapping[str, Any]) -> dict[str, object]:
    code, state = row["code"] or "", row["state"]
    advice = ADVICE.get(code, code)
    if not code and state in ("STALE", "MISSING"):
        advice = SILENT if state == "STALE" else NEVER
    return {
        "origin": row["origin"],
        "state": state,
        "size": row["size"],
        "witnessed_at": _text(row["witnessed_at"]),
        "last_pull_at": _text(row["last_pull_at"]),
        "code": code or None,
        "detail": row["detail"] or "",
        "evidence": row["evidence"],
        "advice": advice,
    }


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")
