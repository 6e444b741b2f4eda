"""Why a batch is not moving, in words."""

from __future__ import annotations

from django.utils import timezone

from jobs.models import Batch, Chunk, Lane, LaneModel, Worker
from jobs.services.fleet import alive_since, any_worker_alive
from jobs.states import BatchState, ChunkState, EngineState, LaneKind


def waiting_for(batch: Batch) -> str | None:
    """Return what a live batch waits for; None while it moves, or has ended."""
    if batch.state not in (BatchState.VALIDATING, BatchState.IN_PROGRESS):
        return None
    if not any_worker_alive():
        return _no_worker()
    if batch.state == BatchState.VALIDATING:
        error = batch.validation_error
        return f"validation failed and is tried again: {error}" if error else "validation"
    if batch.paused_at is not None:
        return "resume: the batch is paused"
    if batch.model is None:
        return f"the model '{batch.model_name}', which has been removed"
    if not batch.model.enabled:
        return f"the model '{batch.model_name}', which is switched off"
    if _is_worked_on(batch):
        return None
    return _lane_reason(batch)


def _no_worker() -> str:
    last = Worker.objects.order_by("-heartbeat_at").values_list("heartbeat_at", flat=True).first()
    if last is None:
        return "a worker: none has ever run; start one with `manage.py runworker`"
    return (
        f"a worker: none since {last.isoformat(timespec='seconds')}; "
        "start one with `manage.py runworker`"
    )


def _is_worked_on(batch: Batch) -> bool:
    return Chunk.objects.filter(
        batch=batch, state=ChunkState.CLAIMED, lease_until__gt=timezone.now()
    ).exists()


def _lane_reason(batch: Batch) -> str:
    model = batch.model
    assert model is not None
    lanes = Lane.objects.filter(
        active=True, worker__heartbeat_at__gte=alive_since(), worker__stopped_at=None
    ).select_related("engine_model", "worker")
    if model.is_upstream:
        lanes = lanes.filter(kind=LaneKind.UPSTREAM)
    else:
        lanes = lanes.exclude(kind=LaneKind.UPSTREAM)
    found = list(lanes)
    if not found:
        return f"a lane that can serve '{model.name}'; no worker that is alive has one"
    failures = {
        known.lane_id: known
        for known in LaneModel.objects.filter(model=model, lane__in=found, failures__gt=0)
    }
    for lane in found:
        if lane.engine_model_id == model.pk and lane.engine_state == EngineState.STARTING:
            past = failures.get(lane.pk)
            again = f" (the last try failed: {past.last_error})" if past else ""
            return f"the engine on {lane} to start: {lane.engine_progress}{again}"
    if failures and len(failures) == len(found):
        first = min(failures.values(), key=lambda known: known.retry_at or timezone.now())
        when = first.retry_at.isoformat(timespec="seconds") if first.retry_at else "soon"
        return f"the engine, which could not start: {first.last_error}; next try at {when}"
    busy = [
        lane
        for lane in found
        if lane.engine_model_id not in (None, model.pk) and lane.engine_state != EngineState.STOPPED
    ]
    if busy and len(busy) == len(found):
        names = ", ".join(sorted({str(lane.engine_model) for lane in busy}))
        return f"a lane: all work for other models ({names})"
    return "a lane to take it up"
