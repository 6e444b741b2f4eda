"""All metrics as text: of the web processes, and of what the database knows."""

from __future__ import annotations

import os

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from monitoring.prometheus.collector import DatabaseCollector

collector = DatabaseCollector()
_database = CollectorRegistry()
_database.register(collector)


def exposition() -> bytes:
    """Return all metrics in the text format of Prometheus.

    With several web processes their counters are summed over the files that they share
    (`runweb` says where). That mode leaves out every other collector of a registry, so that
    the database's has a registry of its own. It is read first: how that went is one of the
    metrics of the processes.
    """
    database = generate_latest(_database)
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        processes = CollectorRegistry()
        MultiProcessCollector(processes)  # type: ignore[no-untyped-call]
    else:
        processes = REGISTRY
    return bytes(generate_latest(processes) + database)
