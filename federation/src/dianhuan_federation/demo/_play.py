"""The acts of the demo."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dianhuan_federation.demo._stage import Stage, free_port, service_key
from dianhuan_federation.keys import PublicForm, fingerprints, read_key_file
from dianhuan_federation.policy import SHIPPED, shipped_document
from dianhuan_sdk import LOCAL_ZONE

AUTHORITY = "fed.example"
ENTITIES = 800
DAYS = 28
BASE_RATE = 0.08
"""High, so that a small city has something to share; no figure of accuracy comes from here."""

_ZHUZHOU = ("430202", "430203", "430204", "430211", "430212", "430223", "430224", "430225", "430281")
"""Districts of the simulator's own city, which are replaced."""

_INSTANT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Party:
    """A hub of the play.

    Args:
        name: of its folder.
        hub: division code.
        zh: name of the place.
        roles: keys and duties.
        districts: district → name, for a city.
        seed: of its simulated enterprises.
    """

    name: str
    hub: str
    zh: str
    roles: tuple[str, ...]
    districts: tuple[tuple[str, str], ...] = ()
    seed: int = 0

    @property
    def province(self) -> str:
        """First two digits of its code."""
        return self.hub[:2]

    @property
    def origin(self) -> str:
        """Its log."""
        return f"{AUTHORITY}/{self.hub}/r1"


ZHUZHOU = Party(
    "zhuzhou",
    "430200",
    "株洲市",
    ("publisher",),
    (("430202", "荷塘区"), ("430203", "芦淞区"), ("430204", "石峰区")),
    11,
)
SHENZHEN = Party(
    "shenzhen",
    "440300",
    "深圳市",
    ("publisher",),
    (("440303", "罗湖区"), ("440305", "南山区"), ("440306", "宝安区")),
    12,
)
HUNAN = Party("hunan", "430000", "湖南省", ("witness", "mirror", "subscriber"))
GUANGDONG = Party("guangdong", "440000", "广东省", ("witness",))
CITIES = (ZHUZHOU, SHENZHEN)
PROVINCES = (HUNAN, GUANGDONG)
PROOF = """query ($origin: String!, $index: Int!, $recordId: String!) {
  federated { proof(origin: $origin, index: $index, recordId: $recordId) { filename json } } }"""
QUESTION = """{ federated {
  warningCounts(by: HUB) { groups { key count } coverage { covered stale missing complete } }
  warnings(first: 2) { nodes { recordId hub division industry day modelId score
    provenance { origin index witnesses witnessedAt policy state } } }
  statistics(first: 3) { nodes { hub division measure value contributors countPrecision } }
  hubs { nodes { hub state size } } } }"""


