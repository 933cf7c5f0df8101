"""The kernel: configuration, plugin loader, guards, secrets, clock, metrics, HTTP. It knows neither store nor doors."""
