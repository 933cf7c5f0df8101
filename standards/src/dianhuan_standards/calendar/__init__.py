"""The Chinese work calendar: announced years, a provisional forecast beyond them, and a city's own days."""

from dianhuan_standards.calendar._forecast import spring_festival
from dianhuan_standards.calendar._work import WorkCalendar

__all__ = ["WorkCalendar", "spring_festival"]
