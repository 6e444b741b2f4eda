"""Counters of requests and tokens by model, and how far they are behind the answers."""

from __future__ import annotations

import time
from collections.abc import Iterator

from django.db.models import Min, Sum
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from monitoring.models import DayTally
from monitoring.prometheus.named_models import sum_by_model
from monitoring.services.summaries import behind_by, counted_at

_RESULTS = {"completed": "ok", "failed": "failed"}
_KINDS = {"input_tokens": "input", "cached_tokens": "cached", "output_tokens": "output"}


def metrics() -> Iterator[Metric]:
    """Sums over the tallies, which stay when a batch is deleted."""
    columns = [*_RESULTS, *_KINDS]
    rows = (
        DayTally.objects.values_list("model_name")
        .annotate(*[Sum(name) for name in columns], first=Min("pk"))
        .order_by("first")
    )
    sums = sum_by_model((model, figures) for model, *figures, _ in rows)
    requests = CounterMetricFamily(
        "vbatch_requests", "Requests that were answered.", labels=["model", "result"]
    )
    tokens = CounterMetricFamily(
        "vbatch_tokens",
        "Tokens of the answers; cached ones are part of the input.",
        labels=["model", "kind"],
    )
    for model, figures in sums.items():
        found = dict(zip(columns, figures, strict=True))
        for column, result in _RESULTS.items():
            requests.add_metric([model, result], found[column])
        for column, kind in _KINDS.items():
            tokens.add_metric([model, kind], found[column])
    yield requests
    yield tokens
    yield from _lag()


def _lag() -> Iterator[Metric]:
    behind = behind_by()
    yield GaugeMetricFamily(
        "vbatch_summaries_lag_responses",
        "Answers that summaries and counters do not hold yet.",
        value=behind,
    )
    last = GaugeMetricFamily(
        "vbatch_summaries_last_success_timestamp_seconds",
        "When summaries and counters last moved; now, if nothing is left to be counted.",
    )
    at = counted_at() if behind else None
    if at is not None or not behind:
        last.add_metric([], at.timestamp() if at is not None else time.time())
    yield last
