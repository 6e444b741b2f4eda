"""Deleting a batch with all that belongs to it."""

from __future__ import annotations

from django.db import transaction

from jobs.models import (
    Batch,
    BatchEvent,
    BatchRequest,
    BatchResponse,
    Chunk,
    StoredFile,
    Suspect,
)
from jobs.services.audit import note_deed


class StillLive(Exception):
    """A batch that has not ended cannot be deleted; cancel it first."""


def delete_batch(*, batch: Batch) -> None:
    """Delete a batch, its lines, its answers and its result files; StillLive unless it ended.

    The input file stays: it belongs to the project. All in one transaction, so that a crash
    leaves the batch whole; the lock keeps away whoever would still insert a response.
    """
    with transaction.atomic():
        held = Batch.objects.select_for_update().filter(pk=batch.pk).first()
        if held is None:
            return
        if held.is_live:
            raise StillLive(held.public_id)
        note_deed(
            action="batch.delete",
            target=held.public_id,
            project_id=held.project_id,
            status=held.state,
            requests=held.total,
        )
        # Straight deletes, children first: the ORM's own would read every row into memory.
        for model in (Suspect, Chunk, BatchResponse, BatchRequest, BatchEvent):
            rows = model._default_manager.filter(batch=held)
            rows._raw_delete(rows.db)
        results = [held.output_file_id, held.error_file_id]
        held.delete()
        StoredFile.objects.filter(pk__in=[pk for pk in results if pk is not None]).delete()
