"""Shared by the tests of the standards."""

from hypothesis import settings

# A deadline would measure the machine, not the code.
settings.register_profile("standards", deadline=None)
settings.load_profile("standards")
