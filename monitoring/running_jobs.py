"""The answer of `/api/running-jobs`: the batches that have not ended."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from jobs.models import Batch, Chunk, Project
from jobs.services.batches import overdue_batches, settle_batch
from jobs.states import LIVE_STATES, BatchState, ChunkState


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
        .select_related("project")
        .defer("findings", "metadata")
        .order_by("pk")
    )
    jobs = [_job(batch, is_claimed=batch.is_claimed) for batch in batches]
    return {"count": len(jobs), "jobs": jobs}


def _job(batch: Batch, *, is_claimed: bool) -> dict[str, Any]:
    ending = batch.state in (BatchState.FINALIZING, BatchState.CANCELLING)
    return {
        "batch_id": batch.public_id,
        "model": batch.model_name or None,
        "status": "running" if is_claimed or ending else "pending",
        "created_at": batch.created_at.isoformat(),
        "total_requests": batch.total,
        "completed_requests": batch.answered,
        "progress_percent": round(batch.answered / batch.total * 100, 1) if batch.total else 0.0,
        "webhook_url": batch.webhook_url or None,
        "batch_status": batch.state,
        "failed_requests": batch.failed,
        "project": batch.project.name,
        "priority": batch.priority,
    }
