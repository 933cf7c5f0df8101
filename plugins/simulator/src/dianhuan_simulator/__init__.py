"""A city with known truth, written as grid files and registers."""

from dianhuan_simulator._files import Written
from dianhuan_simulator._generic import write_generic
from dianhuan_simulator._hunan import write_hunan
from dianhuan_simulator._knobs import Knobs, load_knobs
from dianhuan_simulator._truth import TRUTH_SCHEMA
from dianhuan_simulator.city import City, CityConfig

__all__ = [
    "TRUTH_SCHEMA",
    "City",
    "CityConfig",
    "Knobs",
    "Written",
    "load_knobs",
    "write_generic",
    "write_hunan",
]
