"""Entering a batch that was answered elsewhere, from its files."""

from __future__ import annotations

import hashlib
import secrets
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO

import structlog
from django.conf import settings
from django.core.files import File
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from jobs.imported_lines import ResultLine, UnreadableResult, read_result
from jobs.jsonl import LineChecker
from jobs.line_rules import short
from jobs.models import Batch, BatchEvent, Project, Purpose, StoredFile
from jobs.services.audit import note_deed
from jobs.services.batches import window_seconds
from jobs.services.files import create_file
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
MODEL_MAX = 200
WINDOW = "24h"
# A line of an output file may be this long; an answer is far shorter, but for odd embeddings.
RESULT_LINE_MAX = 64 * 1024 * 1024
GROUP_LINES = 512
GROUP_BYTES = 8 * 1024 * 1024
_NO_LIMIT = 2**31 - 1


class NotImportable(Exception):
    """The files do not fit; `findings` say what is wrong and where, `hidden` are not listed."""

    def __init__(self, findings: list[str], hidden: int = 0) -> None:
        super().__init__(f"{len(findings) + hidden} findings")
        self.findings = findings
        self.hidden = hidden


@dataclass(frozen=True, kw_only=True)
class ImportOrder:
    """What is to be imported; `model` is the name to list it under, if not that of the lines."""

    input: Path
    # The name that the input gets as a file of the project.
    input_name: str
    results: tuple[Path, ...]
    endpoint: str
    model: str | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Imported:
    """The batch as it is now, and how many lines of it had no result."""

    batch: Batch
    missing: int


# Told how many bytes more have been read; every file is read twice.
Progress = Callable[[int], None]


def import_batch(
    *, project: Project, order: ImportOrder, progress: Progress = lambda read: None
) -> Imported:
    """Enter an ended batch with its results, whole or not at all; NotImportable says why not.

    Both files are checked to their end before anything is written. What is held of a line is
    its place and a short digest of its custom_id, so that memory does not grow with the bodies.
    Nobody is told of it by a webhook.
    """
    survey = _survey(order, progress)
    stored: StoredFile | None = None
    try:
        # Reading local files inside the transaction is meant, as in validation: the batch
        # appears whole or not at all, and no lock is held that anybody would wait for.
        with transaction.atomic():
            with order.input.open("rb") as file:
                stored = create_file(
                    project=project,
                    upload=File(file),
                    filename=order.input_name,
                    purpose=Purpose.BATCH,
                    expires_s=None,
                )
            batch = _create(project, order, survey, stored)
            _copy_lines(batch, order, survey, progress)
            missing = _copy_results(batch, order, survey, progress)
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


# --- Checking ------------------------------------------------------------------------------------
@dataclass(slots=True)
class _Survey:
    """What the first reading of the files found; `places` tells positions by digest."""

    places: dict[bytes, int] = field(default_factory=dict)
    model: str = ""
    findings: list[str] = field(default_factory=list)
    hidden: int = 0

    @property
    def total(self) -> int:
        return len(self.places)

    def add(self, path: Path, line: int | None, message: str) -> None:
        if len(self.findings) >= settings.MAX_FINDINGS:
            self.hidden += 1
            return
        where = path.name if line is None else f"{path.name} line {line}"
        self.findings.append(f"{where}: {message}")

    def check(self) -> None:
        if self.findings:
            raise NotImportable(self.findings, self.hidden)


def _survey(order: ImportOrder, progress: Progress) -> _Survey:
    """Read all files once; NotImportable unless every line is in order and has its place."""
    survey = _Survey()
    checker = _checker(order)
    with order.input.open("rb") as file:
        for request in read_requests(_Counted(file, progress), checker):
            survey.places[_digest(request.custom_id)] = request.position
    for found in checker.finish():
        survey.add(order.input, found["line"], f"{found['message']} ({found['code']})")
    survey.model = order.model or checker.model or ""
    if len(survey.model) > MODEL_MAX:
        survey.add(order.input, None, f"The name of the model is longer than {MODEL_MAX}.")
    # With lines missing here, results would be called unknown that are not.
    survey.check()
    for _ in _results(order, survey, progress):
        pass
    survey.check()
    return survey


