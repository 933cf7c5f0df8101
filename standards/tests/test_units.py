"""Units of files and what they become."""

import pytest

from dianhuan_sdk import ConfigError
from dianhuan_standards.units import UNITS, mean_kw_factor, to_standard


@pytest.mark.parametrize(
    ("unit", "standard", "factor"),
    [
        ("kW", "kW", 1),
        ("W", "kW", 0.001),
        ("万千瓦时", "kWh", 10_000),
        ("KWH", "kWh", 1),
        (" 度 ", "kWh", 1),
        ("kV", "V", 1000),
    ],
)
def test_units_become_those_of_the_tables(unit: str, standard: str, factor: float) -> None:
    assert to_standard(unit) == (standard, factor)


@pytest.mark.parametrize(
    ("unit", "minutes", "kw"),
    [("kW", 15, 1), ("MW", 60, 1000), ("kWh", 15, 4), ("kWh", 60, 1), ("Wh", 30, 0.002), ("千瓦时", 24 * 60, 1 / 24)],
)
def test_energy_over_an_interval_becomes_mean_power(unit: str, minutes: int, kw: float) -> None:
    assert mean_kw_factor(unit, minutes) == pytest.approx(kw)


@pytest.mark.parametrize(("unit", "minutes"), [("V", 15), ("kWh", 0), ("kW", -15), ("horse", 15), ("mW", 15)])
def test_what_has_no_mean_power_is_refused(unit: str, minutes: int) -> None:
    with pytest.raises(ConfigError, match="what to do"):
        mean_kw_factor(unit, minutes)


def test_every_unit_is_its_own_spelling() -> None:
    assert all(to_standard(name) == unit for name, unit in UNITS.items())
