"""`dianhuan federation …`: one Typer app; each group of commands is a module of its own, mounted here."""

from __future__ import annotations

import typer

from dianhuan_federation.cli._bundles import bundles_app
from dianhuan_federation.cli._policies import policy_app

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, help="跨省联邦 · Federation between hubs: verify, prove, check", add_completion=False
)
app.add_typer(bundles_app)
app.add_typer(policy_app, name="policy")
