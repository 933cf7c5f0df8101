"""Benchmarks. `python -m benchmarks [NAME …]` runs them one by one and writes `benchmarks/out`."""
