"""Turning an input file into request rows and chunks, or into findings."""

from __future__ import annotations

import contextlib
from typing import IO

import structlog
from django.db import connection, transaction

from jobs.jsonl import LineChecker
from jobs.models import Batch, StoredFile
from jobs.services.batches import fail_batch
from jobs.services.input_reading import make_checker
from jobs.services.limits import QueueFull, claim_queue
from jobs.services.request_rows import copy_requests, read_requests
from jobs.services.served_models import find_model
from jobs.services.starting import refresh_statistics, start_batch
from jobs.services.stored_bytes import open_bytes
from jobs.states import BatchState

log = structlog.get_logger()


class _Rejected(Exception):
    """Findings were made: the transaction that holds the rows must not be committed."""


class _Moved(Exception):
    """The batch left `validating` meanwhile; what was copied must go."""


def validate_batch(*, batch_id: int) -> None:
    """Check every line of the batch's input and make its rows, all or none.

    Safe to call twice or at the same time: an advisory lock lets one in, and the state moves
    by compare-and-swap in the transaction that holds the rows. Killed half-way, nothing stays.
    """
    batch = Batch.objects.select_related("input_file", "project").filter(pk=batch_id).first()
    if batch is None or batch.state != BatchState.VALIDATING:
        return
    stored = batch.input_file
    if stored is None or stored.purpose != "batch":
        fail_batch(batch=batch, findings=[_file_finding(batch, stored)])
        return
    checker = make_checker(endpoint=batch.endpoint, tells_equals=batch.reuse_answers)
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
    # Reading the file inside the transaction is meant, from S3 too: the rows appear whole or not
    # at all, and no lock is held meanwhile that a cancel or another batch would wait for.
    with contextlib.suppress(_Rejected, _Moved), file, transaction.atomic():
        if not _try_lock(batch_id):
            return
        _make_rows(batch, file, checker)
    findings = checker.finish()
    if findings:
        fail_batch(batch=batch, findings=list(findings), unlisted=checker.hidden)
    else:
        refresh_statistics(lines=checker.total)


def _make_rows(batch: Batch, file: IO[bytes], checker: LineChecker) -> None:
    ranges = copy_requests(batch=batch, requests=read_requests(file, checker))
    if checker.finish():
        raise _Rejected
    chunks = ranges.finish()
    model = find_model(checker.model or "")
    if model is None:  # Switched off since the names were read.
        checker.add(
            "model_not_found",
            f"The model '{checker.model}' is not supported.",
            param="body.model",
        )
        raise _Rejected
    try:
        # Late, since from here on another batch of the project would wait.
        claim_queue(project=batch.project, requests=checker.total, tokens=checker.estimated_tokens)
    except QueueFull as error:
        checker.add(error.code, str(error))
        raise _Rejected from error
    if not start_batch(
        batch=batch,
        chunks=chunks,
        total=checker.total,
        model=model,
        model_name=checker.model or "",
        estimated_tokens=checker.estimated_tokens,
    ):
        raise _Moved


def _try_lock(batch_id: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [0x76626174, batch_id % 2**31])
        return bool(cursor.fetchone()[0])


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
