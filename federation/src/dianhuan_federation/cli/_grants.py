"""`dianhuan federation grant …`: an agreement under a policy, signed by both sides, carried file by file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dianhuan_federation.cli._ceremony import (
    Answer,
    AsJson,
    Line,
    Now,
    Pinned,
    Repository,
    Yes,
    asked,
    at,
    ceremony,
    read_file,
    trusted,
    write_new,
)
from dianhuan_federation.keys import GrantFile, OwnLog, new_grant, read_key_file
from dianhuan_federation.log_store import write_durably

grant_app = typer.Typer(no_args_is_help=True, help="授权 · Grants: offered by the provider, signed by both")

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="授权文件 · grant file")]


@grant_app.command("new")
def grant_new(
    log: Annotated[Path, asked("日志文件夹 · log", exists=True, file_okay=False)],
    policy: Annotated[str, asked("共享策略编号 · policy id")],
    assignee: Annotated[str, asked("使用方区划代码 · consumer")],
    purpose: Annotated[str, asked("用途 · purpose")],
    start: Annotated[str, asked("自 · from, YYYY-MM-DD", "--from")],
    end: Annotated[str, asked("至 · until, YYYY-MM-DD", "--until")],
    out: Annotated[Path, asked("文件 · file to write", "--out", dir_okay=False)],
    grant_id: Annotated[str, typer.Option("--id", help="授权编号 · grant id")] = "",
    now: Now = "",
    as_json: AsJson = False,
) -> None:
    """拟定授权 · The provider writes an unsigned grant under a policy in its log."""
    with ceremony(as_json) as answer:
        grant = new_grant(
            OwnLog(log),
            policy=policy,
            assignee=assignee,
            purpose=purpose,
            start=at(start),
            end=at(end),
            now=at(now),
            grant_id=grant_id,
        )
        write_new(out, grant.encode())
        answer.done.append(
            (f"已拟定授权 {grant.grant.id}：{out.name}", f"wrote the grant {grant.grant.id}: {out.name}")
        )
        _describe(answer, grant, {grant.grant.assigner: False, grant.grant.assignee: False})


@grant_app.command("sign")
def grant_sign(
    file: File,
    key: Annotated[Path, asked("publisher 私钥 · key file", dir_okay=False)],
    repository: Repository,
    trust: Pinned = None,
    now: Now = "",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """签署授权 · Sign a grant: the provider first, then the consumer, each with a publisher key."""
    with ceremony(as_json) as answer:
        time = at(now)
        known = trusted(repository, trust, time)
        signed = GrantFile.decode(read_file(file)).signed_by(read_key_file(key, "publisher"), known, time)
        answer.confirm([_terms(signed)], yes)
        write_durably(file, signed.encode())
        answer.done.append((f"已签署 {signed.grant.id}", f"signed {signed.grant.id}"))
        _describe(answer, signed, signed.standing(known, time))


@grant_app.command("check")
def grant_check(
    file: File, repository: Repository, trust: Pinned = None, now: Now = "", as_json: AsJson = False
) -> None:
    """查看授权 · What a grant says and who has signed it. Exit code 1 while a signature is missing."""
    with ceremony(as_json) as answer:
        grant = GrantFile.decode(read_file(file))
        standing = grant.standing(trusted(repository, trust, at(now)), at(now))
        _describe(answer, grant, standing)
    raise typer.Exit(0 if all(standing.values()) else 1)


def _terms(file: GrantFile) -> Line:
    grant = file.grant
    return (
        f"{grant.assigner} → {grant.assignee}，策略 {grant.policy.id}，用途 {grant.purpose}，"
        f"{grant.valid_from:%Y-%m-%d} 至 {grant.valid_until:%Y-%m-%d}",
        f"{grant.assigner} → {grant.assignee}, policy {grant.policy.id}, for {grant.purpose}, "
        f"{grant.valid_from:%Y-%m-%d} to {grant.valid_until:%Y-%m-%d}",
    )


def _describe(answer: Answer, file: GrantFile, standing: dict[str, bool]) -> None:
    grant = file.grant
    answer.done.append(_terms(file))
    answer.missing += [
        (f"{party} 的签名", f"the signature of {party}") for party, signed in standing.items() if not signed
    ]
    if all(standing.values()):
        answer.next.append(
            (
                f"{grant.assigner} 用 `log-grant` 把此文件原样记入日志，{grant.assignee} 保存同一文件",
                f"{grant.assigner} logs the file as it is with `log-grant`; {grant.assignee} keeps the same bytes",
            )
        )
    else:
        party = next(party for party, signed in standing.items() if not signed)
        answer.next.append((f"由 {party} 执行 `grant sign`", f"{party} runs `grant sign`"))
    answer.data |= {"grant": grant.id, "signed": standing, "place": [grant.stream, grant.stream_seq]}
