"""Webhooks on their way: what is to be told to whom, and every try to tell it."""

from __future__ import annotations

import secrets

from django.db import models
from django.db.models import Q

from jobs.models.batches import Batch, BatchEvent
from jobs.states import DeliveryState


def new_delivery_id() -> str:
    return f"evt_{secrets.token_hex(16)}"


class WebhookDelivery(models.Model):
    """One event of a batch for one address.

    `payload` is sent and signed as these very bytes at every try, under `public_id`, by which a
    receiver tells a repeated delivery. A sender owns it until `lease_until`; `attempts` grows
    with each claim and fences, so that a sender that was thought dead cannot record any more.
    """

    public_id = models.CharField(
        max_length=64, unique=True, default=new_delivery_id, editable=False
    )
    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="deliveries")
    event = models.ForeignKey(BatchEvent, on_delete=models.CASCADE, related_name="deliveries")
    type = models.CharField(max_length=32)
    url = models.URLField(max_length=2000)
    payload = models.BinaryField()
    state = models.CharField(max_length=16, choices=DeliveryState, default=DeliveryState.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    # When it is next due; only tries after the last replay count against the bound.
    next_at = models.DateTimeField()
    replayed_after = models.PositiveSmallIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "webhook deliveries"
        constraints = [
            models.UniqueConstraint(fields=["event", "url"], name="delivery_once"),
            models.CheckConstraint(
                condition=Q(state__in=DeliveryState.values), name="delivery_state_known"
            ),
        ]
        indexes = [
            # The sender: what is due.
            models.Index(
                fields=["next_at"], name="delivery_due", condition=Q(state=DeliveryState.PENDING)
            ),
            # The list of dead letters.
            models.Index(
                fields=["-id"], name="delivery_dead", condition=Q(state=DeliveryState.DEAD)
            ),
            # Keeping them for as long as was asked.
            models.Index(
                fields=["created_at"],
                name="delivery_by_age",
                condition=~Q(state=DeliveryState.PENDING),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} to {self.url}"


class WebhookAttempt(models.Model):
    """One try of a delivery: the answer's status, or why there was none."""

    delivery = models.ForeignKey(WebhookDelivery, on_delete=models.CASCADE, related_name="history")
    number = models.PositiveSmallIntegerField()
    status_code = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=500, blank=True)
    duration_ms = models.PositiveIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["delivery", "number"], name="attempt_once"),
        ]

    def __str__(self) -> str:
        return f"try {self.number}: {self.status_code or self.error}"
