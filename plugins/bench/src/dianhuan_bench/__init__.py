"""Measures warning models on measured curves with injections (T1) and on cities with known truth (T2).

Heavy parts are imported where they are used: the host imports this package at start-up.
"""

from __future__ import annotations
