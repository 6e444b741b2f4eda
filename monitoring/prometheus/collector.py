"""The collector that asks the database when it is scraped, and says how that went."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator

from django.db import Error, connection, transaction
from prometheus_client import Counter, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from monitoring.fleet_report import present, report_fleet
from monitoring.prometheus import engines, fleet, gpus, hosts, outbox, queue, tallies

# Several scrapers cost the database no more than one.
KEEP_S = 2.0
STATEMENT_TIMEOUT = "5s"

# Kept by the web processes together, as their other metrics are.
_errors = Counter(
    "vbatch_collector_errors",
    "Scrapes for which the database could not be read.",
)
_last_success = Gauge(
    "vbatch_collector_last_success_timestamp_seconds",
    "When the database was last read for a scrape.",
    multiprocess_mode="max",
)
_seconds = Gauge(
    "vbatch_collector_duration_seconds",
    "How long the database was read for the last scrape.",
    multiprocess_mode="mostrecent",
)


class DatabaseCollector(Collector):
    """Reads the database when scraped; a database that fails gives `vbatch_database_up 0`.

    Then no other figure of it is given: a gap is true, an old figure is not.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[Metric] = []
        self._kept_until = 0.0

    def describe(self) -> Iterable[Metric]:
        # Without this, registering would ask the database while modules are being imported.
        return []

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            if time.monotonic() >= self._kept_until:
                self._kept = self._read()
                self._kept_until = time.monotonic() + KEEP_S
            kept = self._kept
        yield from kept

    def forget(self) -> None:
        """Ask the database anew at the next scrape."""
        self._kept_until = 0.0

    def _read(self) -> list[Metric]:
        up = GaugeMetricFamily("vbatch_database_up", "1 if the database answered this scrape.")
        started = time.monotonic()
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'")
                metrics = list(database_metrics())
        except Error:
            _errors.inc()
            up.add_metric([], 0)
            return [up]
        finally:
            _seconds.set(time.monotonic() - started)
        _last_success.set(time.time())
        up.add_metric([], 1)
        return [up, *metrics]


def database_metrics() -> Iterator[Metric]:
    yield from queue.metrics()
    yield from tallies.metrics()
    yield from outbox.metrics()
    reports = present(report_fleet())
    yield from fleet.metrics(reports)
    yield from engines.metrics(reports)
    yield from gpus.metrics(reports)
    yield from hosts.metrics(reports)
