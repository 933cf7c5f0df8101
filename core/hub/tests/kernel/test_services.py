"""A plugin's service: its own tables, background work, routes, a GraphQL field, and a command that opens the hub."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest

MANIFEST = """
    [[plugin]]
    id = "{id}"
    kind = "tool"
    api = ">=1,<2"
    zh = "试"
    en = "trial"
    maintainers = ["x"]
    capabilities = {{ reads = ["entity"] }}
    commands = [{{ name = "{id}", help = "试 trial", target = "{id}.part:app" }}]
"""

MODULE = """
    from dianhuan_sdk import hookimpl
    @hookimpl
    def dianhuan_services():
        from {id}.part import SERVICE
        return [SERVICE]
"""

PART = """
    from __future__ import annotations
    import asyncio
    import pyarrow as pa
    import strawberry
    import typer
    from pydantic import BaseModel
    from dianhuan_sdk import Batch, Caller, Field, GraphQLPart, PluginContext, ServiceSpec, SourceRef, TableContract

    NOTE = TableContract(
        "{table}", "1.0", "笔记",
        (Field("note_id", pa.string(), "编号", required=True), Field("text", pa.string(), "文字"),
         Field("size", pa.int64(), "长度", low=0)),
        key=("note_id",), owner="{owner}",
    )

    class Config(BaseModel):
        greeting: str = "hello"

    def put(context, rows):
        batch = Batch("{table}", pa.RecordBatch.from_pylist(rows, schema=NOTE.schema), SourceRef("test"))
        return context.storage.commit([batch], {{"last": rows[-1]["note_id"].encode()}})

    @strawberry.type
    class TrialNotes:
        greeting: str
        caller: str
        texts: list[str]

    def resolve(context: PluginContext, caller: Caller) -> TrialNotes:
        rows = context.storage.read("{table}", order=[("note_id", True)], limit=10).read_all().to_pylist()
        who = f"{{caller.name}} {{caller.divisions}}"
        return TrialNotes(greeting=context.config.greeting, caller=who, texts=[r["text"] for r in rows])

    async def run(context):
        put(context, [{{"note_id": "run", "text": "from the background", "size": 1}}])
        await asyncio.sleep(3600)

    def routes(context):
        async def app(scope, receive, send):
            await send({{"type": "http.response.start", "status": 200, "headers": []}})
            body = context.config.greeting + scope["path"]
            await send({{"type": "http.response.body", "body": body.encode()}})
        return app

    SERVICE = ServiceSpec("notes", "笔记", "notes", Config, tables=(NOTE,), run=run, routes=routes,
                          graphql=GraphQLPart("trial", lambda: TrialNotes, resolve))

    app = typer.Typer()

    @app.command()
    def write(ctx: typer.Context, text: str):
        with ctx.obj.service("{id}") as context:
            print(put(context, [{{"note_id": "cli", "text": text, "size": len(text)}}]).accepted)

    @app.command()
    def plain():
        print("no hub needed")
