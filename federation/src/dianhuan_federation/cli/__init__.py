"""`dianhuan federation …`: one Typer app; each group of commands is a module of its own, mounted here."""

from __future__ import annotations

import typer

from dianhuan_federation.cli._bundles import bundles_app
from dianhuan_federation.cli._changes import revoke_app, rotate_app
from dianhuan_federation.cli._grants import grant_app
from dianhuan_federation.cli._members import members_app
from dianhuan_federation.cli._policies import policy_app
from dianhuan_federation.cli._status import status_app
from dianhuan_federation.cli._trust import trust_app
from dianhuan_federation.demo import demo_app
from dianhuan_federation.nodes._commands import nodes_app
from dianhuan_federation.publish._commands import publish_app
from dianhuan_federation.sync._commands import sync_app

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="跨省联邦 · Federation between hubs: begin, join, publish, sync, grants, keys, verify, prove",
    add_completion=False,
)
for group in (members_app, status_app, bundles_app, publish_app, sync_app, demo_app):
    app.add_typer(group)
for name, named in (
    ("trust", trust_app),
    ("rotate", rotate_app),
    ("revoke", revoke_app),
    ("grant", grant_app),
    ("policy", policy_app),
    ("node", nodes_app),
):
    app.add_typer(named, name=name)
