"""The State Grid Hunan profile: archive, 96-point curves, corrections, outages, tariff."""
