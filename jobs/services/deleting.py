"""Deleting a batch: gone for every reader at once, its rows later."""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

from jobs.models import Batch, BatchEvent, StoredFile, WebhookDelivery
from jobs.services.audit import note_deed
from jobs.states import DeliveryState


class StillLive(Exception):
    """A batch that has not ended cannot be deleted, cancel it first; `state` says how it is."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state


def delete_batch(*, batch: Batch) -> None:
    """Hide a batch and its result files for good; StillLive unless it ended.

    Its lines, answers, events and files go in slices afterwards (`purging`), so that this takes
    moments however large it is. The input file stays: it belongs to the project. Webhooks that
    have not gone out by then will not. Deleting twice changes nothing.
    """
    with transaction.atomic():
        # Whoever would still insert a response holds this lock. Not the stronger one, which a
        # webhook that is just being entered for the batch would wait for, holding its event.
        held = Batch.objects.select_for_update(no_key=True).filter(pk=batch.pk).first()
        if held is None:
            return
        if held.is_live:
            raise StillLive(held.state)
        # Its idempotency key is free again: the batch that it stood for cannot be answered.
        Batch.objects.filter(pk=held.pk).update(deleted_at=Now(), idempotency_key=None)
        results = [pk for pk in (held.output_file_id, held.error_file_id) if pk is not None]
        StoredFile.objects.filter(pk__in=results, deleted_at=None).update(deleted_at=Now())
        _forget_parent(held)
        BatchEvent.objects.filter(batch=held, announced_at=None).update(announced_at=Now())
        WebhookDelivery.objects.filter(batch=held, state=DeliveryState.PENDING).update(
            state=DeliveryState.DEAD, last_error="The batch was deleted."
        )
        note_deed(
            action="batch.delete",
            target=held.public_id,
            project_id=held.project_id,
            status=held.state,
            requests=held.total,
        )


def _forget_parent(parent: Batch) -> None:
    """Let the batches that took up lines of this one name it no more."""
    children = Batch.every.filter(parent=parent).order_by("pk").select_for_update(no_key=True)
    # They may be live, and locked in this order by the lanes that answer them.
    found = [child.pk for child in children.only("pk")]
    if found:
        Batch.every.filter(pk__in=found).update(parent=None)
