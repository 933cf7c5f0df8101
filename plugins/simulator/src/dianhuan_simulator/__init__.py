"""A city with known truth, written as grid files and registers."""
