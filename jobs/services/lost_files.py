"""Files whose bytes are no more: gone for their readers too, rather than an error at each look."""

from __future__ import annotations

from django.core.files.storage import default_storage
from django.db.models.functions import Now

from jobs.models import StoredFile


def hide_lost_files() -> int:
    """Mark the files as deleted whose bytes are not in the storage; return their number.

    For a storage that was brought back together with the database, and is known to be the right
    one. A batch that was still to read such a file then fails, and says which.
    """
    hidden = 0
    files = StoredFile.objects.filter(deleted_at=None).exclude(paths=[]).only("paths")
    for stored in files.iterator():
        if not all(default_storage.exists(path) for path in stored.paths):
            hidden += StoredFile.objects.filter(pk=stored.pk).update(deleted_at=Now())
    return hidden
