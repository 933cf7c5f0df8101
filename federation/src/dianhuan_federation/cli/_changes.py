"""Changes of keys: `rotate keys`, `rotate root`, `revoke key`, `revoke grant`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dianhuan_federation.cli._ceremony import (
    AsJson,
    Now,
    Publics,
    Repository,
    asked,
    at,
    ceremony,
    hub_roles,
    publics,
    write_drafts,
    write_new,
)
from dianhuan_federation.core import PAYLOAD_TYPE, key_id, seal
from dianhuan_federation.keys import (
    Group,
    OwnLog,
    TrustRepository,
    read_key_file,
    retract_grant,
    revoke,
    rotate,
)
from dianhuan_sdk import InputError

rotate_app = typer.Typer(no_args_is_help=True, help="更换密钥 · New keys, old ones go on for a while")
revoke_app = typer.Typer(no_args_is_help=True, help="撤销 · End a key or a grant, also from a past date")

HubId = Annotated[str, asked("区划代码 · division code", "--hub")]
Out = Annotated[Path, typer.Option("--out", file_okay=False, help="写到此文件夹 · folder for the drafts")]


@rotate_app.command("keys")
def rotate_keys(
    repository: Repository,
    hub: HubId,
    role: Annotated[list[str], typer.Option(help="角色，可重复 · role, repeatable")],
    keys: Annotated[Path, asked("密钥文件夹 · key folder", exists=True, file_okay=False)],
    out: Annotated[Path, asked("请求文件 · request to write", "--out", dir_okay=False)],
    now: Now = "",
    as_json: AsJson = False,
) -> None:
    """更换本方密钥 · A hub makes new keys for some roles; the request is signed by the new and the old ones.

    The province takes it with `admit`. The old key stays valid for the overlap given there; use the new one once the
    new trust metadata is published. What the old key signed stays valid by the time at which it was witnessed.
    """
    with ceremony(as_json) as answer:
        if out.exists():
            raise InputError(f"{out.name} is there already", expected="a new file name")
        request = rotate(TrustRepository(repository), hub, hub_roles(role), keys, at(now))
        write_new(out, request.envelope)
        answer.done += [
            (f"已生成 {'、'.join(request.names)}（0600）", f"made {', '.join(request.names)} (0600)"),
            (f"已写入请求 {out.name}", f"wrote the request {out.name}"),
        ]
        answer.missing.append(("省级尚未接纳", "the province has not admitted it yet"))
        answer.next += [
            ("把请求交给省级，由其执行 `admit`", "hand the request to the province, which runs `admit`"),
            ("发布之前继续使用旧密钥", "until it is published go on with the old keys"),
        ]
        answer.data |= {"request": out.name, "keys": request.names}


@rotate_app.command("root")
def rotate_root(
    repository: Repository,
    root: Publics = None,
    targets: Publics = None,
    snapshot: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="在线公钥 · public key")] = None,
    timestamp: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="在线公钥 · public key")] = None,
    threshold: Annotated[int, typer.Option(help="门限 · signatures needed")] = 3,
    out: Out = Path(),
    now: Now = "",
    as_json: AsJson = False,
) -> None:
    """更换根信任的密钥 · The next root with new holders; those before and those after must both reach the threshold.

    Name every key that is to hold the role afterwards, those that stay too. Cities need no new fingerprint: each root
    is vouched for by the one before.
    """
    with ceremony(as_json) as answer:
        online = publics([path for path in (snapshot, timestamp) if path is not None])
        drafts = TrustRepository(repository).draft_root(
            at(now),
            root=Group(publics(root), threshold) if root else None,
            targets=Group(publics(targets), threshold) if targets else None,
            snapshot=next((form for form in online if form.role == "snapshot"), None),
            timestamp=next((form for form in online if form.role == "timestamp"), None),
        )
        write_drafts(answer, out, drafts)


@revoke_app.command("key")
def revoke_key(
    repository: Repository,
    hub: HubId,
    key: Annotated[str, asked("密钥编号 · id of the key")],
    since: Annotated[
        str,
        asked("自何时起不可信 · since when, YYYY-MM-DD or RFC 3339", "--since"),
    ],
    reason: Annotated[str, asked("原因 · reason")],
    out: Out = Path(),
    now: Now = "",
    as_json: AsJson = False,
) -> None:
    """撤销城市密钥 · The province ends a hub's key since a date, which may lie back: the day of the compromise.

    What witnesses saw before it stays valid; what they saw after it is kept and no longer shown (E-REVOKED).
    """
    with ceremony(as_json) as answer:
        draft, ended = revoke(TrustRepository(repository), hub, key, at(since), reason, at(now))
        answer.done.append(
            (
                f"{hub} 的 {ended['role']} 密钥自 {ended['revoked_at']} 起撤销：{reason}",
                f"the {ended['role']} key of {hub} ends at {ended['revoked_at']}: {reason}",
            )
        )
        answer.data |= {"hub": hub, "role": ended["role"], "revoked_at": ended["revoked_at"], "reason": reason}
        write_drafts(answer, out, [draft])
        answer.next.append(
            (
                "城市需要新密钥时：`rotate keys`，旧钥已失则重新 `invite`",
                "new key: `rotate keys`; if the old is lost: `invite`",
            )
        )


@revoke_app.command("grant")
def revoke_grant(
    log: Annotated[Path, asked("日志文件夹 · log", exists=True, file_okay=False)],
    grant: Annotated[str, asked("授权编号 · id of the grant")],
    reason: Annotated[str, asked("原因 · reason")],
    legal_basis: Annotated[str, asked("依据 · legal basis")],
    key: Annotated[Path, asked("publisher 私钥 · key file", dir_okay=False)],
    out: Annotated[Path, asked("文件 · file to write", "--out", dir_okay=False)],
    now: Now = "",
    as_json: AsJson = False,
) -> None:
    """收回授权 · The provider withdraws a grant: a signed retraction, to be logged. The grant stays in the log."""
    with ceremony(as_json) as answer:
        signer = read_key_file(key, "publisher")
        statement = retract_grant(OwnLog(log), grant, reason=reason, legal_basis=legal_basis, now=at(now))
        write_new(out, seal(PAYLOAD_TYPE, statement, [signer]))
        answer.done.append((f"已签署收回 {grant}：{out.name}", f"signed the retraction of {grant}: {out.name}"))
        answer.missing.append(("尚未记入日志", "it is not in the log yet"))
        answer.next.append(
            (
                "记入本方日志后生效；自行发布的节点可用 `retract` 一步完成",
                "log it before any other retraction; a hub that publishes does both with `retract`",
            )
        )
        answer.data |= {"grant": grant, "envelope": out.name, "key": key_id(signer.public)}
