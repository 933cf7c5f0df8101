"""`dianhuan demo`: a city's night with known truth, by the same commands that a city types."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from dianhuan_hub.cli._hub import Json
from dianhuan_hub.cli._output import emit

_REGISTERS = ("entity", "account_link", "permit", "acceptance", "filed_report", "order", "weather")
_QUESTION = """
{ todaysList(k: 3) { lines { rank caseId name priority } }
  warnings(first: 1) { totalCount } }
"""


def command(
    folder: Annotated[Path, typer.Argument(help="目录 · folder; an earlier demo in it is replaced")] = Path("var/demo"),
    entities: Annotated[int, typer.Option(min=200, help="市场主体数 · enterprises")] = 6000,
    days: Annotated[int, typer.Option(min=14, help="天数 · days")] = 35,
    seed: Annotated[int, typer.Option(help="随机种子 · seed")] = 2026,
    base_rate: Annotated[float, typer.Option(min=0, max=0.2, help="违法比例 · share of violators")] = 0.01,
    as_json: Json = False,
) -> None:
    """Simulate a city, ingest its grid files, screen it, show today's list beside the truth, ask the API."""
    demo = _Demo(folder, quiet=as_json)
    began = time.perf_counter()
    demo.say("1", "模拟一座城市(真值已知)", "a simulated city with known truth")
    demo.fresh()
    made = demo.run("sim", "city", demo.city, "--entities", entities, "--days", days, "--seed", seed,
                    "--base-rate", base_rate)[0]  # fmt: skip
    demo.say("2", "新建节点,写入来源", "a new hub and its sources")
    demo.run("init", "--name", "株洲市(演示)", "--division", "430200")
    key = demo.configure()
    demo.say("3", "夜间读入:电网文件与登记表", "the night's intake: grid files and registers")
    loads = demo.run("ingest")
    demo.say("4", "全城筛查", "the whole city is screened")
    run = demo.run("screen")[0]
    demo.say("5", "今日清单", "today's list")
    demo.run("list", "-k", 10, show=True)
    lines = demo.run("list", "-k", 130)
    result = _against_truth(demo.city / "truth.csv", lines)
    if lines:
        demo.say("6", "首位案件的证据图", "the first case, drawn")
        demo.run("explain", lines[0]["case"], "--out", demo.folder / "evidence.png", show=True)
    demo.say("7", "省级查询接口", "the provincial agency asks over GraphQL")
    answer = demo.ask(key)
    facts = {
        "entities": made["entities"],
        "days": made["days"],
        "base_rate": base_rate,
        "seed": seed,
        "rows": sum(load["accepted"] for load in loads),
        "quarantined": sum(load["quarantined"] for load in loads),
        "findings": run["findings"],
        "warnings": run["warnings"],
        **result,
        "graphql": answer["data"],
        "seconds": round(time.perf_counter() - began, 1),
    }
    if as_json:
        emit(facts, as_json=True)
        return
    share = "–" if result["precision"] is None else f"{result['precision']:.0%}"
    print(
        f"\n清单 {result['listed']} 户,其中真实违法 {result['hits']} 户:准确率 {share}"
        f"\n{result['listed']} visits on the list, {result['hits']} of them are violators: precision {share}"
        f"\n一座 {made['entities']} 户的模拟城市,违法占 {base_rate:.2%},种子 {seed};"
        "一次运行不是指标,见 docs/benchmarks.md"
        f"\none simulated city of {made['entities']} enterprises, {base_rate:.2%} violators, seed {seed}; "
        "one run is no figure, see docs/benchmarks.md"
        f"\n耗时 {facts['seconds']} s · 继续 go on: dianhuan --hub {demo.folder} serve"
    )


