"""Metrics of the queue: batches by state, what waits, since when, and who has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import connection
from django.db.models import F, Q, Sum
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from jobs.models import Batch, ServedModel
from jobs.states import ENDED_STATES, LIVE_STATES
from monitoring.health import batches_by_state
from monitoring.prometheus.named_models import sum_by_model

_LIVE = ", ".join(f"'{state}'" for state in LIVE_STATES)
_ENDED = ", ".join(f"'{state}'" for state in ENDED_STATES)

# A queue stands still since its last answer, or since its first batch came if that was later.
# Batches that ended a moment ago answered for the queue too.
_AGES = f"""
WITH queued AS MATERIALIZED (
    SELECT created_at, in_progress_at, last_response_at FROM jobs_batch
    WHERE state IN ({_LIVE}) AND deleted_at IS NULL AND paused_at IS NULL),
ended AS MATERIALIZED (
    SELECT max(last_response_at) AS answered FROM jobs_batch WHERE state IN ({_ENDED})
    AND deleted_at IS NULL AND ended_at > statement_timestamp() - interval '1 hour')
SELECT extract(epoch FROM statement_timestamp() - min(created_at)),
    extract(epoch FROM greatest(min(coalesce(in_progress_at, created_at)),
        max(last_response_at), (SELECT answered FROM ended)))
FROM queued
"""
_LEASES = """
SELECT count(*) FILTER (WHERE lease_until > statement_timestamp()), count(*) FROM jobs_chunk
WHERE state = 'claimed'
"""


def metrics() -> Iterator[Metric]:
    batches = GaugeMetricFamily(
        "vbatch_batches", "Batches that are kept, by state.", labels=["state"]
    )
    for state, count in batches_by_state().items():
        batches.add_metric([state], count)
    yield batches
    yield from _requests()
    yield from _ages()
    yield _leases()


def _requests() -> Iterator[Metric]:
    queued = GaugeMetricFamily(
        "vbatch_queue_requests",
        "Requests of live batches without a response, but for paused batches.",
        labels=["model"],
    )
    paused = GaugeMetricFamily(
        "vbatch_queue_paused_requests",
        "Requests without a response in batches that are paused.",
        labels=["model"],
    )
    left = F("total") - F("completed") - F("failed")
    rows = (
        Batch.objects.filter(state__in=LIVE_STATES)
        .values_list("model_name")
        .annotate(
            queued=Sum(left, filter=Q(paused_at=None), default=0),
            paused=Sum(left, filter=Q(paused_at__isnull=False), default=0),
        )
        .order_by("-queued", "-paused", "model_name")
    )
    # A model for which nothing waits is nought and no gap, so that a line comes down.
    idle = ServedModel.objects.filter(enabled=True).order_by("name").values_list("name", flat=True)
    found = [(name, figures) for name, *figures in rows] + [(name, [0, 0]) for name in idle]
    for model, counts in sum_by_model(found).items():
        for family, count in zip((queued, paused), counts, strict=True):
            family.add_metric([model], count)
    yield queued
    yield paused


def _ages() -> Iterator[Metric]:
    age_s, moved_at = _row(_AGES)
    oldest = GaugeMetricFamily(
        "vbatch_queue_oldest_batch_age_seconds",
        "Age of the oldest live batch that is not paused.",
    )
    moved = GaugeMetricFamily(
        "vbatch_queue_moved_timestamp_seconds",
        "Last answer of the queue, or its begin; no sample while nothing is queued.",
    )
    if age_s is not None:
        oldest.add_metric([], float(age_s))
        moved.add_metric([], float(moved_at))
    yield oldest
    yield moved


def _leases() -> Metric:
    held, claimed = _row(_LEASES)
    leases = GaugeMetricFamily(
        "vbatch_leases",
        "Chunks of requests that a lane has claimed; expired ones await another lane.",
        labels=["state"],
    )
    leases.add_metric(["held"], held)
    leases.add_metric(["expired"], claimed - held)
    return leases


def _row(query: str) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        row: tuple[Any, ...] = cursor.fetchone()
    return row
