"""Removing the rows of batches that were deleted, or have been kept for long enough."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Model, Q, QuerySet

from jobs.models import (
    Batch,
    BatchEvent,
    BatchRequest,
    BatchResponse,
    Chunk,
    KnownAnswer,
    StoredFile,
    Suspect,
    WebhookAttempt,
    WebhookDelivery,
)
from jobs.services.deleting import delete_batch
from jobs.services.due import Scope, due_batches
from jobs.services.slices import Pace, Tally, delete_rows

# What a batch consists of besides itself and its result files, with the way to it.
_LINES: tuple[tuple[type[Model], str], ...] = (
    (BatchRequest, "pk"),
    (BatchResponse, "request"),
    (KnownAnswer, "response"),
    (Suspect, "request"),
)
_PARTS: tuple[tuple[type[Model], str], ...] = (
    (BatchRequest, "batch"),
    (BatchResponse, "batch"),
    (KnownAnswer, "response__batch"),
    (Suspect, "batch"),
    (Chunk, "batch"),
    (BatchEvent, "batch"),
    (WebhookDelivery, "batch"),
    (WebhookAttempt, "delivery__batch"),
)


class DueBatches:
    """Batches with all that is theirs: lines and answers in slices, then the rest at once.

    May be killed anywhere: what is gone is gone, and the next run finds the rest by the batch,
    whose row goes last.
    """

    def measure(self, scope: Scope) -> Tally:
        tally = Tally()
        _put_batches(tally, due_batches(scope))
        return tally

    def remove(self, scope: Scope, pace: Pace) -> Iterator[Tally]:
        for batch_id in list(due_batches(scope).order_by("pk").values_list("pk", flat=True)):
            batch = Batch.objects.filter(pk=batch_id).first()
            if batch is not None:
                delete_batch(batch=batch)
            yield from _remove_lines(batch_id, pace)
            yield _remove_batch(batch_id, pace)


def _remove_lines(batch_id: int, pace: Pace) -> Iterator[Tally]:
    last = -1
    while True:
        tally = Tally()
        with pace.slice() as rows:
            # From the last position on: the index still holds the rows that are gone.
            found = list(
                BatchRequest.objects.filter(batch=batch_id, position__gt=last)
                .order_by("position")
                .values_list("pk", "position")[:rows]
            )
            pks = [pk for pk, _ in found]
            if pks:
                for model, path in _LINES:
                    tally.put_rows(model._default_manager.filter(**{f"{path}__in": pks}))
                delete_rows(BatchRequest, pks)
        if not found:
            return
        last = found[-1][1]
        yield tally


def _remove_batch(batch_id: int, pace: Pace) -> Tally:
    tally = Tally()
    with pace.slice():
        batches = Batch.every.filter(pk=batch_id, deleted_at__isnull=False)
        batch = batches.select_for_update().first()
        if batch is None:
            return tally
        _put_batches(tally, batches)
        results = [pk for pk in (batch.output_file_id, batch.error_file_id) if pk is not None]
        batch.delete()
        StoredFile.objects.filter(pk__in=results).delete()
    return tally


def _put_batches(tally: Tally, batches: QuerySet[Batch]) -> None:
    for model, path in _PARTS:
        tally.put_rows(model._default_manager.filter(**{f"{path}__in": batches.values("pk")}))
    pks = batches.values("pk")
    tally.put_rows(StoredFile.objects.filter(Q(output_of__in=pks) | Q(errors_of__in=pks)))
    tally.put_rows(batches)
