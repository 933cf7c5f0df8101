"""Violations injected into measured curves by published recipes, each with a benign twin that looks alike.

J1–J6 after Jokar, Arianpoo & Leung, IEEE Trans. Smart Grid 7 (2016) 216–226 (forms of under-reported energy); V1–V11
are the project's forms of evasion in pollution control.
"""

from dianhuan_bench.injection._library import RECIPES, TWINS, again, inject, twin
from dianhuan_bench.injection._types import Injected

__all__ = ["RECIPES", "TWINS", "Injected", "again", "inject", "twin"]
