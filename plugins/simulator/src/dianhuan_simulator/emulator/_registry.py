"""The registry of the emulated devices, as a hub can load it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dianhuan_simulator.emulator._devices import PROFILES, UNITS, DeviceSpec
from dianhuan_simulator.emulator._mqtt import MAPPING
from dianhuan_simulator.emulator._plants import PLANT_BLOCK
from dianhuan_simulator.emulator.world import Emulation


def device_rows(specs: Iterable[DeviceSpec]) -> list[dict[str, Any]]:
    """One row a device: id, protocol, address, profile, enterprise, key, clock."""
    return [
        {
            "device_id": s.device_id,
            "protocol": s.protocol,
            "address": s.device_id if s.protocol == "mqtt" else s.address,
            "profile": PROFILES[s.form],
            "entity_id": s.entity_id,
            "edition": s.edition or None,
            "password": "123456" if s.protocol == "hj212" else None,
            "key_hex": s.key.hex().upper() if s.key is not None else None,
        }
        for s in specs
    ]


def channel_rows(world: Emulation, specs: Iterable[DeviceSpec]) -> list[dict[str, Any]]:
    """Rows of the standard table `channel`."""
    circuits, factors = world.circuits().to_pylist(), world.factors().to_pylist()
    by_link = {c["link"]: c["facility"] for c in circuits if c["role"] == "treatment" and not c["backup"]}
    rows = []
    for s in specs:
        for c in s.channels:
            gas = c.quantity == "concentration"
            circuit = None if gas else circuits[c.row]
            rated = circuit["rated_kw"] if circuit is not None and c.quantity == "active_power" else None
            rows.append(
                {
                    "channel_id": s.channel_id(c),
                    "device_id": s.device_id,
                    "protocol": s.protocol,
                    "code": c.code,
                    "statistic": "rtd",
                    "interval": "moment",
                    "quantity": c.quantity,
                    "unit": UNITS[c.quantity] or ("mg/L" if c.code.startswith("w") else "mg/m³"),
                    "phase": c.phase or None,
                    "role": circuit["role"] if circuit is not None else None,
                    "facility": circuit["facility"] or None if circuit else by_link.get(factors[c.row]["link"]),
                    "entity_id": s.entity_id,
                    "rated": rated,
                }
            )
    return rows


def link_rows(world: Emulation, specs: Iterable[DeviceSpec]) -> list[dict[str, Any]]:
    """One row a group of treatment: the channels of its production, treatment and combined circuits.

    The channel of a circuit is that of its power, of its first current where no power is sent.
    """
    first: dict[int, str] = {}
    for quantity in ("active_power", "current"):
        for s in specs:
            for c in s.channels:
                if c.quantity == quantity:
                    first.setdefault(c.row, s.channel_id(c))
    rows = []
    for link in world.links().to_pylist():
        plot, local = world.plots[link["plant"] // PLANT_BLOCK], link["plant"] % PLANT_BLOCK
        sides = {k: [first[r] for r in link[k] if r in first] for k in ("production", "treatment", "combined")}
        rows.append({"link_id": f"L{link['link']}", "entity_id": str(plot.site.plant_id[local]), **sides})
    return rows


def write_registry(world: Emulation, specs: list[DeviceSpec], out: Path) -> dict[str, int]:
    """Write `devices`, `channels` (CSV and JSON lines), `links` (JSON lines) and, for MQTT, `mqtt.json`.

    Returns:
        Rows by file name.
    """
    out.mkdir(parents=True, exist_ok=True)
    written: dict[str, int] = {}
    tables = {
        "devices": device_rows(specs),
        "channels": channel_rows(world, specs),
        "links": link_rows(world, specs),
    }
    for name, rows in tables.items():
        _ndjson(out / f"{name}.ndjson", rows)
        written[f"{name}.ndjson"] = len(rows)
        if name != "links":
            _csv(out / f"{name}.csv", rows)
            written[f"{name}.csv"] = len(rows)
    if any(s.protocol == "mqtt" for s in specs):
        (out / "mqtt.json").write_text(json.dumps(MAPPING, indent=2) + "\n", "utf-8")
        written["mqtt.json"] = 1
    return written


def _ndjson(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


def _csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
