"""Uploads in parts that were not completed: told expired in time, and removed in slices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from django.db.models import Count, Model, Q, QuerySet, Sum

from jobs.models import Upload, UploadPart
from jobs.services.due import Scope
from jobs.services.old_files import FILES_AT_ONCE, ROW_STAYS
from jobs.services.slices import Pace, Tally, delete_rows, remove_rows
from jobs.services.stored_bytes import remove_bytes
from jobs.services.uploads import expire_uploads, leftover_parts
from jobs.states import UploadState

# The name under which the bytes of parts are counted.
PARTS = "storage.parts"

T = TypeVar("T", bound=Model)


class OldUploads:
    """Parts of which no file will be made, and the rows of all uploads a day after their hour."""

    def measure(self, scope: Scope) -> Tally:
        tally = Tally()
        _put(tally, _of(UploadPart.objects.filter(_goes(scope)), scope, "upload__project"))
        tally.put_rows(_done_with(scope))
        return tally

    def remove(self, scope: Scope, pace: Pace) -> Iterator[Tally]:
        _expire(scope, pace)
        last = 0
        while True:
            leftovers = _of(leftover_parts(), scope, "upload__project").filter(pk__gt=last)
            parts = list(leftovers.order_by("pk")[:FILES_AT_ONCE])
            if not parts:
                break
            last = parts[-1].pk
            # Outside any transaction. Killed in between, they are removed once more.
            remove_bytes([part.path for part in parts])
            tally = Tally()
            pks = [part.pk for part in parts]
            with pace.slice():
                _put(tally, UploadPart.objects.filter(pk__in=pks))
                delete_rows(UploadPart, pks)
            yield tally
        rows = _done_with(scope).filter(parts=None)
        yield from remove_rows(rows, order_by="expires_at", pace=pace)


def _expire(scope: Scope, pace: Pace) -> None:
    due = Upload.objects.filter(state=UploadState.PENDING, expires_at__lte=scope.now)
    while True:
        with pace.slice() as limit:
            pks = list(_of(due, scope).values_list("pk", flat=True)[:limit])
            expire_uploads(pks=pks, now=scope.now)
        if not pks:
            return


def _goes(scope: Scope) -> Q:
    """Tell the parts that are to go, those of uploads included that are still to be expired."""
    return ~Q(upload__state=UploadState.PENDING) | Q(upload__expires_at__lte=scope.now)


def _done_with(scope: Scope) -> QuerySet[Upload]:
    """Return the uploads whose rows are to go; until then, what is asked again is answered."""
    return _of(Upload.objects.filter(expires_at__lte=scope.now - ROW_STAYS), scope)


def _put(tally: Tally, parts: QuerySet[UploadPart]) -> None:
    found = parts.aggregate(count=Count("pk"), bytes=Sum("bytes"))
    tally.put(PARTS, found["count"], found["bytes"] or 0)
    tally.put_rows(parts)


def _of(rows: QuerySet[T], scope: Scope, path: str = "project") -> QuerySet[T]:
    return rows.filter(**{path: scope.project}) if scope.project else rows
