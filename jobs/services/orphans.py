"""Bytes that nobody knows: what uploads left behind that were cut off before their row was made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.core.cache import cache
from django.core.files.storage import default_storage
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Min

from jobs.models import Installation
from jobs.services.due import Scope
from jobs.services.slices import Pace, Tally
from jobs.services.storage_marker import read_marker

# Where uploads lie in the storage, in folders below. Whatever else is in there is not ours.
UPLOADS = "uploads"
OBJECTS = "storage.orphans"
INCOMING = "storage.incoming"
# An upload that still goes on, or has its row still to come, is younger.
AGE = timedelta(days=1)
_CURSOR = "jobs.orphans.last-folder"

# One statement, so one snapshot: an object whose name passes from a part to a file meanwhile is
# seen with the one or the other.
_UNKNOWN = """
SELECT name FROM unnest(%s::text[]) AS name
EXCEPT SELECT unnest(paths) FROM jobs_storedfile WHERE paths <> '{}'
EXCEPT SELECT path FROM jobs_uploadpart
ORDER BY name
"""


class OrphanObjects:
    """Objects in the storage that neither a file nor a part of an upload names.

    Looked for folder by folder; with `folders` only so many of them at once, and the next run
    goes on behind the last one.
    """

    def __init__(self, *, folders: int | None = None) -> None:
        self._folders = folders

    def measure(self, scope: Scope) -> Tally:
        tally = Tally()
        for folder in [] if scope.project else _folders():
            for path in _orphans(folder, scope):
                tally.put(OBJECTS, 1, _size(path))
        return tally

    def remove(self, scope: Scope, pace: Pace) -> Iterator[Tally]:
        for folder in [] if scope.project else self._next_folders():
            tally = Tally()
            for path in _orphans(folder, scope):
                size = _size(path)
                default_storage.delete(path)
                tally.put(OBJECTS, 1, size)
            yield tally

    def _next_folders(self) -> Iterator[str]:
        folders = _folders()
        if self._folders is None:
            yield from folders
            return
        last = cache.get(_CURSOR, "")
        after = [folder for folder in folders if folder > last]
        for folder in (after or folders)[: self._folders]:
            # First: a folder that cannot be read is not tried over and over.
            cache.set(_CURSOR, folder, timeout=None)
            yield folder


class BrokenUploads:
    """What requests that were cut off left in the folder in which uploads are taken down."""

    def measure(self, scope: Scope) -> Tally:
        tally = Tally()
        for _, size in [] if scope.project else _broken(scope):
            tally.put(INCOMING, 1, size)
        return tally

    def remove(self, scope: Scope, pace: Pace) -> Iterator[Tally]:
        tally = Tally()
        for path, size in [] if scope.project else _broken(scope):
            path.unlink(missing_ok=True)
            tally.put(INCOMING, 1, size)
        yield tally


def _folders() -> list[str]:
    """Return the folders of uploads, by name; none if the storage is another installation's."""
    row = Installation.objects.first()
    if row is not None and read_marker() != row.storage_id:
        return []
    return sorted(f"{UPLOADS}/{name}" for name in _listed(UPLOADS)[0])


def _listed(folder: str) -> tuple[list[str], list[str]]:
    try:
        return default_storage.listdir(folder)
    except FileNotFoundError:  # Nothing was ever uploaded; S3 gives two empty lists.
        return [], []


def _orphans(folder: str, scope: Scope) -> Iterator[str]:
    """Give the objects of a folder that nobody names and that are old enough.

    An object is never younger than its row by much, and gets its row once, right after it was
    made: what has none after a day never gets one.
    """
    paths = [f"{folder}/{name}" for name in _listed(folder)[1]]
    if not paths:
        return
    with connection.cursor() as cursor:
        cursor.execute(_UNKNOWN, [paths])
        unknown = [row[0] for row in cursor.fetchall()]
    if not unknown:
        return
    since = _database_since()
    for path in unknown:
        try:
            changed = default_storage.get_modified_time(path)
        except FileNotFoundError:
            continue
        # Older than the database: the files of another installation, whose database this is not.
        if since < changed <= scope.now - AGE:
            yield path


def _database_since() -> datetime:
    """Return when the tables of this database were first made."""
    first: datetime = MigrationRecorder.Migration.objects.aggregate(first=Min("applied"))["first"]
    return first


def _size(path: str) -> int:
    try:
        return default_storage.size(path)
    except FileNotFoundError:
        return 0


def _broken(scope: Scope) -> Iterator[tuple[Path, int]]:
    before = (scope.now - AGE).timestamp()
    with os.scandir(settings.FILE_UPLOAD_TEMP_DIR) as entries:
        for entry in list(entries):
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if entry.is_file(follow_symlinks=False) and found.st_mtime <= before:
                yield Path(entry.path), found.st_size
