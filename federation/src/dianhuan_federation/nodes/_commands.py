"""`dianhuan federation node …`: begin the state of a witness or mirror."""

from __future__ import annotations

from typing import Annotated

import typer

from dianhuan_sdk import CommandHost, DianhuanError

nodes_app = typer.Typer(no_args_is_help=True, help="见证与镜像节点 · Witness and mirror of this hub")


@nodes_app.callback()
def nodes() -> None:
    """见证与镜像节点 · Witness and mirror of this hub"""


@nodes_app.command("init")
def init(context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False) -> None:
    """建立见证与镜像的状态，一生一次 · Begin the state of witness and mirror, once in their life.

    A witness whose state was lost must never begin again under the same key: it could cosign a second history.
    """
    from dianhuan_federation.nodes._service import begin_node

    host: CommandHost = context.find_root().obj
    try:
        with host.service("federation") as plugin:
            node = begin_node(plugin)
    except DianhuanError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    names = {"witness": node.witness, "mirror": node.mirror}
    begun = {role: cosigner.name for role, cosigner in names.items() if cosigner is not None}
    if as_json:
        import json

        typer.echo(json.dumps({"folder": str(node.folder), "begun": begun}, ensure_ascii=False))
        return
    for role, name in begun.items():
        typer.echo(f"已建立 · begun: {role} {name}")
    if not begun:
        typer.echo("本枢纽既非见证也非镜像 · this hub is neither witness nor mirror: nothing to begin")
