"""Commands about sharing policies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dianhuan_federation.console import print_json, told
from dianhuan_federation.policy import read_terms

policy_app = typer.Typer(no_args_is_help=True, help="共享策略 · Sharing policies")


@policy_app.command("check")
def check_policy(file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)]) -> None:
    """检查共享策略 · Check a sharing policy, and say what it lets out. Exit code 0 if it holds, 2 if it is refused."""
    with told():
        terms = read_terms(file.read_bytes())
    print_json(
        {
            "id": terms.id,
            "version": terms.version,
            "stream": terms.target,
            "class": terms.klass,
            "assignee": terms.assignee,
            "schema": f"{terms.schema.id} {terms.schema.version}",
            "fields": sorted(terms.fields),
            "aggregated": terms.aggregation is not None,
        }
    )
