"""The outbox: what is to be told to whom, and what came of each try."""

from __future__ import annotations

import base64
import json
import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from django_q.tasks import async_task

from jobs.models import BatchEvent, Project, WebhookAttempt, WebhookDelivery
from jobs.models.webhooks import new_delivery_id
from jobs.services.audit import note_deed
from jobs.states import ENDED_STATES, DeliveryState, EventKind

log = structlog.get_logger()

# Longer than any try, so that a delivery is taken over only from a sender that is gone.
LEASE_S = 60
ANNOUNCE_AT_ONCE = 200
# 5 s, 15 s, 45 s ... 2 h: twelve tries take about half a day.
BACKOFF_MIN_S = 5.0
BACKOFF_FACTOR = 3.0
BACKOFF_MAX_S = 7_200.0
GONE = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A delivery that this sender has claimed: `attempts` is the number of this try."""

    id: int
    public_id: str
    url: str
    payload: bytes
    attempts: int
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a try: an HTTP status, or why there was none.

    `refused` says that the address may not be called, which another try would not change.
    """

    status: int | None = None
    error: str = ""
    refused: bool = False
    retry_after_s: float | None = None
    duration_ms: int = 0

    @property
    def is_good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def ring() -> None:
    """Call for the sender, in the transaction that gave it something to do."""
    async_task("jobs.tasks.deliver_webhooks", cluster="control")


def anything_due() -> bool:
    """Tell whether an ending has not been announced, or a delivery is due."""
    return _unannounced().exists() or _due().exists()


def announce_events() -> int:
    """Make the deliveries of endings that were not announced yet; return how many events.

    One delivery for each address: the batch's own and its project's, which may be the same.
    """
    with transaction.atomic():
        events = list(
            _unannounced()
            .select_related("batch__project")
            .select_for_update(skip_locked=True, of=("self",))
            .order_by("pk")[:ANNOUNCE_AT_ONCE]
        )
        deliveries = [
            _delivery(event, url)
            for event in events
            # What was imported ended long ago and elsewhere.
            if event.batch.imported_at is None
            for url in sorted({event.batch.webhook_url, event.batch.project.webhook_url} - {""})
        ]
        for project in {d.batch.project for d in deliveries if not d.batch.project.webhook_secret}:
            secret_of(project=project)
        WebhookDelivery.objects.bulk_create(deliveries, ignore_conflicts=True)
        BatchEvent.objects.filter(pk__in=[event.pk for event in events]).update(announced_at=Now())
    return len(events)


def _unannounced() -> QuerySet[BatchEvent]:
    return BatchEvent.objects.filter(
        announced_at__isnull=True, new_state__in=ENDED_STATES, kind=EventKind.MOVED
    )


def _due() -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.filter(
        Q(lease_until=None) | Q(lease_until__lt=Now()),
        state=DeliveryState.PENDING,
        next_at__lte=Now(),
    )


def _delivery(event: BatchEvent, url: str) -> WebhookDelivery:
    public_id, kind = new_delivery_id(), f"batch.{event.new_state}"
    payload = {
        "id": public_id,
        "object": "event",
        "type": kind,
        "created_at": int(event.created_at.timestamp()),
        "data": {"id": event.batch.public_id},
    }
    now = timezone.now()
    return WebhookDelivery(
        public_id=public_id,
        batch=event.batch,
        event=event,
        type=kind,
        url=url,
        payload=json.dumps(payload, separators=(",", ":")).encode(),
        next_at=now,
        created_at=now,
    )


# Of each host only a few at a time, so that a slow receiver does not fill every place.
_CLAIM = """
WITH candidate AS (
    SELECT id FROM (
        SELECT id, next_at, row_number() OVER (
            PARTITION BY split_part(split_part(url, '//', 2), '/', 1) ORDER BY next_at, id
        ) AS place
        FROM jobs_webhookdelivery
        WHERE state = 'pending' AND next_at <= clock_timestamp()
          AND (lease_until IS NULL OR lease_until < clock_timestamp())
          AND split_part(split_part(url, '//', 2), '/', 1) <> ALL(%(busy)s)
    ) ranked
    WHERE place <= %(per_host)s ORDER BY next_at LIMIT %(limit)s
), due AS (
    SELECT d.id FROM jobs_webhookdelivery d JOIN candidate USING (id)
    WHERE d.state = 'pending' AND d.next_at <= clock_timestamp()
      AND (d.lease_until IS NULL OR d.lease_until < clock_timestamp())
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE jobs_webhookdelivery d
SET attempts = d.attempts + 1, lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
FROM due, jobs_batch b, jobs_project p
WHERE d.id = due.id AND b.id = d.batch_id AND p.id = b.project_id
RETURNING d.id, d.public_id, d.url, d.payload, d.attempts, p.webhook_secret
"""


