"""The figures for Prometheus: of the web processes, and of what the database knows."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator

from django.db import Error, connection, transaction
from django.db.models import F, Sum
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from jobs.models import Batch, Worker
from jobs.services.fleet import any_worker_alive
from jobs.states import LIVE_STATES
from monitoring.health import batches_by_state

# Several scrapers cost the database no more than one.
KEEP_S = 2.0
STATEMENT_TIMEOUT = "5s"


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
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'")
                metrics = list(_database_metrics())
        except Error:
            up.add_metric([], 0)
            return [up]
        up.add_metric([], 1)
        return [up, *metrics]


def _database_metrics() -> Iterator[Metric]:
    batches = GaugeMetricFamily(
        "vbatch_batches", "Batches that are kept, by state.", labels=["state"]
    )
    for state, count in batches_by_state().items():
        batches.add_metric([state], count)
    yield batches

    # A gauge: deleting a batch takes its lines away, which a counter must not do.
    answered = GaugeMetricFamily(
        "vbatch_requests_answered",
        "Requests with a response, in the batches that are kept.",
        labels=["result"],
    )
    sums = Batch.objects.aggregate(ok=Sum("completed"), failed=Sum("failed"))
    for result, count in sums.items():
        answered.add_metric([result], count or 0)
    yield answered

    live = Batch.objects.filter(state__in=LIVE_STATES)
    waiting = live.aggregate(n=Sum(F("total") - F("completed") - F("failed")))["n"]
    yield GaugeMetricFamily(
        "vbatch_queue_requests", "Requests of live batches without a response.", value=waiting or 0
    )
    yield GaugeMetricFamily(
        "vbatch_worker_up", "1 if a worker is alive.", value=float(any_worker_alive())
    )
    heartbeat = GaugeMetricFamily(
        "vbatch_worker_heartbeat_timestamp_seconds",
        "Last heartbeat of each worker that has not stopped; compare with time().",
        labels=["worker"],
    )
    for name, at in Worker.objects.filter(stopped_at=None).values_list("name", "heartbeat_at"):
        heartbeat.add_metric([name], at.timestamp())
    yield heartbeat


_collector = DatabaseCollector()
_database = CollectorRegistry()
_database.register(_collector)


def exposition() -> bytes:
    """Return all metrics in the text format of Prometheus.

    With several web processes their counters are summed over the files that they share
    (`runweb` says where). That mode leaves out every other collector of a registry, so that
    the database's has a registry of its own.
    """
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        processes = CollectorRegistry()
        MultiProcessCollector(processes)  # type: ignore[no-untyped-call]
    else:
        processes = REGISTRY
    return bytes(generate_latest(processes) + generate_latest(_database))
