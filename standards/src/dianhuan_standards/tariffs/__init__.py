"""Tariff periods by province, season and validity: versioned data, never constants in code."""

from dianhuan_standards.tariffs._book import TariffBook
from dianhuan_standards.tariffs._scheme import Scheme, Season, TariffFile

__all__ = ["Scheme", "Season", "TariffBook", "TariffFile"]