def _checker(order: ImportOrder) -> LineChecker:
    """Return what checks the input: as for a create, but for limits and the models served here."""
    return LineChecker(
        endpoint=order.endpoint,
        models=None,
        one_model=order.model is None,
        max_lines=_NO_LIMIT,
        max_inputs=_NO_LIMIT,
        max_findings=settings.MAX_FINDINGS,
    )


def _results(
    order: ImportOrder, survey: _Survey, progress: Progress
) -> Iterator[tuple[int, ResultLine]]:
    """Yield the results with their positions; what has no place is a finding of the survey."""
    seen = bytearray(survey.total)
    for path in order.results:
        with path.open("rb") as file:
            for number, raw in _lines(path, _Counted(file, progress), survey):
                try:
                    result = read_result(raw)
                except UnreadableResult as error:
                    survey.add(path, number, f"This line is no result: {error}.")
                    continue
                position = survey.places.get(_digest(result.custom_id))
                name = short(result.custom_id)
                if position is None:
                    survey.add(path, number, f"The custom_id '{name}' is not in the input.")
                elif seen[position]:
                    survey.add(path, number, f"The custom_id '{name}' has a result already.")
                else:
                    seen[position] = 1
                    yield position, result


def _lines(path: Path, file: _Counted, survey: _Survey) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, with their numbers from 1."""
    number = 0
    while raw := file.readline(RESULT_LINE_MAX + 1):
        number += 1
        if len(raw) > RESULT_LINE_MAX and not raw.endswith(b"\n"):
            survey.add(path, number, f"This line is longer than {RESULT_LINE_MAX:,} bytes.")
            while (rest := file.readline(RESULT_LINE_MAX)) and not rest.endswith(b"\n"):
                pass
            continue
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        raw = raw.strip()
        if raw:
            yield number, raw


class _Counted:
    """A file that is read by lines, and tells how much has been read."""

    def __init__(self, file: IO[bytes], progress: Progress) -> None:
        self._file = file
        self._progress = progress

    def readline(self, limit: int) -> bytes:
        raw = self._file.readline(limit)
        self._progress(len(raw))
        return raw


def _digest(custom_id: str) -> bytes:
    return hashlib.blake2b(custom_id.encode("utf-8", "surrogatepass"), digest_size=12).digest()


# --- Writing -------------------------------------------------------------------------------------
def _create(project: Project, order: ImportOrder, survey: _Survey, stored: StoredFile) -> Batch:
    now = timezone.now()
    created_at = order.created_at or now
    batch = Batch.objects.create(
        project=project,
        state=BatchState.COMPLETED,
        endpoint=order.endpoint,
        completion_window=WINDOW,
        input_file=stored,
        input_file_public_id=stored.public_id,
        model=find_model(survey.model),
        model_name=survey.model,
        total=survey.total,
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


def _copy_lines(batch: Batch, order: ImportOrder, survey: _Survey, progress: Progress) -> None:
    checker = _checker(order)
    with order.input.open("rb") as file:
        requests = read_requests(_Counted(file, progress), checker)
        ranges = copy_requests(batch=batch, requests=requests)
    if checker.finish() or ranges.total != survey.total:
        raise _changed(order.input)


def _copy_results(batch: Batch, order: ImportOrder, survey: _Survey, progress: Progress) -> int:
    """Insert the results, in the order of their files; return how many lines have none."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM jobs_batchrequest WHERE batch_id = %s ORDER BY position", [batch.pk]
        )
        ids = array("q", (row[0] for row in cursor))
    group: list[Answered] = []
    size = 0
    for position, result in _results(order, survey, progress):
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
