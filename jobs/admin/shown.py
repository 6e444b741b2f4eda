"""What the administration shows of tables that hang on batches: nothing of deleted ones."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from jobs.models import Batch


def without_deleted(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Leave out the rows of batches that are deleted and whose rows are still to go.

    These are few, and mostly none: then the list stays without a condition, so that its length
    can be estimated.
    """
    hidden = list(Batch.every.filter(deleted_at__isnull=False).values_list("pk", flat=True))
    return rows.exclude(batch__in=hidden) if hidden else rows
