"""The file in the file storage that says which installation's files these are."""

from __future__ import annotations

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

MARKER = "vbatch-storage-id"
_MAX_BYTES = 200


def read_marker() -> str | None:
    """Return the id that stands in the storage, None where none does.

    Raises OSError if the storage cannot be read.
    """
    try:
        with default_storage.open(MARKER) as file:
            return file.read(_MAX_BYTES).decode(errors="replace").strip() or None
    except FileNotFoundError:
        return None


def write_marker(storage_id: str) -> None:
    """Let `storage_id` stand in the storage, in place of any other."""
    default_storage.delete(MARKER)
    default_storage.save(MARKER, ContentFile(storage_id.encode()))
