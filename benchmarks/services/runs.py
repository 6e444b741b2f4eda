"""Runs: made, taken from one batch to the next, and ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import structlog
from django.db import DatabaseError, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django_q.tasks import async_task

from benchmarks.at_work import part_at_work
from benchmarks.cost import costs
from benchmarks.measured import fingerprint_of, measure_batch
from benchmarks.models import Run, RunKind, RunPart, RunState, Workload
from benchmarks.models.runs import LIVE
from benchmarks.services.judging import judge_of, read_judgements, start_judging
from benchmarks.services.scoring import check_checks, score_run
from benchmarks.services.workloads import InvalidWorkload, create_input, shipped_checks
from benchmarks.summary import medians
from jobs.models import Batch, Project
from jobs.services.audit import current_actor, note_deed
from jobs.services.batches import BatchOrder, CannotCancel, cancel_batch, create_batch
from jobs.services.files import delete_file
from jobs.services.limits import LimitReached
from jobs.services.served_models import find_model
from jobs.states import BatchState
from monitoring.models import LaneUse

log = structlog.get_logger()

CONTROL = "control"
REPEATS_MAX = 50
# Lines of the batch that warms an engine up.
WARM_UP_LINES = 8
# The lanes are read again within seconds of the end; longer it is not waited for.
MEASURED_AFTER = timedelta(seconds=45)
# Endpoints whose requests take a salt that keeps repeats out of each other's prefix cache.
_SALTED = ("/v1/chat/completions", "/v1/completions")


class CannotRun(Exception):
    """A run cannot be made like that; the message says why, and what to do.

    `param` is what of `create_run` is to be another.
    """

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


class _Cancelled(Exception):
    """The run was cancelled while its next batch was being made."""


def create_run(
    *,
    project: Project,
    workload: Workload,
    model_name: str,
    repeats: int = 1,
    checks: Sequence[Mapping[str, Any]] = (),
    price_per_gpu_hour: Decimal | None = None,
    note: str = "",
) -> Run:
    """Make a run and ring for it; raises CannotRun.

    Without `checks` the answers are checked for what the workload asks of them, if anything.
    """
    model = find_model(model_name)
    if model is None:
        raise CannotRun(
            f"The model '{model_name[:100]}' is not served. `manage.py listmodels` lists those "
            "that are.",
            "model",
        )
    if not 1 <= repeats <= REPEATS_MAX:
        raise CannotRun(f"A run has 1 to {REPEATS_MAX} repeats.", "repeats")
    if price_per_gpu_hour is not None and not 0 <= price_per_gpu_hour < 10**6:
        raise CannotRun(
            "The price of a GPU hour is a number from 0 to a million.", "price_per_gpu_hour"
        )
    problem = check_checks(checks)
    if problem:
        raise CannotRun(problem, "checks")
    with transaction.atomic():
        run = Run.objects.create(
            project=project,
            workload=workload,
            model_name=model_name,
            model=model,
            repeats=repeats,
            checks=[dict(check) for check in checks or shipped_checks(workload)],
            price_per_gpu_hour=price_per_gpu_hour,
            note=note[:500],
            created_by_name=current_actor().words[:200],
        )
        RunPart.objects.bulk_create(
            [RunPart(run=run, repeat=repeat) for repeat in range(repeats + 1)]
        )
        note_deed(
            action="benchmark.create",
            target=run.public_id,
            project=project,
            workload=workload.title,
            model=model_name,
            repeats=repeats,
        )
        transaction.on_commit(lambda: async_task("benchmarks.tasks.go_on", cluster=CONTROL))
    return run


def cancel_run(*, run: Run) -> bool:
    """End a run, and the batch that it waits for; False if it has ended already."""
    with transaction.atomic():
        if not _end(run, RunState.CANCELLED):
            return False
        note_deed(action="benchmark.cancel", target=run.public_id, project_id=run.project_id)
    parts = run.parts.filter(batch__isnull=False, measured_at=None).select_related("batch")
    for batch in [*(part.batch for part in parts), run.judge_batch]:
        if batch is not None and batch.is_live:
            try:
                cancel_batch(batch=batch, reason=f"the run {run.public_id} was cancelled")
            except CannotCancel:
                log.info("run_batch_had_ended", run=run.public_id, batch=batch.public_id)
    return True


def anything_to_do() -> bool:
    """Say whether a run waits for something that has come: one is at work at a time."""
    run = Run.objects.filter(state__in=LIVE, kind=RunKind.MEASURED).order_by("pk").first()
    if run is None or run.state == RunState.QUEUED:
        return run is not None
    if run.state == RunState.SCORING:
        return run.judge_batch is None or not run.judge_batch.is_live
    part = part_at_work(run)
    return part is None or part.batch is None or not part.batch.is_live


def go_on() -> None:
    """Take the oldest live run as far as it goes; safe to call twice, at once, or too early.

    One run is at work at a time, so that none is measured beside another. Each step is a
    compare-and-swap, or a batch that is made once: of two callers one finds it done.
    """
    while True:
        live = Run.objects.filter(state__in=LIVE, kind=RunKind.MEASURED)
        run = live.select_related("workload__project", "project", "model").order_by("pk").first()
        if run is None:
            return
        Run.objects.filter(pk=run.pk, state=RunState.QUEUED).update(
            state=RunState.RUNNING, started_at=Now()
        )
        try:
            if not _step(run):
                return
        except (InvalidWorkload, LimitReached) as error:
            fail_run(run=run, error=str(error))
        except DatabaseError:
            # It may be away for a moment; the next call tries again.
            raise
        except Exception as error:
            log.exception("run_failed", run=run.public_id)
            fail_run(run=run, error=f"{type(error).__name__}: {error}")


def fail_run(*, run: Run, error: str) -> bool:
    """End a run that cannot go on; False if it has ended already."""
    log.warning("run_failed", run=run.public_id, error=error[:200])
    return _end(run, RunState.FAILED, error=error[:1_000])


def _step(run: Run) -> bool:
    """Do the next thing for a run; False where it waits for its batch."""
    part = part_at_work(run)
    if part is None:
        return _conclude(run)
    if part.batch is None and part.batch_public_id:
        fail_run(run=run, error=f"The batch {part.batch_public_id} was deleted.")
        return True
    if part.batch is None:
        _start(run, part)
        return False
    return _measure(run, part, part.batch)


def _start(run: Run, part: RunPart) -> None:
    """Make the batch of a part: the same one, however often this is tried."""
    assert run.workload is not None  # By the constraint on runs that are measured here.
    salted = (
        run.workload.endpoint in _SALTED and run.model is not None and not run.model.is_upstream
    )
    stored = create_input(
        workload=run.workload,
        model_name=run.model_name,
        salt=f"{run.public_id} {part.repeat}" if salted else "",
        repeat=part.repeat,
        requests=WARM_UP_LINES if part.repeat == 0 else None,
    )
    order = BatchOrder(
        endpoint=run.workload.endpoint,
        completion_window="24h",
        input_file_id=stored.public_id,
        metadata={"benchmark": run.public_id, "repeat": str(part.repeat)},
        reuse_answers=False,
    )
    try:
        with transaction.atomic():
            # Cancelled meanwhile it gets no batch any more.
            if not Run.objects.filter(pk=run.pk, state=RunState.RUNNING).exists():
                raise _Cancelled
            batch = create_batch(
                project=run.project,
                order=order,
                digest=f"{run.public_id} {part.repeat}".encode(),
                idempotency_key=f"{run.public_id}-{part.repeat}",
                reason=f"repeat {part.repeat} of {run.public_id}",
            )
            RunPart.objects.filter(pk=part.pk).update(batch=batch, batch_public_id=batch.public_id)
    except _Cancelled:
        delete_file(stored=stored)
        return
    except BaseException:
        delete_file(stored=stored)
        raise
    if batch.input_file_public_id != stored.public_id:
        delete_file(stored=stored)


def _measure(run: Run, part: RunPart, batch: Batch) -> bool:
    """Write down what was measured of a batch that has ended; False where it is to be waited."""
    if batch.is_live:
        return False
    if batch.state != BatchState.COMPLETED:
        fail_run(run=run, error=_why(batch))
        return True
    late = batch.ended_at is not None and timezone.now() - batch.ended_at > MEASURED_AFTER
    uses = LaneUse.objects.filter(batch=batch)
    if not late and (not uses.exists() or uses.filter(closed_at=None).exists()):
        return False
    if batch.total and not batch.completed:
        fail_run(run=run, error=_nothing_good(part, batch))
        return True
    figures = measure_batch(batch)
    figures |= costs(figures, run.price_per_gpu_hour)
    RunPart.objects.filter(pk=part.pk, measured_at=None).update(
        figures=figures, fingerprint=fingerprint_of(batch), measured_at=Now()
    )
    return True


def _conclude(run: Run) -> bool:
    """Sum the parts up and score the answers; False where a judge is at work on them."""
    parts = list(run.parts.exclude(repeat=0).order_by("repeat").select_related("batch"))
    figures = _summed_up(parts)
    if not figures:
        fail_run(
            run=run,
            error="In every repeat an engine was lost in the middle: what was measured says "
            "nothing of its speed. Its log, on Monitor, says why it ended.",
        )
        return True
    warm = run.parts.filter(repeat=0).first()
    load_s = ((warm.figures or {}).get("phases", {}).get("load_s") or 0) if warm else 0
    if load_s:
        figures["engine_start_s"] = load_s
    Run.objects.filter(pk=run.pk, state=RunState.RUNNING).update(
        figures=figures, fingerprint=parts[-1].fingerprint, state=RunState.SCORING
    )
    scored = Run.objects.select_related("project", "workload", "judge_batch").get(pk=run.pk)
    if scored.state != RunState.SCORING:
        return True
    answers, judged = parts[-1].batch, []
    if answers is not None and judge_of(scored) is not None:
        if not scored.judge_public_id:
            start_judging(run=scored, answers=answers)
            return False
        judgement = read_judgements(scored)
        if judgement is None:
            return False
        judged = [judgement]
    scores = score_run(scored, answers) + judged
    Run.objects.filter(pk=run.pk, state=RunState.SCORING).update(scores=scores)
    return _end(scored, RunState.COMPLETED)


def _summed_up(parts: Sequence[RunPart]) -> dict[str, Any]:
    """Return the medians of the repeats that ran through, and which did not, or not alone."""
    known = {part.repeat: part.figures for part in parts if part.figures is not None}
    figures = medians([one for one in known.values() if not one.get("interrupted")])
    if figures:
        for name in ("interrupted", "shared"):
            figures.pop(name, None)
            figures[f"{name}_repeats"] = [repeat for repeat, one in known.items() if one.get(name)]
    return figures


def _end(run: Run, state: RunState, **fields: Any) -> bool:
    return bool(
        Run.objects.filter(pk=run.pk, state__in=LIVE).update(state=state, ended_at=Now(), **fields)
    )


def _nothing_good(part: RunPart, batch: Batch) -> str:
    """Say of which repeat no answer was good, and what the first refusal said."""
    refusals = batch.responses.filter(ok=False).order_by("seq")
    said = refusals.values_list("error_message", flat=True).first() or "no reason is known"
    which = f"repeat {part.repeat}" if part.repeat else "the warm-up"
    return f"No request of {which} had a good answer. The first refusal: {said[:500]}"


def _why(batch: Batch) -> str:
    first = batch.findings[0]["message"] if batch.findings else ""
    return f"The batch {batch.public_id} is {batch.state}. {first}".strip()
