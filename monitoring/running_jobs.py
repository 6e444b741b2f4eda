"""The answer of `/api/running-jobs`: the batches that have not ended."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils import timezone

from jobs.models import Batch, Chunk, Project
from jobs.services.batches import overdue_batches, settle_batch
from jobs.states import LIVE_STATES, BatchState, ChunkState

_COLUMNS = (
    "public_id",
    "model_name",
    "state",
    "created_at",
    "total",
    "completed",
    "failed",
    "webhook_url",
    "priority",
)


def running_jobs(projects: QuerySet[Project]) -> dict[str, Any]:
    """Return the live batches of `projects`, oldest first.

    `running` is a batch whose lines a lane has claimed now, or that is being finished;
    `completed_requests` counts answered and failed ones.
    """
    for batch_id in overdue_batches():
        settle_batch(batch_id=batch_id)
    claimed = Chunk.objects.filter(
        batch=OuterRef("pk"), state=ChunkState.CLAIMED, lease_until__gt=timezone.now()
    )
    batches = (
        Batch.objects.filter(project__in=projects, state__in=LIVE_STATES)
        .annotate(is_claimed=Exists(claimed))
        .order_by("pk")
        # There may be thousands: rows as they are take a fraction of the time of whole models.
        .values(*_COLUMNS, "is_claimed", project_name=F("project__name"))
    )
    jobs = [_job(batch) for batch in batches]
    return {"count": len(jobs), "jobs": jobs}


def _job(batch: dict[str, Any]) -> dict[str, Any]:
    ending = batch["state"] in (BatchState.FINALIZING, BatchState.CANCELLING)
    answered, total = batch["completed"] + batch["failed"], batch["total"]
    return {
        "batch_id": batch["public_id"],
        "model": batch["model_name"] or None,
        "status": "running" if batch["is_claimed"] or ending else "pending",
        "created_at": batch["created_at"].isoformat(),
        "total_requests": total,
        "completed_requests": answered,
        "progress_percent": round(answered / total * 100, 1) if total else 0.0,
        "webhook_url": batch["webhook_url"] or None,
        "batch_status": batch["state"],
        "failed_requests": batch["failed"],
        "project": batch["project_name"],
        "priority": batch["priority"],
    }
