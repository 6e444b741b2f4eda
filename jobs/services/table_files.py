"""Storing the input file that is made of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import IO

from django.conf import settings

from jobs.csv_lines import TableFinding, TableReader, Template
from jobs.models import Project, StoredFile
from jobs.services.made_files import MadeTooLarge, create_from_lines

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

    def lines() -> Iterator[bytes]:
        yield from reader.read(table)
        if reader.findings:
            raise TableRefused(reader.findings, reader.hidden)

    try:
        stored = create_from_lines(project=project, filename=name, lines=lines())
    except MadeTooLarge as error:
        # A long template and many rows: what comes of them has the limit of any file.
        limit = settings.MAX_FILE_BYTES
        message = f"What is made of the table is larger than {limit:,} bytes. Split it."
        raise TableRefused([TableFinding(message)], 0) from error
    return stored, reader.blank
