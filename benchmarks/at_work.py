"""What a live run is at, and what it waits for."""

from __future__ import annotations

from benchmarks.models import Run, RunKind, RunPart, RunState
from benchmarks.models.runs import LIVE
from jobs.services.fleet import any_worker_alive
from jobs.services.waiting import waiting_for


def part_at_work(run: Run) -> RunPart | None:
    """Return the first part that is not measured yet, with its batch if that is made."""
    parts = run.parts.filter(measured_at=None).select_related("batch__model")
    return parts.order_by("repeat").first()


def waits_for(run: Run, part: RunPart | None) -> str | None:
    """Return in words what a live run waits for; None while it moves, or has ended.

    `part` is the one that is at work.
    """
    if not run.is_live:
        return None
    batch = run.judge_batch if run.state == RunState.SCORING else part.batch if part else None
    if batch is not None:
        return waiting_for(batch)
    # A worker takes runs from one batch to the next.
    if not any_worker_alive():
        return "a worker: none is alive; start one with `manage.py runworker`"
    earlier = Run.objects.filter(state__in=LIVE, kind=RunKind.MEASURED, pk__lt=run.pk)
    if run.state == RunState.QUEUED and earlier.exists():
        return "the runs before it: one is at work at a time"
    return None
