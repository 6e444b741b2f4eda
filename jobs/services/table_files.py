"""Storing the input file that is made of a table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import PurePath
from typing import IO

from django.conf import settings
from django.core.files.uploadedfile import TemporaryUploadedFile

from jobs.csv_lines import TableFinding, TableReader, Template
from jobs.models import Project, Purpose, StoredFile
from jobs.services.files import create_file

_NAME_MAX = 400


class TableRefused(Exception):
    """The table does not become an input file; `findings` say why, `hidden` how many more do."""

    def __init__(self, findings: Sequence[TableFinding], hidden: int) -> None:
        super().__init__(findings[0].message)
        self.findings = findings
        self.hidden = hidden


def create_from_table(
    *, project: Project, table: IO[bytes], filename: str, template: Template
) -> tuple[StoredFile, int]:
    """Make an input file of a table and store it; return it with the number of rows left blank.

    Raises TableRefused, and what `create_file` raises.
    """
    reader = TableReader(
        template=template,
        max_rows=settings.MAX_LINES,
        max_findings=settings.MAX_FINDINGS,
        max_line_bytes=settings.MAX_LINE_BYTES,
    )
    name = f"{PurePath(filename).stem[:_NAME_MAX]}.jsonl"
    # On the disk of the stored files, as an upload is, so that it is renamed into place.
    with TemporaryUploadedFile("table", "application/jsonl", 0, None) as made:
        size = 0
        for line in reader.read(table):
            size += len(line)
            if size > settings.MAX_FILE_BYTES:
                # A long template and many rows: what comes of them has the limit of any file.
                limit = settings.MAX_FILE_BYTES
                message = f"What is made of the table is larger than {limit:,} bytes. Split it."
                raise TableRefused([TableFinding(message)], 0)
            made.write(line)
        if reader.findings:
            raise TableRefused(reader.findings, reader.hidden)
        made.flush()
        os.fsync(made.fileno())
        made.size = size
        stored = create_file(
            project=project, upload=made, filename=name, purpose=Purpose.BATCH, expires_s=None
        )
    return stored, reader.blank