class _Demo:
    """Runs commands of `dianhuan` in processes of their own and shows them as they would be typed."""

    def __init__(self, folder: Path, *, quiet: bool) -> None:
        self.folder = folder
        self.city = folder / "city"
        self._quiet = quiet

    def fresh(self) -> None:
        """Replace an earlier demo; a folder that is none is left alone."""
        from dianhuan_sdk import ConfigError

        marker = self.folder / ".demo"
        if self.folder.exists() and any(self.folder.iterdir()) and not marker.exists():
            raise ConfigError(f"{self.folder} holds something else", hint="give another folder: dianhuan demo FOLDER")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        marker.touch()

    def say(self, step: str, zh: str, en: str) -> None:
        """Announce a step."""
        if not self._quiet:
            print(f"\n━━ {step}. {zh} · {en}", flush=True)

    def run(self, *words: object, show: bool = False) -> list[dict[str, Any]]:
        """Run one command; with `show` its words for people are printed, otherwise its JSON lines are answered."""
        typed = ["dianhuan", "--hub", str(self.folder), *map(str, words)]
        if not self._quiet:
            print(f"$ {' '.join(typed)}", flush=True)
        elif show:
            return []
        command = [sys.executable, "-c", "from dianhuan_hub.cli import main; main()", *typed[1:]]
        if show:
            subprocess.run(command, check=True)
            return []
        done = subprocess.run([*command, "--json"], stdout=subprocess.PIPE, text=True, check=False)
        rows: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
        if done.returncode != 0:
            raise typer.Exit(done.returncode)
        return rows

    def configure(self) -> str:
        """Write the sources and one service key; answers the key."""
        key = secrets.token_urlsafe(24)
        lines = [
            "",
            "[sources.grid]",
            'adapter = "grid_hunan"',
            "[sources.grid.config.delivery]",
            'kind = "folder"',
            f"path = {json.dumps(str((self.city / 'grid').absolute()), ensure_ascii=False)}",
            "settle_seconds = 0",
            "[sources.registers]",
            'adapter = "grid_generic"',
        ]
        for table in _REGISTERS:
            path = (self.city / "registers" / f"{table}.csv").absolute()
            lines += [f"[sources.registers.config.streams.{table}]", f"file = {json.dumps(str(path))}"]
        lines += [
            "[keys.demo]",
            f'sha256 = "{hashlib.sha256(key.encode()).hexdigest()}"',
            'role = "admin"',
            'divisions = ["4302"]',
            'purpose = "演示 demo"',
        ]
        with (self.folder / "hub.toml").open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        return key

    def ask(self, key: str) -> dict[str, Any]:
        """Start the API, ask one question, stop it."""
        import httpx

        with self._served() as url:
            headers = {"Authorization": f"Bearer {key}"}
            if not self._quiet:
                print(f"POST {url}/graphql {' '.join(_QUESTION.split())}")
            answer: dict[str, Any] = httpx.post(
                f"{url}/graphql", json={"query": _QUESTION}, headers=headers, timeout=30
            ).json()
        if not self._quiet:
            print(json.dumps(answer, ensure_ascii=False, indent=1))
        return answer

    @contextmanager
    def _served(self) -> Iterator[str]:
        import httpx

        command = [sys.executable, "-c", "from dianhuan_hub.cli import main; main()", "--hub", str(self.folder)]
        port = _free_port()
        environ = {**os.environ, "DIANHUAN_API__PORT": str(port)}
        server = subprocess.Popen(
            [*command, "serve"], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(300):
                try:
                    if httpx.get(f"{url}/ready", timeout=2).status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                if server.poll() is not None:
                    break
                time.sleep(0.1)
            yield url
        finally:
            server.terminate()
            server.wait(30)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _against_truth(path: Path, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Visits that would find a violation, and what the others would find."""
    with path.open(encoding="utf-8", newline="") as file:
        truth = list(csv.DictReader(file))
    violators = {row["entity_id"] for row in truth if row["is_violation"] == "true"}
    twins = {row["entity_id"]: row["kind"] for row in truth if row["is_violation"] != "true"}
    listed = [line["entity"] for line in lines]
    hits = sum(entity in violators for entity in listed)
    wasted: dict[str, int] = {}
    for entity in listed:
        if entity not in violators:
            kind = twins.get(entity, "ordinary")
            wasted[kind] = wasted.get(kind, 0) + 1
    return {
        "listed": len(listed),
        "hits": hits,
        "precision": round(hits / len(listed), 3) if listed else None,
        "violators": len(violators),
        "wasted": wasted,
    }
