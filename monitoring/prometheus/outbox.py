"""Metrics of the webhooks on their way."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connection
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from jobs.models import WebhookDelivery
from jobs.states import DeliveryState

# A delivery that is overdue waits for a sender, one that is only old for its receiver.
_PENDING = """
SELECT count(*), extract(epoch FROM statement_timestamp() - min(created_at)),
    extract(epoch FROM statement_timestamp() - min(next_at))
FROM jobs_webhookdelivery WHERE state = 'pending'
"""


def metrics() -> Iterator[Metric]:
    with connection.cursor() as cursor:
        cursor.execute(_PENDING)
        pending, age_s, overdue_s = cursor.fetchone()
    deliveries = GaugeMetricFamily(
        "vbatch_webhook_deliveries",
        "Webhooks that are to be delivered, and those that were given up.",
        labels=["state"],
    )
    deliveries.add_metric(["pending"], pending)
    dead = WebhookDelivery.objects.filter(state=DeliveryState.DEAD).count()
    deliveries.add_metric(["dead"], dead)
    yield deliveries
    yield GaugeMetricFamily(
        "vbatch_webhook_oldest_pending_age_seconds",
        "Age of the oldest webhook that is not delivered yet; 0 if there is none.",
        value=max(0.0, float(age_s or 0)),
    )
    yield GaugeMetricFamily(
        "vbatch_webhook_overdue_seconds",
        "For how long the webhook that is due first has been due; 0 if none is.",
        value=max(0.0, float(overdue_s or 0)),
    )
