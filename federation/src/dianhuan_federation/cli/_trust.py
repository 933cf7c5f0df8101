"""`dianhuan federation trust …`: keys, signatures of holders, publishing of trust metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dianhuan_federation.cli._ceremony import (
    AsJson,
    Now,
    Publics,
    Repository,
    Yes,
    asked,
    at,
    ceremony,
    publics,
    read_file,
    write_drafts,
    write_new,
)
from dianhuan_federation.keys import (
    KEY_ROLES,
    Draft,
    Group,
    KeyRole,
    PublicForm,
    TrustRepository,
    fingerprints,
    generate,
    merged,
    read_key_file,
    read_key_text,
    read_public,
    read_signer,
    role_of,
    spoken,
    write_key,
)
from dianhuan_federation.log_store import write_durably
from dianhuan_sdk import InputError

trust_app = typer.Typer(no_args_is_help=True, help="信任与密钥 · Trust metadata and keys")

Out = Annotated[Path, typer.Option("--out", file_okay=False, help="写到此文件夹 · folder for the drafts")]
Key = Annotated[Path, asked("私钥文件 · key file", "--key", dir_okay=False)]


@trust_app.command("key")
def key_command(
    role: Annotated[str, typer.Option(prompt=f"角色 · role ({', '.join(KEY_ROLES)})", help="角色 · role")],
    out: Annotated[Path, asked("私钥文件 · key file to write", dir_okay=False)],
    holder: Annotated[str, typer.Option(help="持钥人 · who holds it, for people")] = "",
    as_json: AsJson = False,
) -> None:
    """生成密钥 · Make a key for one role; writes the key file (0600) and beside it the public form, `<name>.pub`."""
    with ceremony(as_json) as answer:
        known: KeyRole | None = next((r for r in KEY_ROLES if r == role), None)
        if known is None:
            raise InputError(f"role {role[:40]!r}", expected=", ".join(KEY_ROLES))
        key = generate(known)
        form = PublicForm(known, key.public, holder)
        public = out.with_name(f"{out.name}.pub")
        if public.exists():
            raise InputError(f"{public.name} is there already", expected="a new file name")
        write_key(out, key)
        write_new(public, form.encode())
        answer.done.append((f"已生成 {role} 密钥，编号 {form.id[:16]}", f"made a {role} key, id {form.id[:16]}"))
        answer.next.append(
            (
                f"只把 {public.name} 交给他人；{out.name} 不离开本机，另存一份离线备份",
                f"hand over {public.name} only; {out.name} never leaves this machine, keep one offline copy",
            )
        )
        answer.data |= {"key": out.name, "public": public.name, "id": form.id, "role": role}


@trust_app.command()
def sign(
    draft: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="待签文件 · draft")],
    key: Key,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """签署待签文件 · Add a holder's signature to a draft; it then travels on. Works on an offline machine."""
    with ceremony(as_json) as answer:
        found = Draft.decode(read_file(draft))
        text = read_key_text(key)
        wanted = "province" if found.role.startswith("prov-") else found.role
        if role_of(text) not in (None, wanted):
            raise InputError(f"a key made for the role {role_of(text)}", expected=f"a key of role {wanted}")
        signed = found.signed_by(read_signer(text))
        answer.confirm(signed.described(), yes)
        write_durably(draft, signed.encode())
        answer.done.append((f"已签署 {signed.name}", f"signed {signed.name}"))
        answer.data["content"] = signed.content()
        answer.drafted(draft, signed)
        answer.after_drafts([signed])


@trust_app.command()
def check(
    drafts: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="待签文件 · drafts")],
    as_json: AsJson = False,
) -> None:
    """查看待签文件 · What a draft says, and how many signatures are there. Exit code 1 while some are missing."""
    with ceremony(as_json) as answer:
        found = [(path, Draft.decode(read_file(path))) for path in drafts]
        for path, draft in found:
            answer.done += draft.described()
            answer.data.setdefault("contents", []).append(draft.content())
            answer.drafted(path, draft)
        answer.after_drafts([draft for _, draft in found])
    raise typer.Exit(0 if all(draft.complete for _, draft in found) else 1)


