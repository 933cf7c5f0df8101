"""Device protocols without I/O: HJ 212, DL/T 645, Modbus, MQTT."""
