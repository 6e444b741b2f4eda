"""What the administration shows of tables that hang on batches: nothing of deleted ones."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from jobs.models import Batch, StoredFile


def without_deleted(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Leave out the rows of batches that are deleted and whose rows are still to go.

    These are few, and mostly none: then the list stays without a condition, so that its length
    can be estimated.
    """
    hidden = list(Batch.every.filter(deleted_at__isnull=False).values_list("pk", flat=True))
    return rows.exclude(batch__in=hidden) if hidden else rows


def files_without_deleted(files: QuerySet[StoredFile]) -> QuerySet[StoredFile]:
    """Leave out the result files of batches that are deleted: they are gone with them."""
    columns = ("output_file", "error_file")
    pairs = Batch.every.filter(deleted_at__isnull=False).values_list(*columns)
    hidden = [pk for pair in pairs for pk in pair if pk is not None]
    return files.exclude(pk__in=hidden) if hidden else files
