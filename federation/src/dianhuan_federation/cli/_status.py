"""`dianhuan federation status`: who is trusted until when, what expires soon, thresholds, the own log and witnesses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dianhuan_federation.cli._ceremony import Answer, AsJson, Now, Pinned, Repository, at, ceremony, read_file, trusted
from dianhuan_federation.core import Hub, Trust, cosigned_at, key_id, parse_checkpoint, parse_policy
from dianhuan_federation.keys import TrustRepository, fingerprints, iso
from dianhuan_sdk import InputError

status_app = typer.Typer()

DAY = 86_400


@status_app.command()
def status(
    repository: Repository,
    trust: Pinned = None,
    log: Annotated[Path | None, typer.Option(exists=True, file_okay=False, help="本方日志 · own log folder")] = None,
    policy: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="见证策略 · witness policy")] = None,
    soon: Annotated[int, typer.Option(min=0, help="几天内到期算临近 · days that count as soon")] = 30,
    deny: Annotated[list[str] | None, typer.Option(help="本地拒绝名单 · hub, log or key id never trusted here")] = None,
    now: Now = "",
    as_json: AsJson = False,
) -> None:
    """查看联邦 · Who is trusted until when, thresholds, what expires soon; with --log the own log and its witnesses."""
    with ceremony(as_json) as answer:
        store, time = TrustRepository(repository), at(now)
        known = trusted(repository, trust, time, deny or ())
        answer.data["root_fingerprint"] = fingerprints(store.first_root())
        answer.data["denied"] = sorted(known.denied)
        answer.data["roles"] = _roles(answer, store, time, soon)
        answer.data["hubs"] = [_hub(answer, hub, known, time, soon) for _, hub in sorted(known.hubs.items())]
        answer.data["refused"] = dict(known.refused)
        for name, why in known.refused.items():
            answer.missing.append((f"{name} 不受信任：{why}", f"{name} is not trusted: {why}"))
        if log is not None:
            answer.data["log"] = _log(answer, log, policy, known, time)


def _roles(answer: Answer, store: TrustRepository, time: int, soon: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (version, expires) in store.expiries().items():
        holders, days = store.holders(name), (expires - time) // DAY
        found[name] = {
            "version": version,
            "expires": iso(expires),
            "days": days,
            "threshold": holders.threshold,
            "keys": len(holders.keys),
        }
        count = f"{holders.threshold}/{len(holders.keys)}"
        answer.done.append(
            (
                f"{name} 第 {version} 版，门限 {count}，{iso(expires)} 到期（{days} 天）",
                f"{name} version {version}, threshold {count}, expires {iso(expires)} ({days} days)",
            )
        )
        if days < soon and name not in ("snapshot", "timestamp"):
            answer.next.append(
                (f"{name} 还有 {days} 天：`trust renew {name}`", f"{name}: {days} days left, `trust renew {name}`")
            )
        elif days < min(soon, 7):
            answer.next.append(
                (f"{name} 还有 {days} 天：`trust publish`", f"{name}: {days} days left, run `trust publish` again")
            )
    return found


def _hub(answer: Answer, hub: Hub, known: Trust, time: int, soon: int) -> dict[str, Any]:
    denied = hub.id in known.denied
    keys = []
    for key in hub.keys:
        days = (key.valid_until - time) // DAY
        revoked = None if key.revoked_at is None else iso(key.revoked_at)
        keys.append(
            {
                "role": key.role,
                "id": key_id(key.key),
                "valid_from": iso(key.valid_from),
                "valid_until": iso(key.valid_until),
                "revoked_at": revoked,
                "counts": key.counts_at(time),
            }
        )
        followed = any(k.role == key.role and k.counts_at(time) and k.valid_until > key.valid_until for k in hub.keys)
        if key.counts_at(time) and days < soon and not followed:
            answer.next.append(
                (
                    f"{hub.id} 的 {key.role} 密钥还有 {days} 天：`rotate keys`",
                    f"the {key.role} key of {hub.id} has {days} days left: `rotate keys`",
                )
            )
    counting = sorted({str(key["role"]) for key in keys if key["counts"]})
    freshness = known.freshness[f"prov-{hub.id[:2]}"].name.lower()
    answer.done.append(
        (
            f"{hub.id} {hub.name}：{'、'.join(hub.origins)}，有效密钥 {'、'.join(counting)}，{freshness}"
            + ("，在拒绝名单上" if denied else ""),
            f"{hub.id} {hub.name}: {', '.join(hub.origins)}, keys in force {', '.join(counting)}, {freshness}"
            + (", on the local deny list" if denied else ""),
        )
    )
    return {
        "id": hub.id,
        "name": hub.name,
        "origins": list(hub.origins),
        "denied": denied,
        "successor": hub.successor or None,
        "freshness": freshness,
        "keys": keys,
    }


def _log(answer: Answer, folder: Path, policy: Path | None, known: Trust, time: int) -> dict[str, Any]:
    head, note = parse_checkpoint(read_file(folder / "checkpoint"))
    hub = next((hub for hub in known.hubs.values() if head.origin in hub.origins), None)
    keys = [] if hub is None else hub.log_keys(head.origin)
    if not any(note.signed_by(note_key) and key.counts_at(time) for note_key, key in keys):
        raise InputError(
            f"the checkpoint of {head.origin} is not signed by a log key in force",
            expected="the log of a hub that the trust repository names, signed with its present log key",
        )
    found: dict[str, Any] = {"origin": head.origin, "size": head.size, "root": head.root.hex()}
    answer.done.append((f"日志 {head.origin} 共 {head.size} 条", f"the log {head.origin} holds {head.size} entries"))
    if policy is not None:
        rules = parse_policy(read_file(policy))
        times = {name: cosigned_at(note, key) for name, key in rules.witnesses.items()}
        found["witnesses"] = {name: None if seen is None else iso(seen) for name, seen in times.items()}
        found["quorum"] = rules.satisfied_by(name for name, seen in times.items() if seen is not None)
        missing = [name for name, seen in times.items() if seen is None]
        if missing:
            names = ", ".join(missing)
            answer.missing.append((f"见证方尚未联署：{names}", f"not cosigned yet by {names}"))
        if not found["quorum"]:
            answer.next.append(("见证未达门限，对外仍待定", "no quorum of witnesses yet: others hold it as pending"))
    return found