"""


def _install(folder: Path, name: str, *, table: str = "trial_note", owner: str = "") -> Path:
    package = folder / name
    package.mkdir(parents=True)
    words = {"id": name, "table": table, "owner": owner or name}
    for file, text in (("plugin.toml", MANIFEST), ("__init__.py", MODULE), ("part.py", PART)):
        (package / file).write_text(dedent(text).format(**words), "utf-8")
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[dianhuan.plugins]\n{name} = {name}\n")
    return folder


@pytest.fixture
def hub_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "hub"
    folder.mkdir()
    digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"  # of "secret"
    (folder / "hub.toml").write_text(
        '[city]\nname = "株洲市"\ndivision = "430200"\n[plugins.notesplugin.notes]\ngreeting = "nihao"\n'
        f'[keys.agency]\nsha256 = "{digest}"\nrole = "agency"\ndivisions = ["4302"]\npurpose = "test"\n',
        "utf-8",
    )
    return folder


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    place = tmp_path / "site"
    place.mkdir()
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setenv("PYTHONPATH", str(place))
    yield place
    for name in [n for n in sys.modules if n.partition(".")[0] in ("notesplugin", "otherplugin")]:
        del sys.modules[name]


def _open(folder: Path) -> Any:
    from dianhuan_hub.app import open_hub
    from dianhuan_hub.kernel.config import load_config

    return open_hub(load_config(folder))


def test_every_part_of_a_service(site: Path, hub_folder: Path) -> None:
    from dianhuan_hub.api import create_app
    from dianhuan_hub.background import services_running

    _install(site, "notesplugin")
    with _open(hub_folder) as hub:
        context = hub.service("notesplugin")[1]

        async def serve() -> None:
            async with services_running(hub):
                await asyncio.sleep(0.2)

        asyncio.run(serve())
        assert context.storage.state("last") == b"run"
        app = create_app(hub)

        async def ask() -> tuple[bytes, int, dict[str, Any]]:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub") as client:
                there = await client.get("/notesplugin/there")
                query = {"query": "{ trial { greeting caller texts } }"}
                stranger = await client.post("/graphql", json=query)
                known = await client.post("/graphql", json=query, headers={"authorization": "Bearer secret"})
                return there.content, stranger.status_code, known.json()

        there, stranger, known = asyncio.run(ask())
        assert there == b"nihao/notesplugin/there"
        assert stranger == 401
        assert known["data"]["trial"] == {
            "greeting": "nihao",
            "caller": "agency None",
            "texts": ["from the background"],
        }


def test_rows_of_an_owned_table(site: Path, hub_folder: Path) -> None:
    _install(site, "notesplugin")
    with _open(hub_folder) as hub:
        context = hub.service("notesplugin")[1]
        part = sys.modules["notesplugin.part"]
        first = [{"note_id": f"n{i}", "text": "a" * i, "size": i} for i in range(5)]
        assert part.put(context, first).accepted == 5
        again = part.put(context, [*first[:4], {"note_id": "n4", "text": "new", "size": 3}])
        assert (again.accepted, again.unchanged, again.corrected) == (1, 4, 1)
        refused = part.put(context, [{"note_id": "bad", "text": "", "size": -1}])
        assert (refused.accepted, refused.quarantined) == (0, 1)
        read = context.storage.read
        page = read("trial_note", columns=["note_id"], order=[("size", True), ("note_id", False)], limit=2)
        assert page.read_all()["note_id"].to_pylist() == ["n3", "n4"]
        rest = read("trial_note", columns=["note_id"], order=[("note_id", True)], after=["n3"], prefix={"note_id": "n"})
        assert rest.read_all()["note_id"].to_pylist() == ["n2", "n1", "n0"]
        assert context.storage.count("trial_note", ["size"], equals={"size": 3}).to_pylist() == [{"size": 3, "rows": 2}]
        with hub.store.engine.cursor() as con:
            assert con.execute("SELECT count(*) FROM register_history").fetchone() == (0,)
        with pytest.raises(Exception, match="does not declare"):
            read("permit")
    with _open(hub_folder) as hub:  # the table is there after a restart
        assert hub.service("notesplugin")[1].storage.count("trial_note", []).to_pylist() == [{"rows": 5}]


def test_a_table_that_is_not_its_own_refuses_the_plugin(site: Path, hub_folder: Path) -> None:
    _install(site, "notesplugin", owner="someone")
    with _open(hub_folder) as hub:
        record = hub.plugins.record("notesplugin")
        assert record.state == "FAILED"
        assert "owner 'someone'" in str(record.error)


def test_hostile_two_plugins_with_one_table_are_both_left_out(site: Path, hub_folder: Path) -> None:
    _install(site, "notesplugin")
    _install(site, "otherplugin")
    with _open(hub_folder) as hub:
        for name in ("notesplugin", "otherplugin"):
            assert "is claimed by" in str(hub.plugins.record(name).error)
        assert not hub.services.keys() & {"notesplugin", "otherplugin"}


def test_a_stored_table_of_another_type_leaves_the_plugin_out_and_the_hub_up(site: Path, hub_folder: Path) -> None:
    _install(site, "notesplugin")
    with _open(hub_folder) as hub:
        hub.store.write(lambda con: con.execute("ALTER TABLE trial_note ALTER size TYPE VARCHAR") and None)
    with _open(hub_folder) as hub:
        record = hub.plugins.record("notesplugin")
        assert (record.state, record.step) == ("REFUSED", "tables")
        assert "notesplugin" not in hub.services


@pytest.mark.parametrize(("words", "expected"), [(["write", "text"], "1"), (["plain"], "no hub needed")])
def test_commands_get_the_hub_when_they_ask_for_it(
    site: Path, hub_folder: Path, words: list[str], expected: str
) -> None:
    _install(site, "notesplugin")
    command = [str(Path(sys.executable).parent / "dianhuan"), "--hub", str(hub_folder), "notesplugin", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, expected), done.stderr
