"""`dianhuan federation demo`: two cities in two provinces and one agency, by the commands that each of them types."""

from dianhuan_federation.demo._command import demo_app

__all__ = ["demo_app"]
