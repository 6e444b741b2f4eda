"""Importing ratings and gold stars: a file is checked whole, and then taken over in slices."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import IO, cast

import structlog
from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models.functions import Now
from django_q.tasks import async_task

from curation.gold_fields import GoldFields, InvalidGold, check_fields
from curation.imported_stars import Refusal, StarLine, StarReader, UnreadableStars
from curation.models import GoldStar, StarImport, StarImportLine, StarImportState
from curation.services.datasets import CONTROL
from curation.services.gold import CannotStar, star_response
from curation.services.named_answers import NamedAnswers
from jobs.models import BatchResponse, Project
from jobs.prompts import storable_text
from jobs.services.audit import Actor, acting, current_actor, note_deed

log = structlog.get_logger()

ROWS_MAX = 100_000
BYTES_MAX = 64 * 1024 * 1024
_CHECKED_AT_ONCE = 1_000
_TAKEN_AT_ONCE = 100
# A run of the task is short beside the time that the task queue gives it.
_RUN_S = 60.0
# One that was checked, and then forgotten, goes after so long.
_KEPT = timedelta(days=7)
_NAMED_MAX = 512


class NothingToImport(Exception):
    """No line of the file says anything of an answer."""


def create_star_import(
    *, project: Project, file: IO[bytes], filename: str, batch_id: str = ""
) -> StarImport:
    """Check a file, and keep its lines until they are taken over or discarded.

    `batch_id` is that of rows which name no batch. Answers of other projects are not there.
    Raises UnreadableStars where the file cannot be read to its end, and NothingToImport.
    """
    reader = StarReader(
        max_rows=ROWS_MAX, max_line_bytes=settings.MAX_LINE_BYTES, batch_id=batch_id
    )
    actor = current_actor()
    with transaction.atomic():
        StarImport.objects.filter(
            project=project, state=StarImportState.CHECKED, created_at__lt=Now() - _KEPT
        ).delete()
        made = StarImport.objects.create(
            project=project,
            filename=storable_text(filename, limit=400),
            created_by_id=actor.user_id,
            created_by_name=actor.words[:200],
        )
        seen: dict[int, int] = {}
        found = reader.read(file)
        while slice := list(islice(found, _CHECKED_AT_ONCE)):
            lines = [_line(made, *one) for one in _check(project, slice, seen)]
            StarImportLine.objects.bulk_create(lines)
            made.refused += sum(bool(one.problem) for one in lines)
            made.known += _count_known(one.response_id for one in lines)
        if reader.silent == reader.total:
            raise NothingToImport(
                f"The file has {reader.total:,} rows, and none says anything of an answer: each "
                "gives a quality_score, tags, notes or an edited_answer."
            )
        made.rows, made.blank, made.silent = reader.total, reader.blank, reader.silent
        made.ignored = list(reader.ignored)
        made.save()
    return made


def start_star_import(*, star_import: StarImport, for_s: float) -> bool:
    """Take over what is in order: for a moment at once, and what is left in the background.

    Returns whether it was this call that started it.
    """
    with transaction.atomic():
        changed = StarImport.objects.filter(
            pk=star_import.pk, state=StarImportState.CHECKED
        ).update(state=StarImportState.RUNNING, started_at=Now())
        if changed:
            note_deed(
                action="gold.import",
                target=star_import.public_id,
                project_id=star_import.project_id,
                lines=star_import.left,
            )
    if not changed:
        return False
    try:
        ended = _run(star_import.pk, time.monotonic() + for_s)
    except OperationalError:
        # Such as a deadlock with an undo: nothing of the slice was kept, the task does it again.
        log.warning("star_import_interrupted", star_import=star_import.public_id)
        ended = False
    if not ended:
        async_task("curation.tasks.run_star_imports", cluster=CONTROL)
    return True


def discard_star_import(*, star_import: StarImport) -> bool:
    """Forget an import that was checked and not started; False if it was."""
    deleted, _ = StarImport.objects.filter(
        pk=star_import.pk, state=StarImportState.CHECKED
    ).delete()
    return deleted > 0


def anything_to_import() -> bool:
    """Say whether an import is not at its end."""
    return StarImport.objects.filter(state=StarImportState.RUNNING).exists()


def run_star_imports() -> None:
    """Take over what was started; what is not done within the time waits for the next call."""
    until = time.monotonic() + _RUN_S
    running = StarImport.objects.filter(state=StarImportState.RUNNING).order_by("pk")
    for pk in list(running.values_list("pk", flat=True)):
        try:
            _run(pk, until)
        except Exception:
            # The next call does its slice again; the other imports do not wait for it.
            log.exception("star_import_interrupted", star_import=pk)


# --- Checking ----------------------------------------------------------------------------------
_Checked = tuple[StarLine | Refusal, int | None, dict[str, object], str]


def _check(
    project: Project, slice: list[StarLine | Refusal], seen: dict[int, int]
) -> Iterator[_Checked]:
    """Yield each line with the answer that it names and what it says, or with what is wrong."""
    answers = NamedAnswers.find(project, [one for one in slice if isinstance(one, StarLine)])
    for one in slice:
        if isinstance(one, Refusal):
            yield one, None, {}, one.message
            continue
        response_id, problem = answers.of(one)
        if response_id is None:
            yield one, None, {}, problem
            continue
        try:
            fields = check_fields(cast(GoldFields, dict(one.fields)))
        except InvalidGold as error:
            yield one, None, {}, f"{error.field}: {error}."
            continue
        if "quality_score" not in fields and response_id not in answers.stars:
            words = "quality_score: it is missing, and the answer is no gold star yet."
            yield one, None, {}, words
        elif (first := seen.setdefault(response_id, one.line)) != one.line:
            yield one, None, {}, f"Line {first:,} is of the same answer."
        else:
            yield one, response_id, fields, ""


def _line(
    made: StarImport,
    one: StarLine | Refusal,
    response_id: int | None,
    fields: dict[str, object],
    problem: str,
) -> StarImportLine:
    named = one.named if isinstance(one, Refusal) else one.custom_id or one.response_id
    return StarImportLine(
        star_import=made,
        line=one.line,
        named=storable_text(named, limit=_NAMED_MAX),
        response_id=response_id,
        fields=fields,
        problem=storable_text(problem),
    )


def _count_known(response_ids: Iterable[int | None]) -> int:
    wanted = [one for one in response_ids if one is not None]
    return GoldStar.objects.filter(response_id__in=wanted, removed_at__isnull=True).count()


# --- Taking over -------------------------------------------------------------------------------
def _run(pk: int, until: float) -> bool:
    """Take over slice by slice until it is done, or the time is; return whether it is done."""
    while True:
        with transaction.atomic():
            # Who holds the row does the work; whoever dies gives it back with nothing half done.
            held = (
                StarImport.objects.select_for_update(skip_locked=True, of=("self",))
                .filter(pk=pk, state=StarImportState.RUNNING)
                .first()
            )
            if held is None:
                return not StarImport.objects.filter(pk=pk, state=StarImportState.RUNNING).exists()
            left = _take_slice(held)
            if not left:
                held.state, held.ended_at = StarImportState.DONE, Now()
            held.save()
        if not left:
            log.info("star_import_done", star_import=held.public_id, stars=held.done)
            return True
        if time.monotonic() > until:
            return False


def _take_slice(held: StarImport) -> bool:
    """Take over the next lines, as who sent the file; return whether there may be more."""
    lines = list(
        StarImportLine.objects.filter(star_import=held, problem="").order_by("response_id")[
            :_TAKEN_AT_ONCE
        ]
    )
    wanted = [line.response_id for line in lines if line.response_id is not None]
    responses = BatchResponse.objects.in_bulk(wanted)
    before: dict[int, int] = dict(
        GoldStar.objects.filter(response_id__in=wanted, removed_at__isnull=True).values_list(
            "response_id", "revision"
        )
    )
    with acting(lambda: Actor(held.created_by_name, held.created_by_id)):
        for line in lines:
            _take(held, line, responses.get(line.response_id or 0), before)
    StarImportLine.objects.filter(pk__in=[one.pk for one in lines], problem="").delete()
    return len(lines) == _TAKEN_AT_ONCE


def _take(
    held: StarImport,
    line: StarImportLine,
    response: BatchResponse | None,
    before: dict[int, int],
) -> None:
    try:
        if response is None:
            raise CannotStar("The batch of this answer was deleted.")
        star = star_response(response=response, deed=held.deed, **line.fields)
    except (CannotStar, InvalidGold) as error:
        held.refused += 1
        line.problem, line.response_id, line.fields = storable_text(str(error)), None, {}
        line.save()
        return
    revision = before.get(response.pk)
    held.starred += revision is None
    held.changed += revision is not None and revision != star.revision
    held.same += revision == star.revision


__all__ = [
    "BYTES_MAX",
    "ROWS_MAX",
    "NothingToImport",
    "UnreadableStars",
    "anything_to_import",
    "create_star_import",
    "discard_star_import",
    "run_star_imports",
    "start_star_import",
]
