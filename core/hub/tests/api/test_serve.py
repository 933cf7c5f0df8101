"""One real server on loopback: process, signals, Arrow over the wire."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import httpx
import pyarrow as pa
import pytest

from dianhuan_hub.app import open_hub
from dianhuan_hub.kernel.config import load_config, write_template
from dianhuan_hub.store import LoadInfo, RegisterRows, Unit
from dianhuan_standards import TABLES

START = "import sys; from dianhuan_hub.cli import serve, _state; from pathlib import Path; " + (
    "_state.set_hub(Path(sys.argv[1])); serve.command(host='127.0.0.1', port=0, as_json=True)"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A hub with 1,000 enterprises and one admin key."""
    write_template(tmp_path / "hub.toml", "株洲市", "430200")
    digest = hashlib.sha256(b"secret").hexdigest()
    with (tmp_path / "hub.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[keys.boss]\nsha256 = "{digest}"\nrole = "admin"\ndivisions = ["4302"]\npurpose = "test"\n')
    contract = TABLES["entity"]
    rows = [
        {f.name: None for f in contract.fields} | {"entity_id": f"E{i:04}", "name": "厂", "division": "430202"}
        for i in range(1000)
    ]
    with open_hub(load_config(tmp_path, {})) as hub:
        info = LoadInfo("t", "1", "entity", "s", "", "", hub.clock.now())
        hub.store.commit(
            Unit(
                info,
                registers=[
                    RegisterRows(
                        contract, pa.Table.from_pylist(rows, schema=contract.schema), tuple(contract.schema.names)
                    )
                ],
            )
        )
    return tmp_path


@pytest.fixture
def served(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address."""
    process = subprocess.Popen(
        [sys.executable, "-c", START, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield process, json.loads(line)["address"]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_and_closes_the_store_on_a_signal(
    served: tuple[subprocess.Popen[str], str], folder: Path, number: signal.Signals
) -> None:
    process, address = served
    headers = {"Authorization": "Bearer secret"}
    with httpx.Client(base_url=address, headers=headers, trust_env=False) as client:
        assert client.get("/health").json() == {"status": "live"}
        assert client.get("/ready").json()["status"] == "ready"
        query = "{ entities(first: 3) { ... on EntityConnection { totalCount edges { node { entityId } } } } }"
        page = client.post("/graphql", json={"query": query}).json()["data"]["entities"]
        assert page["totalCount"] == 1000
        assert [e["node"]["entityId"] for e in page["edges"]] == ["E0000", "E0001", "E0002"]
        assert "dianhuan_http_requests_total" in client.get("/metrics").text
    with urlopen(Request(f"{address}/arrow/entity", headers=headers)) as response:
        assert response.headers["content-type"] == "application/vnd.apache.arrow.stream"
        table = pa.ipc.open_stream(response).read_all()
    assert table.num_rows == 1000
    assert table.column("division").unique().to_pylist() == ["430202"]
    process.send_signal(number)
    assert process.wait(20) == 0
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    assert not (folder / "data" / "hub.duckdb.wal").exists()
    with open_hub(load_config(folder, {})):
        pass


def test_a_port_in_use_is_told_in_words(served: tuple[subprocess.Popen[str], str], folder: Path) -> None:
    port = served[1].rpartition(":")[2]
    code = START.replace("port=0", f"port={port}")
    second = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert second.returncode != 0
    assert f"cannot listen on 127.0.0.1:{port}" in second.stderr
