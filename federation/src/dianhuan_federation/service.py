"""The federation's part of a hub, as the hub registers it."""

from __future__ import annotations

from dianhuan_federation.config import FederationConfig
from dianhuan_sdk import ServiceSpec

SERVICE = ServiceSpec("hub", "跨省联邦", "federation", FederationConfig)
