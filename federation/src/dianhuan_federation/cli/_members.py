"""How a federation begins and a hub enters it: `init`, `invite`, `join`, `admit`."""

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
    province_group,
    publics,
    read_file,
    write_drafts,
    write_new,
)
from dianhuan_federation.keys import (
    Group,
    TrustRepository,
    admit,
    begin,
    fingerprints,
    invite,
    join,
    member_config,
    pin,
    read_key_file,
    spoken,
)
from dianhuan_sdk import InputError

members_app = typer.Typer()

Fingerprint = Annotated[
    str,
    asked(
        "电话核对的根信任指纹 · root fingerprint as read by telephone, SHA-256 or SM3",
        "--fingerprint",
    ),
]


@members_app.command()
def init(
    out: Annotated[Path, asked("待签文件夹 · folder for drafts", "--out", file_okay=False)],
    root: Publics = None,
    targets: Publics = None,
    snapshot: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="在线公钥 · public key")] = None,
    timestamp: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="在线公钥 · public key")] = None,
    province: Annotated[list[str] | None, typer.Option(help="省份与公钥 · 43=a.pub,b.pub,c.pub; repeatable")] = None,
    threshold: Annotated[int, typer.Option(help="root 与 targets 的门限 · signatures for root and targets")] = 3,
    province_threshold: Annotated[int, typer.Option(help="省级门限 · signatures for a province")] = 2,
    now: Now = "",
    as_json: AsJson = False,
) -> None:
    """建立联邦 · Begin a federation: drafts of root, targets and provinces, and the fingerprints of the root.

    Each holder makes his keys with `trust key` and hands over the public form: five for root and five for targets
    (threshold 3), three per province (threshold 2), one each for snapshot and timestamp (online). Then the drafts
    travel (`trust sign`) and are published (`trust publish`).
    """
    with ceremony(as_json) as answer:
        if snapshot is None or timestamp is None or not root or not targets or not province:
            raise InputError(
                "public keys are missing",
                expected="--root and --targets (repeated), --snapshot, --timestamp, and --province NN=… for each",
                hint="let each holder run `dianhuan federation trust key` and hand over the .pub file",
            )
        given = [province_group(text, province_threshold) for text in province]
        groups = dict(given)
        if len(groups) != len(given):
            raise InputError("one province stands twice", expected="each province once")
        drafts = begin(
            Group(publics(root), threshold),
            Group(publics(targets), threshold),
            groups,
            publics([snapshot])[0],
            publics([timestamp])[0],
            at(now),
        )
        write_drafts(answer, out, drafts)
        prints = fingerprints(drafts[0].metadata())
        for name, title in (("sha256", "SHA-256"), ("sm3", "SM3")):
            answer.done.append((f"根信任 {title} 指纹 {spoken(prints[name])}", f"root {title} {prints[name]}"))
        answer.next.append(
            (
                "每位持钥人签署前，在电话里互相念一遍指纹",
                "before they sign, the holders read the fingerprint to each other by telephone",
            )
        )
        answer.data["root_fingerprint"] = prints


@members_app.command("invite")
def invite_command(
    repository: Repository,
    hub: Annotated[str, asked("区划代码 · division code, 6 digits")],
    name: Annotated[str, asked("城市名称 · name of the city")],
    authority: Annotated[str, asked("域名 · authority, e.g. fed.example")],
    key: Annotated[Path, asked("省级私钥 · key of the province", dir_okay=False)],
    out: Annotated[Path, asked("邀请文件 · file to write", "--out", dir_okay=False)],
    policy: Annotated[Path, asked("见证策略 · witness policy of the hub (tlog-policy)", exists=True, dir_okay=False)],
    role: Annotated[list[str] | None, typer.Option(help="所需密钥 · needed keys; log, publisher, transport")] = None,
    days: Annotated[int, typer.Option(min=1, max=365, help="有效天数 · days it holds")] = 30,
    epoch: Annotated[int, typer.Option(min=1, max=9999, help="日志代次 · epoch of the log")] = 1,
    now: Now = "",
    as_json: AsJson = False,
) -> None:
    """邀请城市 · The province invites a city: its log, the keys needed, the root fingerprint; signed by one holder."""
    with ceremony(as_json) as answer:
        store, time = TrustRepository(repository), at(now)
        envelope = invite(
            store,
            read_key_file(key, "province"),
            hub=hub,
            name=name,
            authority=authority,
            roles=hub_roles(role or ["log", "publisher", "transport"]),
            now=time,
            days=days,
            epoch=epoch,
            witness_policy=read_file(policy, 65536),
        )
        write_new(out, envelope)
        prints = fingerprints(store.first_root())
        answer.done.append(
            (f"已写入给 {name}（{hub}）的邀请 {out.name}", f"wrote the invitation for {hub}: {out.name}")
        )
        answer.missing.append(("城市的密钥请求", "the city's request for its keys"))
        answer.next += [
            (
                f"把邀请与信任库交给城市；另打电话念指纹 {spoken(prints['sha256'])}",
                f"hand the city the invitation and the trust repository, and read it the fingerprint by telephone: "
                f"{spoken(prints['sha256'])}",
            ),
            ("城市执行 `dianhuan federation join`", "the city runs `dianhuan federation join`"),
        ]
        answer.data |= {"invitation": out.name, "hub": hub, "root_fingerprint": prints}