@trust_app.command()
def publish(
    repository: Repository,
    snapshot_key: Annotated[Path, typer.Option(dir_okay=False, help="在线密钥 · online key of the snapshot")],
    timestamp_key: Annotated[Path, typer.Option(dir_okay=False, help="在线密钥 · online key of the timestamp")],
    drafts: Annotated[
        list[Path] | None, typer.Argument(exists=True, dir_okay=False, help="签齐的文件；不给则只续签快照 · drafts")
    ] = None,
    now: Now = "",
    as_json: AsJson = False,
) -> None:
    """发布 · Put complete drafts in force and sign snapshot and timestamp again; without drafts only the latter.

    Several copies of one draft that were signed side by side count together. All is published or nothing.
    """
    with ceremony(as_json) as answer:
        store = TrustRepository(repository)
        found = merged([Draft.decode(read_file(path)) for path in drafts or ()])
        snapshot, timestamp = read_key_file(snapshot_key, "snapshot"), read_key_file(timestamp_key, "timestamp")
        written = store.publish(found, snapshot, timestamp, at(now))
        prints = fingerprints(store.first_root())
        answer.done.append((f"已发布 {'、'.join(written)}", f"published {', '.join(written)}"))
        answer.next.append(
            (
                "30 天内须再次执行本命令，续签快照与时间戳",
                "run this again within 30 days: snapshot and timestamp expire",
            )
        )
        answer.data |= {"published": written, "root_fingerprint": prints}


@trust_app.command()
def renew(
    repository: Repository,
    role: Annotated[str, typer.Argument(help="root、targets 或 prov-NN · which role")],
    out: Out = Path(),
    now: Now = "",
    as_json: AsJson = False,
) -> None:
    """续期 · Draft the next version of a role with a new expiry and nothing else changed."""
    with ceremony(as_json) as answer:
        store = TrustRepository(repository)
        drafts = store.draft_root(at(now)) if role == "root" else [store.draft_again(role, at(now))]
        write_drafts(answer, out, drafts)


@trust_app.command()
def province(
    repository: Repository,
    code: Annotated[str, asked("省级代码 · first two digits, e.g. 43", "--province")],
    key: Publics = None,
    threshold: Annotated[int, typer.Option(help="签名门限 · signatures needed")] = 2,
    out: Out = Path(),
    now: Now = "",
    as_json: AsJson = False,
) -> None:
    """增加省份或更换其密钥 · Draft the targets that add a province or give it new keys; holders of `targets` sign."""
    with ceremony(as_json) as answer:
        group = Group(publics(key), threshold)
        write_drafts(answer, out, TrustRepository(repository).draft_province(code, group, at(now)))


@trust_app.command()
def fingerprint(
    root: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="1.root.json 或其待签文件 · root or its draft")
    ],
    as_json: AsJson = False,
) -> None:
    """根信任指纹 · The fingerprints of a root, to be read back by telephone; signatures do not change them."""
    with ceremony(as_json) as answer:
        data = read_file(root)
        prints = fingerprints(Draft.decode(data).metadata() if b"trust-draft" in data[-4096:] + data[:4096] else data)
        for name, title in (("sha256", "SHA-256"), ("sm3", "SM3")):
            answer.done.append((f"{title} 指纹 {spoken(prints[name])}", f"{title} {prints[name]}"))
        answer.data["root_fingerprint"] = prints


@trust_app.command()
def vkey(
    public: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="公钥文件 · public key file")],
    name: Annotated[str, asked("名称 · name: the witness's, or the origin of a log")],
    as_json: AsJson = False,
) -> None:
    """见证策略中的一行 · A witness's or log's key as witness policies write it: `witness <word> <verifier key>`."""
    with ceremony(as_json) as answer:
        form = read_public(read_file(public))
        if form.role not in ("witness", "log"):
            raise InputError(f"a key made for the role {form.role}", expected="a witness or log key")
        line = form.vkey(name)
        answer.done.append((line, f"for the policy of others: {form.role} … {line}"))
        answer.data["vkey"] = line
