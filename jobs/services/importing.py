"""Entering a batch that was answered elsewhere, from its files."""

from __future__ import annotations

import secrets
from array import array
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog
from django.core.files import File
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models import Batch, BatchEvent, Project, Purpose, StoredFile
from jobs.services.audit import note_deed
from jobs.services.batches import window_seconds
from jobs.services.files import create_file
from jobs.services.import_files import (
    Counted,
    ImportOrder,
    NotImportable,
    Progress,
    Survey,
    input_checker,
    read_results,
    survey_files,
)
from jobs.services.limits import check_room
from jobs.services.request_rows import copy_requests, read_requests
from jobs.services.responses import Answered, insert_responses
from jobs.services.served_models import find_model
from jobs.services.starting import refresh_statistics
from jobs.services.stored_bytes import remove_bytes
from jobs.services.transitions import REASON_MAX
from jobs.services.unanswered import answer_the_rest
from jobs.states import BatchState

log = structlog.get_logger()

MISSING = "result_missing"
WINDOW = "24h"
GROUP_LINES = 512
GROUP_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Imported:
    """The batch as it is now, and how many lines of it had no result."""

    batch: Batch
    missing: int


def import_batch(
    *, project: Project, order: ImportOrder, progress: Progress = lambda read: None
) -> Imported:
    """Enter an ended batch with its results, whole or not at all; NotImportable says why not.

    Both files are checked to their end before anything is written. What is held of a line is
    its place and a short digest of its custom_id, so that memory does not grow with the bodies.
    Nobody is told of it by a webhook. Raises StorageFull if the project has no room for the input.
    """
    check_room(project=project, size=order.input.stat().st_size)
    survey = survey_files(order, progress)
    stored: StoredFile | None = None
    try:
        # Reading local files inside the transaction is meant, as in validation: the batch
        # appears whole or not at all, and no lock is held that anybody would wait for.
        with transaction.atomic():
            batch = _create(project, order, survey)
            _copy_lines(batch, order, survey, progress)
            missing = _copy_results(batch, order, survey, progress)
            # Last, since it may lock the project's row, for which others would wait.
            with order.input.open("rb") as file:
                stored = create_file(
                    project=project,
                    upload=File(file),
                    filename=order.input_name,
                    purpose=Purpose.BATCH,
                    expires_s=None,
                )
            Batch.objects.filter(pk=batch.pk).update(
                input_file=stored, input_file_public_id=stored.public_id
            )
            note_deed(
                action="batch.import",
                target=batch.public_id,
                project=project,
                lines=survey.total,
                missing=missing,
            )
    except BaseException:
        if stored is not None:
            remove_bytes(stored.paths)
        raise
    log.info("batch_imported", batch=batch.public_id, lines=survey.total, missing=missing)
    refresh_statistics(lines=survey.total)
    batch.refresh_from_db()
    return Imported(batch=batch, missing=missing)


def _create(project: Project, order: ImportOrder, survey: Survey) -> Batch:
    now = timezone.now()
    created_at = order.created_at or now
    batch = Batch.objects.create(
        project=project,
        state=BatchState.COMPLETED,
        endpoint=order.endpoint,
        completion_window=WINDOW,
        model=find_model(survey.model),
        model_name=survey.model,
        total=survey.total,
        # For a retry, whose lines are a part of these.
        estimated_tokens=survey.estimated_tokens,
        created_at=created_at,
        expires_at=created_at + timedelta(seconds=window_seconds(WINDOW)),
        # When it really ended nobody knows; retention counts from now.
        completed_at=now,
        ended_at=now,
        imported_at=now,
        # It repeats nothing, and nothing repeats it.
        create_digest=secrets.token_bytes(32),
    )
    names = ", ".join(path.name for path in order.results)
    BatchEvent.objects.create(
        batch=batch,
        new_state=batch.state,
        reason=f"imported from {order.input.name} and {names}"[:REASON_MAX],
        created_at=Now(),
        # Whoever waited for it was told elsewhere.
        announced_at=Now(),
    )
    return batch


def _copy_lines(batch: Batch, order: ImportOrder, survey: Survey, progress: Progress) -> None:
    checker = input_checker(order)
    with order.input.open("rb") as file:
        requests = read_requests(Counted(file, progress), checker)
        ranges = copy_requests(batch=batch, requests=requests)
    if checker.finish() or ranges.total != survey.total:
        raise _changed(order.input)


def _copy_results(batch: Batch, order: ImportOrder, survey: Survey, progress: Progress) -> int:
    """Insert the results, in the order of their files; return how many lines have none."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM jobs_batchrequest WHERE batch_id = %s ORDER BY position", [batch.pk]
        )
        ids = array("q", (row[0] for row in cursor))
    group: list[Answered] = []
    size = 0
    for position, result in read_results(order, survey, progress):
        group.append(
            Answered(
                request_id=ids[position],
                position=position,
                custom_id=result.custom_id,
                answer=result.answer(),
                latency_ms=None,
            )
        )
        size += len(result.body) + len(result.error)
        if len(group) >= GROUP_LINES or size >= GROUP_BYTES:
            insert_responses(lane_id=None, batch=batch, rows=group)
            group, size = [], 0
    if survey.findings:
        raise _changed(order.results[0])
    if group:
        insert_responses(lane_id=None, batch=batch, rows=group)
    missing = answer_the_rest(
        batch=batch, code=MISSING, message="The files that were imported hold no result for it."
    )
    # When lines were answered nobody knows; the batch must not seem to be quick.
    Batch.objects.filter(pk=batch.pk).update(first_response_at=None, last_response_at=None)
    return missing


def _changed(path: Path) -> NotImportable:
    return NotImportable([f"{path.name}: the file was changed while it was read."])
