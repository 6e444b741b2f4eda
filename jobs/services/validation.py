"""Turning an input file into request rows and chunks, or into findings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import IO

import structlog
from django.conf import settings
from django.db import connection, transaction

from jobs.jsonl import LineChecker, RequestLine
from jobs.models import Batch, ServedModel, StoredFile
from jobs.services.batches import fail_batch
from jobs.services.chunks import CHUNK_BYTES, CHUNK_LINES
from jobs.services.lanes import kick_lanes
from jobs.services.limits import QueueFull, claim_queue
from jobs.services.served_models import find_model
from jobs.services.stored_bytes import open_bytes
from jobs.services.transitions import move_batch
from jobs.states import BatchState

log = structlog.get_logger()


ANALYZE_FROM_LINES = 1_000


class _Rejected(Exception):
    """Findings were made: the transaction that holds the rows must not be committed."""


class _Moved(Exception):
    """The batch left `validating` meanwhile; what was copied must go."""


def validate_batch(*, batch_id: int) -> None:
    """Check every line of the batch's input and make its rows, all or none.

    Safe to call twice or at the same time: an advisory lock lets one in, and the state moves
    by compare-and-swap in the transaction that holds the rows. Killed half-way, nothing stays.
    """
    batch = Batch.objects.select_related("input_file", "project").get(pk=batch_id)
    if batch.state != BatchState.VALIDATING:
        return
    stored = batch.input_file
    if stored is None or stored.purpose != "batch":
        fail_batch(batch=batch, findings=[_file_finding(batch, stored)])
        return
    checker = LineChecker(
        endpoint=batch.endpoint,
        models=_names_of_models(),
        max_lines=settings.MAX_LINES,
        max_inputs=settings.MAX_EMBEDDING_INPUTS,
        max_findings=settings.MAX_FINDINGS,
    )
    try:
        file = open_bytes(stored.paths)
    except FileNotFoundError:
        stored.refresh_from_db()
        if stored.deleted_at is None:
            # Its bytes should be there: a network disk may be away, or this host may not share
            # the files of the one that took the upload. It is tried again, and said meanwhile.
            raise
        fail_batch(batch=batch, findings=[_file_finding(batch, None)])
        return
    # Reading a local file inside the transaction is meant: the rows appear whole or not at all,
    # and no lock is held meanwhile that a cancel or another batch would wait for.
    with contextlib.suppress(_Rejected, _Moved), file, transaction.atomic():
        if not _try_lock(batch_id):
            return
        _make_rows(batch, file, checker)
    findings = checker.finish()
    if findings:
        fail_batch(batch=batch, findings=list(findings), unlisted=checker.hidden)
    elif checker.total >= ANALYZE_FROM_LINES:
        # Without fresh statistics the planner takes the new rows for few.
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE jobs_batchrequest")


def _make_rows(batch: Batch, file: IO[bytes], checker: LineChecker) -> None:
    chunks = _copy_requests(batch, file, checker)
    if checker.finish():
        raise _Rejected
    model = find_model(checker.model or "")
    if model is None:  # Switched off since the names were read.
        checker.add(
            "model_not_found",
            f"The model '{checker.model}' is not supported.",
            param="body.model",
        )
        raise _Rejected
    _copy_chunks(batch, chunks)
    try:
        # Last, since from here on another batch of the project would wait.
        claim_queue(project=batch.project, requests=checker.total, tokens=checker.estimated_tokens)
    except QueueFull as error:
        checker.add(error.code, str(error))
        raise _Rejected from error
    if not move_batch(
        batch=batch,
        old=BatchState.VALIDATING,
        new=BatchState.IN_PROGRESS,
        total=checker.total,
        estimated_tokens=checker.estimated_tokens,
        model=model,
        model_name=checker.model or "",
    ):
        raise _Moved
    transaction.on_commit(lambda: kick_lanes(model))


def _names_of_models() -> set[str]:
    names: set[str] = set()
    for model in ServedModel.objects.filter(enabled=True):
        names.update([model.name, *model.aliases])
    return names


def _try_lock(batch_id: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [0x76626174, batch_id % 2**31])
        return bool(cursor.fetchone()[0])


def _copy_requests(batch: Batch, file: IO[bytes], checker: LineChecker) -> list[tuple[int, int]]:
    """Copy the lines into the request table; return the ranges of positions of the chunks."""
    chunks: list[tuple[int, int]] = []
    first = size = 0
    types = ["int8", "int4", "int4", "text", "bytea", "text", "bytea"]
    statement = (
        "COPY jobs_batchrequest (batch_id, line, position, custom_id, body, prompt_text, "
        "prompt_sha256) FROM STDIN (FORMAT BINARY)"
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(types)
        position = -1
        for request in _requests(file, checker):
            position = request.position
            size += len(request.body)
            copy.write_row(
                (
                    batch.pk,
                    request.line,
                    position,
                    request.custom_id,
                    request.body,
                    request.prompt_text,
                    request.prompt_sha256,
                )
            )
            if position + 1 - first >= CHUNK_LINES or size >= CHUNK_BYTES:
                chunks.append((first, position))
                first, size = position + 1, 0
    if position >= first:
        chunks.append((first, position))
    return chunks


def _requests(file: IO[bytes], checker: LineChecker) -> Iterator[RequestLine]:
    """Yield the good lines, until the first finding: from then on only findings matter."""
    limit = settings.MAX_LINE_BYTES
    while raw := file.readline(limit + 1):
        if len(raw) > limit and not raw.endswith(b"\n"):
            checker.too_long(limit)
            while (rest := file.readline(limit)) and not rest.endswith(b"\n"):
                pass
            continue
        request = checker.check(raw)
        # One line over the limit settles that the batch fails, and how many there are is only
        # counted: their rows are not wanted.
        if request is not None and not checker.findings and checker.total <= checker.max_lines:
            yield request


def _copy_chunks(batch: Batch, chunks: list[tuple[int, int]]) -> None:
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY jobs_chunk (batch_id, first_position, last_position, state, attempt) FROM STDIN"
        ) as copy,
    ):
        for first, last in chunks:
            copy.write_row((batch.pk, first, last, "open", 0))


def _file_finding(batch: Batch, stored: StoredFile | None) -> dict[str, object]:
    message = f"Cannot find file {batch.input_file_public_id}."
    if stored is not None:
        message = f"File {stored.public_id} has purpose '{stored.purpose}'; it must be 'batch'."
    return {
        "code": "invalid_request",
        "message": message,
        "param": "input_file_id",
        "line": None,
    }