@members_app.command("join")
def join_command(
    repository: Repository,
    invitation: Annotated[Path, asked("邀请文件 · invitation", exists=True, dir_okay=False)],
    fingerprint: Fingerprint,
    keys: Annotated[Path, asked("密钥文件夹 · folder for keys", file_okay=False)],
    out: Annotated[Path, typer.Option("--out", dir_okay=False, help="请求文件 · request file to write")],
    endpoint: Annotated[list[str] | None, typer.Option(help="对外地址 · address to pull from")] = None,
    guard: Annotated[Path | None, typer.Option(dir_okay=False, help="护栏文件 · guard file")] = None,
    config: Annotated[Path | None, typer.Option(dir_okay=False, help="配置写到 · file for the section")] = None,
    now: Now = "",
    as_json: AsJson = False,
) -> None:
    """加入联邦 · The city joins, with this one command run twice.

    First: checks fingerprint and invitation, makes a key per role, writes a request that holds public keys only and
    is signed by each. Again, once the province has admitted it: pins root.json and gives the section for hub.toml.
    """
    with ceremony(as_json) as answer:
        store, time = TrustRepository(repository), at(now)
        if not out.exists():
            request = join(store, read_file(invitation), fingerprint, keys, endpoint or [], time)
            write_new(out, request.envelope)
            answer.done += [
                ("根信任指纹与邀请均已核对", "fingerprint and invitation hold"),
                (
                    f"已在 {keys.name} 生成密钥 {'、'.join(request.names)}（0600）",
                    f"made keys in {keys.name}: {', '.join(request.names)} (0600)",
                ),
                (f"已写入请求 {out.name}，只含公钥", f"wrote the request {out.name}, public keys only"),
            ]
            answer.missing.append(("省级尚未接纳", "the province has not admitted the hub yet"))
            answer.next += [
                ("把请求交给省级，由其执行 `admit`", "hand the request to the province, which runs `admit`"),
                ("取得新的信任库后，再次执行本命令", "with the newer trust repository, run this command again"),
            ]
            answer.data |= {"state": "requested", "request": out.name, "keys": request.names}
            return
        member = pin(store, read_file(out), fingerprint, keys, time)
        if member is None:
            answer.done.append(("请求仍然有效", "the request stands"))
            answer.missing.append(("信任库中还没有本方密钥", "the trust repository does not name these keys yet"))
            answer.next.append(
                (
                    "等省级接纳并发布后，取新的信任库再执行",
                    "run this again with the repository that the province publishes",
                )
            )
            answer.data |= {"state": "waiting"}
            return
        section = member_config(member, store, keys, guard)
        answer.done += [
            ("省级已接纳本方密钥", "the province vouches for these keys"),
            (f"已锁定根信任 {member.root.name}", f"pinned {member.root.name}"),
        ]
        if config is None:
            answer.next.append(("把以下配置写入 hub.toml", "put this section into hub.toml"))
        else:
            write_new(config, section.encode())
            answer.next.append((f"把 {config.name} 并入 hub.toml", f"put {config.name} into hub.toml"))
        answer.data |= {"state": "member", "config": section}
    if config is None and not as_json:
        typer.echo(section)


@members_app.command("admit")
def admit_command(
    repository: Repository,
    request: Annotated[Path, asked("请求文件 · request", exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option("--out", file_okay=False, help="写到此文件夹 · folder for the draft")] = Path(),
    days: Annotated[int, typer.Option(min=1, max=3650, help="密钥有效天数 · days that the keys are valid")] = 730,
    overlap: Annotated[int, typer.Option(min=0, max=365, help="旧密钥延续天数 · days that followed keys go on")] = 30,
    now: Now = "",
    as_json: AsJson = False,
) -> None:
    """接纳 · The province accepts a city's request, of `join` or of `rotate`.

    Checks that every key in it signed it, that the invitation was ours and that no key stands elsewhere; then drafts
    the province's next metadata, which its holders sign.
    """
    with ceremony(as_json) as answer:
        proposal = admit(TrustRepository(repository), read_file(request), at(now), days=days, overlap=overlap)
        hub = proposal.file["hub"]
        answer.done.append((f"{hub} 的请求成立", f"the request of {hub} holds: every key in it signed it"))
        answer.data["keys"] = [{"role": form.role, "id": form.id} for form in proposal.added]
        for form in proposal.added:
            answer.done.append((f"新 {form.role} 密钥 {form.id[:16]}", f"new {form.role} key {form.id[:16]}"))
        for key in proposal.ended:
            answer.done.append((f"旧密钥 {key[:16]} {overlap} 天后停用", f"key {key[:16]} ends in {overlap} days"))
        write_drafts(answer, out, [proposal.draft])
