"""Emulated plants: production and treatment by the minute with known truth, and devices that speak for them."""

from __future__ import annotations

from dianhuan_simulator.emulator._answers import Answer
from dianhuan_simulator.emulator._knobs import PlantsKnobs, load_plants_knobs
from dianhuan_simulator.emulator._plants import ROLES
from dianhuan_simulator.emulator._shifts import Order
from dianhuan_simulator.emulator._stories import Effect, Report, Story
from dianhuan_simulator.emulator._tables import TRUTH_SCHEMA
from dianhuan_simulator.emulator.world import Emulation, PlantDay, emulate

__all__ = [
    "ROLES",
    "TRUTH_SCHEMA",
    "Answer",
    "Effect",
    "Emulation",
    "Order",
    "PlantDay",
    "PlantsKnobs",
    "Report",
    "Story",
    "emulate",
    "load_plants_knobs",
]
