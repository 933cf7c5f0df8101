"""The command line. `main` is the console script; each command group is a module of its own, imported when it runs."""

from dianhuan_hub.cli._main import main

__all__ = ["main"]
