"""The commands of README, as they stand, in a shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dianhuan_federation.config import FederationConfig
from dianhuan_federation.core import load_trust, parse_policy
from dianhuan_federation.keys import TrustRepository, read_key_file


@pytest.mark.slow
def test_the_commands_of_the_readme_make_a_federation(tmp_path: Path) -> None:
    readme = Path(__file__).parents[2] / "README.md"
    (block,) = re.findall(r"```sh\n(# 1\..*?)```", readme.read_text("utf-8"), re.DOTALL)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ["bash", "-euo", "pipefail", "-c", block]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "PRIVATE" not in done.stdout + done.stderr
    config = tomllib.loads((tmp_path / "city/federation.toml").read_text("utf-8"))["plugins"]["federation"]["hub"]
    settings = FederationConfig.model_validate(config)
    assert settings.root is not None
    files = TrustRepository(tmp_path / "trust").files()
    now = int((tmp_path / "city/federation.toml").stat().st_mtime) + 1
    hub = load_trust(settings.root.read_bytes(), files, now).hubs["430200"]
    assert {key.key.raw for key in hub.keys if key.role == "publisher"} == {
        read_key_file(tmp_path / "city/keys/publisher-1.pem", "publisher").public.raw
    }
    assert parse_policy(hub.witness_policy.encode()).quorum == "w43"
