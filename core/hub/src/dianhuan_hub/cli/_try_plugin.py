"""`python -m dianhuan_hub.cli._try_plugin ID [hub.toml]`: loads one plugin and prints its records as JSON.

Switch-offs do not count here, and none is made: the point is to see what the plugin does when it is started.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from dianhuan_hub.kernel.config import Plugins, load_config
from dianhuan_hub.kernel.loader import load_plugins


def run(plugin: str, file: str | None) -> None:
    """Load and print."""
    with tempfile.TemporaryDirectory() as folder:
        config = None
        if file:
            loaded = load_config(Path(file))
            tables = loaded.plugins.__pydantic_extra__ or {}
            config = loaded.model_copy(
                update={"data_dir": Path(folder), "plugins": Plugins.model_validate({**tables, "disabled": ()})}
            )
        registry = load_plugins(config, only=frozenset({plugin}))
        print(json.dumps([r.as_dict() for r in registry.records], ensure_ascii=False))


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
