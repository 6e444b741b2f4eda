"""Storing an input file that is made here, line by line."""

from __future__ import annotations

import os
from collections.abc import Iterable

from django.conf import settings
from django.core.files.uploadedfile import TemporaryUploadedFile

from jobs.models import Project, Purpose, StoredFile
from jobs.services.files import create_file


class MadeTooLarge(Exception):
    """What is made is larger than a file may be."""

    def __init__(self) -> None:
        super().__init__(f"What is made is larger than {settings.MAX_FILE_BYTES:,} bytes.")


def create_from_lines(
    *, project: Project, filename: str, lines: Iterable[bytes], expires_s: int | None = None
) -> StoredFile:
    """Store lines as they are made, in no transaction; nothing stays if making them fails.

    Raises MadeTooLarge, and what `create_file` raises.
    """
    # On the disk of the stored files, as an upload is, so that it is renamed into place.
    with TemporaryUploadedFile("made", "application/jsonl", 0, None) as made:
        size = 0
        for line in lines:
            size += len(line)
            if size > settings.MAX_FILE_BYTES:
                raise MadeTooLarge
            made.write(line)
        made.flush()
        os.fsync(made.fileno())
        made.size = size
        return create_file(
            project=project,
            upload=made,
            filename=filename,
            purpose=Purpose.BATCH,
            expires_s=expires_s,
        )
