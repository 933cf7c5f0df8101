"""Metrics of one hub: a Prometheus registry of its own, and a part of it for each plugin."""

from __future__ import annotations

import re
import threading
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from dianhuan_sdk import PluginError

M = TypeVar("M", Counter, Gauge, Histogram)

_NAME = re.compile(r"[a-z][a-z0-9_]{0,60}")


class HubMetrics:
    """Counters and gauges of one hub; several hubs can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._known: dict[str, tuple[Counter | Gauge | Histogram, frozenset[str]]] = {}
        self._lock = threading.Lock()

    def counter(self, name: str, help: str, labels: frozenset[str] = frozenset()) -> Counter:
        """The counter `dianhuan_<name>`, made at its first use."""
        return self._metric(Counter, name, help, labels)

    def gauge(self, name: str, help: str, labels: frozenset[str] = frozenset()) -> Gauge:
        """The gauge `dianhuan_<name>`, made at its first use."""
        return self._metric(Gauge, name, help, labels)

    def histogram(self, name: str, help: str, labels: frozenset[str] = frozenset()) -> Histogram:
        """The histogram `dianhuan_<name>` (seconds), made at its first use."""
        return self._metric(Histogram, name, help, labels)

    def exposition(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self.registry)

    def _metric(self, kind: type[M], name: str, help: str, labels: frozenset[str]) -> M:
        with self._lock:
            if name not in self._known:
                made = kind(f"dianhuan_{name}", help, sorted(labels), registry=self.registry)
                self._known[name] = (made, labels)
            metric, known = self._known[name]
        if not isinstance(metric, kind) or known != labels:
            raise PluginError(
                f"metric {name}: {kind.__name__.lower()} with the labels {sorted(labels)}",
                expected=f"{type(metric).__name__.lower()} with the labels {sorted(known)}, as at its first use",
                hint="use one kind and one set of labels for a metric",
            )
        return metric


class PluginMetrics:
    """A plugin's own metrics: `dianhuan_<plugin>_<name>`.

    Args:
        hub: the hub's metrics.
        plugin: id of the plugin.
    """

    def __init__(self, hub: HubMetrics, plugin: str) -> None:
        self._hub = hub
        self._plugin = plugin

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter.

        Raises:
            PluginError: the name is not a metric's, or was used with other labels before.
        """
        metric = self._hub.counter(self._full(name), f"{name} of the plugin {self._plugin}", frozenset(labels))
        (metric.labels(**labels) if labels else metric).inc(amount)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge; raises as `count`."""
        metric = self._hub.gauge(self._full(name), f"{name} of the plugin {self._plugin}", frozenset(labels))
        (metric.labels(**labels) if labels else metric).set(value)

    def _full(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise PluginError(f"metric {name!r}", expected="lower-case letters, digits and _", hint="rename it")
        return f"{self._plugin}_{name}"