class Play:
    """Act by act.

    Args:
        stage: where it is played.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.rows = 0
        self._ports = {party.name: free_port() for party in (*CITIES, *PROVINCES)}
        self._key = ""
        self._backup = stage.folder / "backup-of-zhuzhou"

    def ceremony(self) -> None:
        """The root group, two provinces, and four hubs that join."""
        say, run = self.stage.say, self.stage.federation
        say("1", "根信任与两省:密钥仪式,五人中三人签署", "root and two provinces: 3 of 5 sign, 2 of 3 in each province")
        for role, holders in (("root", 5), ("targets", 5), ("43", 3), ("44", 3)):
            for i in range(1, holders + 1):
                kind = "province" if role.isdigit() else role
                run("trust", "key", "--role", kind, "--out", f"holders/{role}-{i}.pem")
        for role in ("snapshot", "timestamp"):
            run("trust", "key", "--role", role, "--out", f"holders/{role}.pem")
        keys = [f for i in range(1, 6) for r in ("root", "targets") for f in (f"--{r}", f"holders/{r}-{i}.pem.pub")]
        of = {p: ",".join(f"holders/{p}-{i}.pem.pub" for i in (1, 2, 3)) for p in ("43", "44")}
        provinces = [f for p, files in of.items() for f in ("--province", f"{p}={files}")]
        online = ("--snapshot", "holders/snapshot.pem.pub", "--timestamp", "holders/timestamp.pem.pub")
        run("init", "--out", "drafts", *keys, *online, *provinces)
        for i in (1, 3, 5):
            for role in ("root", "targets"):
                self._sign(f"drafts/1.{role}.draft.json", f"{role}-{i}")
        for province in of:
            for i in (1, 2):
                self._sign(f"drafts/1.prov-{province}.draft.json", f"{province}-{i}")
        self._publish_trust(*sorted((self.stage.folder / "drafts").glob("*.draft.json")))
        say("2", "两省节点与两市加入,公钥当面核对", "two provincial hubs and two cities join; only public keys travel")
        self.stage.write("none.policy", "quorum none\n")
        for party in PROVINCES:
            self._join(
                party, "none.policy", ("log", "publisher", "transport", *(r for r in party.roles if r != "subscriber"))
            )
        names = {p.name: f"{AUTHORITY}/{p.hub}/witness" for p in PROVINCES}
        lines = [f"witness {p.name} {self._vkey(p, names[p.name])}" for p in PROVINCES]
        both = f"group both all {' '.join(names)}"
        self.stage.write("witnesses.policy", "\n".join([*lines, both, "quorum both", ""]))
        for party in PROVINCES:
            shutil.copy(self.stage.folder / "witnesses.policy", self._folder(party) / "keys" / "witnesses.policy")
        for city in CITIES:
            self._join(city, "witnesses.policy", ("log", "publisher", "transport"))

    def cities(self) -> None:
        """Each city reads its grid files and is screened; each province has a hub without load data."""
        self.stage.say(
            "3",
            "两市各自读入电网文件并筛查",
            "each city reads its own grid files and is screened; raw load stays there",
        )
        for party in (*CITIES, *PROVINCES):
            self.stage.hub(party.name, "init", "--name", party.zh, "--division", party.hub)
        for city in CITIES:
            self._city(city)
        for party in (*CITIES, *PROVINCES):
            self._settings(party)
        key, section = service_key("agency", "43")
        self._key = key
        self.stage.write("hunan/hub.toml", section, more=True)

    @contextmanager
    def provinces(self) -> Iterator[None]:
        """Both provinces serve: witness, mirror."""
        self.stage.say("4", "两省开始见证", "both provinces begin to witness")
        with ExitStack() as stack:
            for party in PROVINCES:
                self.stage.hub(party.name, "federation", "node", "init", "--json")
                stack.enter_context(self.stage.serving(party.name, self._ports[party.name]))
            yield

    def publish(self) -> None:
        """Cities publish policies and statistics, then rows to the agency that has a grant."""
        self.stage.say(
            "5", "两市发布:策略、闸门、签名、两省见证", "cities publish: policy, egress gate, signature, two witnesses"
        )
        today = datetime.now(UTC).date()
        for city in CITIES:
            self.stage.hub(city.name, "federation", "begin-log", "--json")
            self._published(city)
            if city is ZHUZHOU:
                shutil.copytree(self._folder(city) / "data", self._backup)
            grant = f"{city.name}/grant.json"
            log = f"{city.name}/data/plugins/federation/public/log"
            period = ("--from", today, "--until", today + timedelta(days=180))
            about = ("--policy", "warnings-to-grantees", "--assignee", HUNAN.hub, "--purpose", "joint enforcement")
            self.stage.federation(
                "grant", "new", "--log", log, *about, *period, "--out", grant, "--id", f"g-{city.name}"
            )
            for party in (city, HUNAN):
                key = f"{party.name}/keys/publisher-1.pem"
                self.stage.federation("grant", "sign", grant, "--key", key, "--repository", "trust", "--yes")
            self.stage.hub(city.name, "federation", "log-grant", self.stage.folder / grant, "--json")
            self._published(city)

    def sync(self) -> None:
        """The agency pulls, verifies every row, merges."""
        self.stage.say("6", "湖南省节点拉取、逐行验证、合并", "the agency pulls, verifies every row, merges")
        with ExitStack() as stack:
            for city in CITIES:
                stack.enter_context(self.stage.serving(city.name, self._ports[city.name]))
            answers = self.stage.hub("hunan", "federation", "sync")
        self.rows = answers[-1]["rows"]
        for answer in answers[:-1]:
            self.stage.tell(f"  {answer['origin']}: {answer['to']} 条声明 statements, {answer['rows']} 行 rows")

    def query(self) -> dict[str, Any]:
        """The agency asks its own verified replica."""
        self.stage.say(
            "7",
            "省级查询:每行有出处,合计说明覆盖了谁",
            "the agency asks: every row with its source, every sum with its cover",
        )
        with self.stage.serving("hunan", self._ports["hunan"]) as url:
            answer = self.stage.ask(url, self._key, QUESTION)
            found: dict[str, Any] = answer["data"]["federated"]
            node = found["warnings"]["nodes"][0]
            source = node["provenance"]
            wanted = {"origin": source["origin"], "index": source["index"], "recordId": node["recordId"]}
            proof = self.stage.ask(url, self._key, PROOF, wanted)["data"]["federated"]["proof"]
        self.stage.tell(json.dumps(found, ensure_ascii=False, indent=1))
        self.stage.write("court/record.proof.json", proof["json"])
        return found

    def proof(self) -> dict[str, Any]:
        """A third party verifies one record with the trust root and no hub."""
        self.stage.say("8", "第三方离线核验一条记录", "a third party verifies one record, with no hub and no network")
        court = self.stage.folder / "court"
        shutil.copytree(self.stage.folder / "trust", court / "trust")
        words = ("--trust", "court/trust/1.root.json", "--repository", "court/trust", "--policy", "witnesses.policy")
        return self._verified("check-proof", "court/record.proof.json", *words)

    def tampered_copy(self) -> dict[str, Any]:
        """A courier changes one digit on the stick."""
        self.stage.say("9", "途中篡改一个字节:拒收", "a courier changes one byte on the way: refused")
        self.stage.hub("hunan", "federation", "export", self.stage.folder / "stick.tar", "--receiver", GUANGDONG.hub)
        data = bytearray((self.stage.folder / "stick.tar").read_bytes())
        data[data.rindex(b"statistic") if b"statistic" in data else len(data) // 2] ^= 1
        (self.stage.folder / "tampered.tar").write_bytes(data)
        answer = self.stage.hub("guangdong", "federation", "import", self.stage.folder / "tampered.tar", fails=True)
        refused = [line for line in answer if line.get("code")]
        for line in refused:
            self.stage.tell(json.dumps(line, ensure_ascii=False))
        return refused[0]

    def rolled_back_log(self) -> dict[str, Any]:
        """A city restores an old backup and would sign a second history; witnesses have seen more."""
        self.stage.say(
            "10",
            "日志回退:旧备份恢复的节点拒绝签名",
            "a rolled-back log: a hub restored from an old backup refuses to sign",
        )
        data = self.stage.folder / "zhuzhou" / "data"
        shutil.rmtree(data)
        shutil.copytree(self._backup, data)
        answer = self.stage.hub("zhuzhou", "federation", "publish", "--json", fails=True)[-1]
        self.stage.tell(json.dumps(answer, ensure_ascii=False))
        return answer

    def _sign(self, draft: str, holder: str) -> None:
        self.stage.federation("trust", "sign", draft, "--key", f"holders/{holder}.pem", "--yes")

    def _publish_trust(self, *drafts: Path) -> None:
        names = [str(d.relative_to(self.stage.folder)) if d.is_absolute() else str(d) for d in drafts]
        online = ("--snapshot-key", "holders/snapshot.pem", "--timestamp-key", "holders/timestamp.pem")
        self.stage.federation("trust", "publish", *names, "--repository", "trust", *online)

    def _join(self, party: Party, policy: str, roles: tuple[str, ...]) -> None:
        run, name = self.stage.federation, party.name
        wanted = [word for role in roles for word in ("--role", role)]
        about = ("--hub", party.hub, "--name", party.zh, "--authority", AUTHORITY, "--policy", policy)
        run("invite", "--repository", "trust", *about, *wanted, "--key", f"holders/{party.province}-1.pem",
            "--out", f"{name}/invitation.json")  # fmt: skip
        told = fingerprints((self.stage.folder / "trust" / "1.root.json").read_bytes())["sha256"]
        words = ("--repository", "trust", "--invitation", f"{name}/invitation.json", "--fingerprint", told,
                 "--keys", f"{name}/keys", "--out", f"{name}/request.json",
                 "--endpoint", f"http://127.0.0.1:{self._ports[name]}/federation")  # fmt: skip
        run("join", *words)
        before = {*(self.stage.folder / "drafts").glob("*.json")}
        run("admit", "--repository", "trust", "--request", f"{name}/request.json", "--out", "drafts")
        (draft,) = {*(self.stage.folder / "drafts").glob("*.json")} - before
        draft = draft.relative_to(self.stage.folder)
        for i in (2, 3):
            self._sign(str(draft), f"{party.province}-{i}")
        self._publish_trust(draft)
        run("join", *words, "--config", f"{name}/federation.toml")

    def _vkey(self, party: Party, name: str) -> str:
        signer = read_key_file(self._folder(party) / "keys" / "witness-1.pem", "witness")
        return PublicForm("witness", signer.public).vkey(name)

    def _folder(self, party: Party) -> Path:
        return self.stage.folder / party.name

    def _city(self, city: Party) -> None:
        share = round(1 / len(city.districts), 3)
        places = {code: {"name": name, "share": share, "lon": 113.0, "lat": 27.0} for code, name in city.districts}
        knobs = {"place": {"province": city.zh, "city": city.zh}, "divisions": {**dict.fromkeys(_ZHUZHOU), **places}}
        self.stage.write(f"{city.name}/knobs.yaml", json.dumps(knobs, ensure_ascii=False))
        there = self._folder(city) / "city"
        self.stage.hub(
            city.name, "sim", "city", there, "--entities", ENTITIES, "--days", DAYS, "--seed", city.seed,
            "--base-rate", BASE_RATE, "--knobs", self._folder(city) / "knobs.yaml", "--start", self._start(), "--json",
        )  # fmt: skip
        lines = [
            "", "[sources.grid]", 'adapter = "grid_hunan"', "[sources.grid.config.delivery]", 'kind = "folder"',
            f"path = {_toml(there / 'grid')}", "settle_seconds = 0", "[sources.registers]", 'adapter = "grid_generic"',
        ]  # fmt: skip
        for table in ("entity", "account_link", "permit", "acceptance", "filed_report", "order", "weather"):
            lines += [
                f"[sources.registers.config.streams.{table}]",
                f'file = {_toml(there / "registers" / table)[:-1]}.csv"',
            ]
        self.stage.write(f"{city.name}/hub.toml", "\n".join([*lines, ""]), more=True)
        loads = self.stage.hub(city.name, "ingest", "--json")
        run = self.stage.hub(city.name, "screen", "--json")[-1]
        rows = sum(load["accepted"] for load in loads)
        self.stage.tell(f"  {city.zh}: {rows} 行读入 rows, {run['warnings']} 条预警 warnings")

    def _start(self) -> str:
        """So that the last day of the curves is the last Sunday: a week is the least that a statistic covers."""
        today = datetime.now(LOCAL_ZONE).date()
        sunday = today - timedelta(days=today.weekday() + 1)
        return (sunday - timedelta(days=DAYS - 1)).isoformat()

    def _settings(self, party: Party) -> None:
        """The section that `join` gave, completed by hand: roles, policies, witnesses, peers."""
        section = (self._folder(party) / "federation.toml").read_text("utf-8")
        kept = [line for line in section.splitlines() if not line.startswith("roles =")]
        roles = ", ".join(_toml(role) for role in party.roles)
        lines = [*kept, f"roles = [{roles}]", 'allow_private = ["127.0.0.0/8"]']
        if party in CITIES:
            names = ("warnings-to-grantees", "warning-counts")
            for name in names:
                self.stage.write(f"{party.name}/policies/{name}.json", self._policy(party, name))
            files = ", ".join(_toml(self._folder(party) / "policies" / f"{name}.json") for name in names)
            nodes = {p.name: _toml(f"http://127.0.0.1:{self._ports[p.name]}/federation") for p in PROVINCES}
            lines += [f"policies = [{files}]", f"witnesses = [{', '.join(nodes.values())}]"]
            lines += [f"mirrors = [{nodes[HUNAN.name]}]"]
        if party is HUNAN:
            for city in CITIES:
                lines += [
                    "[[plugins.federation.hub.peers]]",
                    f"origin = {_toml(city.origin)}",
                    f'grant = "g-{city.name}"',
                ]
        self.stage.write(f"{party.name}/hub.toml", "\n".join(["", *lines, ""]), more=True)

    def _policy(self, city: Party, name: str) -> str:
        now = datetime.now(UTC).replace(microsecond=0)
        valid = ((now - timedelta(days=40)).strftime(_INSTANT), (now + timedelta(days=365)).strftime(_INSTANT))
        rows = SHIPPED[name]["class"] == "conditional"
        return shipped_document(name, city.hub, [HUNAN.hub] if rows else [], valid).decode()

    def _published(self, city: Party) -> None:
        (report,) = self.stage.hub(city.name, "federation", "publish", "--json")
        for statement in report["statements"]:
            kind = statement["kind"].rpartition(":")[0].rpartition(":")[2]
            self.stage.tell(f"  #{statement['index']} {kind} {statement['stream']}: {statement['rows']} 行 rows")
        for refused in report["refused"]:
            self.stage.tell(f"  未发布 not published, {refused['policy']}: {refused['reason']}")
        witnessed = report["witnessed"]
        names = ", ".join(witnessed["names"]) if witnessed else "–"
        self.stage.tell(f"  见证 witnessed by: {names}")

    def _verified(self, *words: str) -> dict[str, Any]:
        done = self.stage.answer(*words)
        self.stage.tell(json.dumps(done, ensure_ascii=False))
        return done


def _toml(text: object) -> str:
    return json.dumps(str(text), ensure_ascii=False)