def claim_deliveries(*, limit: int, per_host: int, busy: Sequence[str] = ()) -> list[Due]:
    """Claim up to `limit` due deliveries for a lease, none for the hosts in `busy`.

    A host is what stands between `//` and the path of an address.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _CLAIM,
            {"limit": limit, "per_host": per_host, "busy": list(busy), "lease": LEASE_S},
        )
        return [
            Due(
                id=row[0],
                public_id=row[1],
                url=row[2],
                payload=bytes(row[3]),
                attempts=row[4],
                secret=row[5],
            )
            for row in cursor.fetchall()
        ]


def finish_delivery(*, due: Due, outcome: Outcome) -> bool:
    """Write down a try, and when the next one is due; False if another sender took it over."""
    with transaction.atomic():
        delivery = (
            WebhookDelivery.objects.select_for_update()
            .filter(pk=due.id, attempts=due.attempts, state=DeliveryState.PENDING)
            .first()
        )
        if delivery is None:
            return False
        WebhookAttempt.objects.create(
            delivery=delivery,
            number=due.attempts,
            status_code=outcome.status,
            error=outcome.error[:500],
            duration_ms=outcome.duration_ms,
            created_at=Now(),
        )
        delivery.lease_until = None
        delivery.last_error = "" if outcome.is_good else _words(outcome)[:500]
        tries = due.attempts - delivery.replayed_after
        if outcome.is_good:
            delivery.state = DeliveryState.DELIVERED
            delivery.delivered_at = timezone.now()
        elif outcome.refused or outcome.status == GONE or tries >= settings.WEBHOOK_TRIES:
            delivery.state = DeliveryState.DEAD
        else:
            delivery.next_at = timezone.now() + timedelta(seconds=_wait_s(tries, outcome))
        delivery.save()
    log.info(
        "webhook_tried",
        delivery=due.public_id,
        attempt=due.attempts,
        state=str(delivery.state),
        error=delivery.last_error[:200],
    )
    return True


def replay_deliveries(*, deliveries: QuerySet[WebhookDelivery]) -> int:
    """Try dead deliveries again, as often as new ones; return how many they are."""
    with transaction.atomic():
        dead = list(
            deliveries.filter(state=DeliveryState.DEAD).select_for_update().select_related("batch")
        )
        for delivery in dead:
            note_deed(
                action="webhook.replay",
                target=delivery.public_id,
                project=delivery.batch.project,
                url=delivery.url,
            )
        count = WebhookDelivery.objects.filter(pk__in=[delivery.pk for delivery in dead]).update(
            state=DeliveryState.PENDING,
            next_at=Now(),
            lease_until=None,
            replayed_after=F("attempts"),
        )
        if count:
            ring()
    return count


def secret_of(*, project: Project) -> str:
    """Return the secret that signs a project's webhooks, made when it is first asked for."""
    made = f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    # Of two that make one at the same time, the first one's stays.
    Project.objects.filter(pk=project.pk, webhook_secret="").update(webhook_secret=made)
    return Project.objects.values_list("webhook_secret", flat=True).get(pk=project.pk)


def rotate_secret(*, project: Project) -> str:
    """Give a project a new secret, which signs from the next try on."""
    with transaction.atomic():
        Project.objects.filter(pk=project.pk).update(webhook_secret="")
        note_deed(action="webhook.rotate_secret", target=project.name, project=project)
        return secret_of(project=project)


def _wait_s(tries: int, outcome: Outcome) -> float:
    wait_s = min(BACKOFF_MAX_S, BACKOFF_MIN_S * BACKOFF_FACTOR ** (tries - 1))
    if outcome.retry_after_s is not None:
        wait_s = min(BACKOFF_MAX_S, max(wait_s, outcome.retry_after_s))
    return wait_s * random.uniform(0.8, 1.2)


def _words(outcome: Outcome) -> str:
    return outcome.error or f"HTTP {outcome.status}"
