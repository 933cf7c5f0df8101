"""`dianhuan federation node …`: what this hub serves to others as witness, mirror and publisher."""

from __future__ import annotations

import typer

from dianhuan_federation.cli._common import print_json, told
from dianhuan_federation.config import FederationConfig

node_app = typer.Typer(no_args_is_help=True, help="节点 · What this hub serves to others")


@node_app.callback()
def _node() -> None:
    """One command so far; the group keeps its name."""


@node_app.command()
def begin(ctx: typer.Context) -> None:
    """初始化见证、镜像与访问日志（一生一次） · Begin the state of witness, mirror and access log, once in its life.

    A witness whose state was lost must never begin again under the same key: it needs a new key.
    """
    from dianhuan_federation.node import begin_node

    with told(), ctx.find_root().obj.service("federation") as context:
        config = context.config
        assert isinstance(config, FederationConfig)
        print_json({"begun": begin_node(context, config), "addresses": list(config.addresses)})
