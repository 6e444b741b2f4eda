"""Files that expired or were deleted: hidden at once, their bytes and rows removed in slices."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Now

from jobs.models import Batch, Purpose, StoredFile
from jobs.services.due import Scope
from jobs.services.slices import Pace, Tally, remove_rows
from jobs.services.stored_bytes import remove_bytes
from jobs.states import LIVE_STATES, BatchState

# The name under which the bytes of uploaded files are counted.
CONTENT = "storage.content"
# How long the row of a deleted file stays: lists are paged by it, and a create that has just
# found the file is long done with it.
ROW_STAYS = timedelta(days=1)
# At once, since each costs a visit to the storage.
FILES_AT_ONCE = 100


class OldFiles:
    """Uploaded files; of a result file only the content is hidden, its rows are its batch's."""

    def measure(self, scope: Scope) -> Tally:
        tally = Tally()
        found = _with_bytes(scope).aggregate(count=Count("pk"), bytes=Sum("bytes"))
        tally.put(CONTENT, found["count"], found["bytes"] or 0)
        tally.put_rows(_done_with(scope))
        return tally

    def remove(self, scope: Scope, pace: Pace) -> Iterator[Tally]:
        _hide_expired(scope, pace)
        last = 0
        while True:
            files = list(_with_bytes(scope).filter(pk__gt=last).order_by("pk")[:FILES_AT_ONCE])
            if not files:
                break
            last = files[-1].pk
            tally = Tally()
            for stored in files:
                # Outside any transaction. Killed in between, they are removed once more.
                remove_bytes(stored.paths)
                if StoredFile.objects.filter(pk=stored.pk).exclude(paths=[]).update(paths=[]):
                    tally.put(CONTENT, 1, stored.bytes)
            yield tally
        rows = _done_with(scope).filter(paths=[])
        yield from remove_rows(rows, order_by="deleted_at", pace=pace)


def _hide_expired(scope: Scope, pace: Pace) -> None:
    """Mark what has expired as deleted, so that no sweep has to look at it again."""
    expired = _of(scope).filter(deleted_at__isnull=True, expires_at__lte=scope.now)
    while True:
        with pace.slice() as limit:
            pks = list(expired.order_by("expires_at").values_list("pk", flat=True)[:limit])
            StoredFile.objects.filter(pk__in=pks, deleted_at=None).update(deleted_at=Now())
        if not pks:
            return


def _with_bytes(scope: Scope) -> QuerySet[StoredFile]:
    """Return the files whose bytes are to go; a batch that has not yet read them keeps them."""
    readers = Batch.every.filter(input_file=OuterRef("pk"), state=BatchState.VALIDATING)
    gone = Q(deleted_at__isnull=False) | Q(deleted_at__isnull=True, expires_at__lte=scope.now)
    return _uploaded(scope).filter(gone, ~Exists(readers)).exclude(paths=[])


def _done_with(scope: Scope) -> QuerySet[StoredFile]:
    """Return the files whose rows are to go. A live batch keeps its input's row: setting its
    reference to null would wait for the lanes that work on it."""
    readers = Batch.every.filter(input_file=OuterRef("pk"), state__in=LIVE_STATES)
    return _uploaded(scope).filter(~Exists(readers), deleted_at__lte=scope.now - ROW_STAYS)


def _uploaded(scope: Scope) -> QuerySet[StoredFile]:
    return _of(scope).exclude(purpose=Purpose.BATCH_OUTPUT)


def _of(scope: Scope) -> QuerySet[StoredFile]:
    files = StoredFile.objects.all()
    return files.filter(project=scope.project) if scope.project else files
