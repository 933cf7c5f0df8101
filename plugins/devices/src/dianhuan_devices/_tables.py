"""Package data: tab-separated tables and YAML files beside the code."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml


def rows(package: str, name: str) -> list[dict[str, str]]:
    """Rows of a tab-separated file of `PACKAGE/data` by its header; `-` stands for an empty cell."""
    text = (files(package) / "data" / name).read_text("utf-8")
    head, *body = (line.split("\t") for line in text.splitlines() if line)
    return [{k: "" if v == "-" else v for k, v in zip(head, line, strict=False)} for line in body]


def document(package: str, name: str) -> Any:
    """A YAML file of `PACKAGE/data`."""
    return yaml.safe_load((files(package) / "data" / name).read_text("utf-8"))
