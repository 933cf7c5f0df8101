"""The door for machines: GraphQL, Arrow bulk streams, health and metrics."""

from dianhuan_hub.api._app import create_app
from dianhuan_hub.api._schema import build_schema

__all__ = ["build_schema", "create_app"]
