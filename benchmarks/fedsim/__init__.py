"""The federation of a country on one machine: 340 city hubs, 31 provinces, real HTTP on loopback, a real reader.

What is real: bytes of logs, statements, signatures, cosignatures, trust metadata; the node's app behind uvicorn; the
reader, which is a hub opened by `open_hub` with the federation's own service, storage port and subscriber.
What is short-cut: cities have no hub of their own. Their rows are drawn, and their logs are written by `City` with the
functions of the trust core but without the publisher, its journal and its fsyncs; `fsck` of the log store checks them.
"""

from benchmarks.fedsim._cities import CITIES, PROVINCES
from benchmarks.fedsim._city import City, world
from benchmarks.fedsim._nodes import Nodes
from benchmarks.fedsim._reader import READER, Reader
from benchmarks.fedsim._sim import Simulation, standard_plan

__all__ = ["CITIES", "PROVINCES", "READER", "City", "Nodes", "Reader", "Simulation", "standard_plan", "world"]
