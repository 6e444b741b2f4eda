"""The lines of an input file on their way into the request table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from django.conf import settings
from django.db import connection
from psycopg.copy import QueuedLibpqWriter

from jobs.jsonl import LineChecker, RequestLine
from jobs.models import Batch
from jobs.services.starting import ChunkRanges

_TYPES = ["int8", "int4", "int4", "text", "bytea", "text", "bytea", "bytea"]
_COPY = """
COPY jobs_batchrequest (
    batch_id, line, position, custom_id, body, prompt_text, prompt_sha256, body_sha256)
FROM STDIN (FORMAT BINARY)
"""


class Lines(Protocol):
    """A file that is read by lines."""

    def readline(self, limit: int, /) -> bytes: ...


def read_requests(file: Lines, checker: LineChecker) -> Iterator[RequestLine]:
    """Yield the good lines, until the first finding: from then on only findings matter."""
    limit = settings.MAX_LINE_BYTES
    # Django's files look the method up anew at each access, which shows on this path.
    readline = file.readline
    while raw := readline(limit + 1):
        if len(raw) > limit and not raw.endswith(b"\n"):
            checker.too_long(limit)
            while (rest := readline(limit)) and not rest.endswith(b"\n"):
                pass
            continue
        request = checker.check(raw)
        # One line over the limit settles that the batch fails, and how many there are is only
        # counted: their rows are not wanted.
        if request is not None and not checker.findings and checker.total <= checker.max_lines:
            yield request


def copy_requests(*, batch: Batch, requests: Iterable[RequestLine]) -> ChunkRanges:
    """Copy the lines into the request table, as they come; return how they are cut into chunks."""
    ranges = ChunkRanges(request_order=batch.request_order)
    with (
        connection.cursor() as cursor,
        # From a thread of its own: the database works while the next lines are read.
        cursor.copy(_COPY, writer=QueuedLibpqWriter(cursor.cursor)) as copy,
    ):
        copy.set_types(_TYPES)
        for request in requests:
            copy.write_row(
                (
                    batch.pk,
                    request.line,
                    request.position,
                    request.custom_id,
                    request.body,
                    request.prompt_text,
                    request.prompt_sha256,
                    request.body_sha256,
                )
            )
            ranges.add(
                body_bytes=len(request.body), prompt=request.prompt_text, seed=request.tools_seed
            )
    return ranges
