"""Metrics of the hosts on which workers run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from monitoring.fleet_report import WorkerReport

# The name of a quantity, of its metric, its meaning, and the factor to the base unit.
_FIGURES = (
    ("cpu_percent", "vbatch_host_cpu_ratio", "Share of the CPUs that is busy.", 0.01),
    ("memory_used_bytes", "vbatch_host_memory_used_bytes", "Memory in use.", 1.0),
    ("memory_total_bytes", "vbatch_host_memory_total_bytes", "Memory of the host.", 1.0),
    ("load_1m", "vbatch_host_load1", "Load average over a minute.", 1.0),
)


def metrics(reports: Iterable[WorkerReport]) -> Iterator[Metric]:
    """What is stale is left out; only the time of the last reading stays."""
    hosts = [(report.worker.name, report.host) for report in reports if report.host]
    for quantity, name, meaning, factor in _FIGURES:
        family = GaugeMetricFamily(name, meaning, labels=["worker"])
        for worker, reading in hosts:
            value = None if reading.stale else reading.series.latest.get(quantity)
            if isinstance(value, (int, float)):
                family.add_metric([worker], value * factor)
        yield family
    last = GaugeMetricFamily(
        "vbatch_host_last_success_timestamp_seconds",
        "Last reading of a host.",
        labels=["worker"],
    )
    for worker, reading in hosts:
        if reading.series.read_at is not None:
            last.add_metric([worker], reading.series.read_at.timestamp())
    yield last
