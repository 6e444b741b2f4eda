"""Which lines of a batch are shown, found by what became of them or by their custom_id."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from jobs.models import Batch, BatchRequest

# What becomes of a line: the word of the chip, and the condition.
SHOW: dict[str, tuple[str, Q]] = {
    "answered": ("answered", Q(batchresponse__ok=True)),
    "errors": ("errors", Q(batchresponse__ok=False)),
    # As chat and as responses name it.
    "cut": ("cut", Q(batchresponse__finish_reason__in=("length", "incomplete"))),
    "open": ("not answered", Q(batchresponse__isnull=True)),
}
CUSTOM_ID_MAX = 512


def lines_of(batch: Batch, show: str) -> QuerySet[BatchRequest]:
    """Return the lines of a batch that `show` names; all, if it names nothing."""
    lines = BatchRequest.objects.filter(batch=batch)
    return lines.filter(SHOW[show][1]) if show in SHOW else lines


def find_line(batch: Batch, custom_id: str) -> int | None:
    """Return the position of the line with this very custom_id."""
    if "\0" in custom_id or len(custom_id) > CUSTOM_ID_MAX:
        return None
    found = BatchRequest.objects.filter(batch=batch, custom_id=custom_id)
    return found.values_list("position", flat=True).first()
