"""Why a batch is not moving, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models import Batch, Chunk, Lane, LaneModel, ServedModel, Worker
from jobs.services.fleet import alive_since, any_worker_alive
from jobs.states import BatchState, ChunkState, EngineState, LaneKind

_PAUSED = "somebody to resume it: the batch is paused"


def waiting_for(batch: Batch) -> str | None:
    """Return what a live batch waits for; None while it moves, or has ended."""
    return waiting_for_each([batch]).get(batch.pk)


def waiting_for_each(batches: Sequence[Batch]) -> dict[int, str]:
    """Return by id what each of these batches waits for; those that move or ended are left out.

    Their number does not change the number of queries, if their models were selected with them.
    """
    live = [b for b in batches if b.state in (BatchState.VALIDATING, BatchState.IN_PROGRESS)]
    # First of all, since neither a worker nor a model would change it.
    reasons = {batch.pk: _PAUSED for batch in live if _is_held_back(batch)}
    live = [batch for batch in live if batch.pk not in reasons]
    if not live:
        return reasons
    if not any_worker_alive():
        return {**reasons, **dict.fromkeys((batch.pk for batch in live), _no_worker())}
    stalled = []
    for batch in live:
        reason = _reason_of_its_own(batch)
        if reason is not None:
            reasons[batch.pk] = reason
        else:
            stalled.append(batch)
    moving = _worked_on(stalled)
    stalled = [batch for batch in stalled if batch.pk not in moving]
    fleet = _Fleet.read(stalled) if stalled else None
    queued = []
    for batch in stalled:
        assert fleet is not None and batch.model is not None
        reason = _lane_reason(batch.model, fleet)
        if reason is not None:
            reasons[batch.pk] = reason
        else:
            queued.append(batch)
    return {**reasons, **_turns(queued)}


def _is_held_back(batch: Batch) -> bool:
    return batch.state == BatchState.IN_PROGRESS and batch.paused_at is not None


def _reason_of_its_own(batch: Batch) -> str | None:
    if batch.state == BatchState.VALIDATING:
        error = batch.validation_error
        return f"validation failed and is tried again: {error}" if error else "validation"
    if batch.model is None:
        return f"the model '{batch.model_name}', which has been removed"
    if not batch.model.enabled:
        return f"the model '{batch.model_name}', which is switched off"
    return None


def _no_worker() -> str:
    last = Worker.objects.order_by("-heartbeat_at").values_list("heartbeat_at", flat=True).first()
    if last is None:
        return "a worker: none has ever run; start one with `manage.py runworker`"
    return (
        f"a worker: none since {last.isoformat(timespec='seconds')}; "
        "start one with `manage.py runworker`"
    )


def _worked_on(batches: Sequence[Batch]) -> set[int]:
    """Return the ids of those batches of which a lane holds a chunk."""
    if not batches:
        return set()
    claimed = Chunk.objects.filter(
        batch__in=[batch.pk for batch in batches],
        state=ChunkState.CLAIMED,
        # By the clock that wrote it, which may not be this host's.
        lease_until__gt=Now(),
    )
    return set(claimed.values_list("batch_id", flat=True).distinct())


@dataclass(frozen=True)
class _Fleet:
    """The lanes of workers that are alive, and the models that failed to load on them."""

    lanes: list[Lane]
    failures: list[LaneModel]

    @classmethod
    def read(cls, batches: Sequence[Batch]) -> _Fleet:
        lanes = list(
            Lane.objects.filter(
                active=True, worker__heartbeat_at__gte=alive_since(), worker__stopped_at=None
            ).select_related("engine_model", "worker")
        )
        failures = LaneModel.objects.filter(
            model__in={batch.model_id for batch in batches}, lane__in=lanes, failures__gt=0
        )
        return cls(lanes, list(failures))


def _lane_reason(model: ServedModel, fleet: _Fleet) -> str | None:
    found = [lane for lane in fleet.lanes if (lane.kind == LaneKind.UPSTREAM) == model.is_upstream]
    if not found:
        return f"a lane that can serve '{model.name}'; no worker that is alive has one"
    ids = {lane.pk for lane in found}
    failures = {
        known.lane_id: known
        for known in fleet.failures
        if known.model_id == model.pk and known.lane_id in ids
    }
    for lane in found:
        if lane.engine_model_id == model.pk and lane.engine_state == EngineState.STARTING:
            past = failures.get(lane.pk)
            again = f" (the last try failed: {past.last_error})" if past else ""
            return f"the engine on {lane} to start: {lane.engine_progress}{again}"
    for lane in found:
        if lane.wanted_model_id == model.pk and lane.start_held_back:
            return lane.start_held_back
    if failures and len(failures) == len(found):
        first = min(failures.values(), key=lambda known: known.retry_at or timezone.now())
        when = first.retry_at.isoformat(timespec="seconds") if first.retry_at else "soon"
        whom = (
            f"the upstream server {model.upstream_url}, which is away"
            if model.is_upstream
            else ("the engine, which could not start")
        )
        return f"{whom}: {first.last_error}; next try at {when}"
    busy = [
        lane
        for lane in found
        if lane.engine_model_id not in (None, model.pk) and lane.engine_state != EngineState.STOPPED
    ]
    if busy and len(busy) == len(found):
        names = ", ".join(sorted({str(lane.engine_model) for lane in busy}))
        return f"a lane: all work for other models ({names})"
    return None


# One pass over a model's batches in the order in which they are claimed, so that neither the
# number of queries nor the work for a page grows with the batches that it shows.
_BEFORE = """
SELECT * FROM (
    SELECT id, count(*) OVER earlier, coalesce(sum(total - completed - failed) OVER earlier, 0)
    FROM jobs_batch
    WHERE state = 'in_progress' AND model_id = ANY(%s) AND paused_at IS NULL
      AND expires_at > clock_timestamp()
    WINDOW earlier AS (
        PARTITION BY model_id ORDER BY priority DESC, id
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) AS queue
WHERE id = ANY(%s)
"""


def _turns(batches: Sequence[Batch]) -> dict[int, str]:
    """Return by id which batches of the same model come before each of these."""
    reasons = dict.fromkeys((batch.pk for batch in batches), "a lane to take it up")
    if not batches:
        return reasons
    names = {batch.pk: str(batch.model) for batch in batches}
    models = sorted({batch.model_id for batch in batches if batch.model_id is not None})
    with connection.cursor() as cursor:
        cursor.execute(_BEFORE, [models, list(names)])
        for batch_id, count, left in cursor.fetchall():
            if count:
                reasons[batch_id] = (
                    f"{count:,} {'batch' if count == 1 else 'batches'} of '{names[batch_id]}' "
                    f"before it, with {left:,} {'line' if left == 1 else 'lines'} left"
                )
    return reasons
