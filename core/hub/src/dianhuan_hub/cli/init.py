"""`dianhuan init`: a new city hub in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dianhuan_hub.cli._output import emit
from dianhuan_hub.cli._state import hub_folder
from dianhuan_hub.kernel.config import FILE_NAME, load_config, write_template


def command(
    folder: Annotated[Path | None, typer.Argument(help="目录，默认 --hub · folder, --hub by default")] = None,
    name: Annotated[str, typer.Option(help="城市名称，如 株洲市 · name of the city")] = ...,  # type: ignore[assignment]
    division: Annotated[str, typer.Option(help="行政区划代码 GB/T 2260，如 430200 · six digits of GB/T 2260")] = ...,  # type: ignore[assignment]
    as_json: Annotated[bool, typer.Option("--json", help="输出 JSON · print JSON")] = False,
) -> None:
    """Write `hub.toml` and make the data folder."""
    file = (folder or hub_folder()) / FILE_NAME
    write_template(file, name, division)
    config = load_config(file)
    config.data_dir.mkdir(parents=True, exist_ok=True)
    made = {"file": config.file, "data_dir": config.data_dir, "city": name, "division": division}
    emit(made, as_json=as_json)
    if not as_json:
        print(f"下一步 next: dianhuan --hub {file.parent} doctor")
