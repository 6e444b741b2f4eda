"""Pinning the run that later ones are held against."""

from __future__ import annotations

from django.db import transaction

from benchmarks.models import Baseline, Run, RunKind, RunState
from jobs.services.audit import current_actor, note_deed


class CannotPin(Exception):
    """This run can be no baseline; the message says why."""


def pin_baseline(*, run: Run) -> Baseline:
    """Hold later runs of this workload and model against this run; raises CannotPin."""
    if run.state != RunState.COMPLETED or run.kind == RunKind.IMPORTED or run.workload is None:
        raise CannotPin("Only a completed run that was measured here can be a baseline.")
    with transaction.atomic():
        pinned, _ = Baseline.objects.update_or_create(
            project=run.project,
            workload=run.workload,
            model_name=run.model_name,
            defaults={"run": run, "pinned_by_name": current_actor().words[:200]},
        )
        note_deed(action="benchmark.pin", target=run.public_id, project=run.project)
    return pinned


def unpin_baseline(*, run: Run) -> bool:
    """Take the run away as a baseline; False if it was none."""
    with transaction.atomic():
        deleted, _ = Baseline.objects.filter(run=run).delete()
        if deleted:
            note_deed(action="benchmark.unpin", target=run.public_id, project=run.project)
    return deleted > 0


def baseline_of(run: Run) -> Run | None:
    """Return the run that is pinned for the workload and model of this one, if any."""
    found = (
        Baseline.objects.filter(
            project=run.project_id, workload=run.workload_id, model_name=run.model_name
        )
        .select_related("run__workload")
        .first()
    )
    return found.run if found is not None else None
