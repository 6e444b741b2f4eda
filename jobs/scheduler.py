"""Which model a lane should work for next."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Exists, Max, Min, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models import Batch, Chunk, Lane, LaneModel, ServedModel
from jobs.services.fleet import alive_since
from jobs.states import BatchState, ChunkState, EngineState, LaneKind

# Another model's batch never waits longer for a switch than the larger of the two.
SWITCH_AFTER_S = 600.0
SWITCH_AFTER_LOADS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model with lines to claim; `waiting_since` is when its oldest such batch could start."""

    model_id: int
    priority: int
    waiting_since: datetime
    load_s: float
    # Another lane has it loaded already, so that its batches move without this one.
    served_elsewhere: bool


def choose(
    candidates: list[Candidate],
    *,
    loaded_model_id: int | None,
    now: datetime,
    loaded_at: datetime | None = None,
) -> int | None:
    """Return the id of the model to work for, or None where nothing is to be done.

    The loaded model goes on as long as it has work, unless another model's batch has waited
    too long for a switch. Among the others: first those that no lane serves, then by priority,
    then by age.
    """
    loaded = next((c for c in candidates if c.model_id == loaded_model_id), None)
    others = sorted(
        (c for c in candidates if c.model_id != loaded_model_id),
        key=lambda c: (c.served_elsewhere, -c.priority, c.waiting_since),
    )
    if loaded is None:
        return others[0].model_id if others else None
    for other in sorted(others, key=lambda c: c.waiting_since):
        # Counted from the last switch at the earliest: else two models whose batches are both
        # old would take the lane from each other after every load.
        waiting_since = max(other.waiting_since, loaded_at or other.waiting_since)
        patience_s = max(SWITCH_AFTER_S, SWITCH_AFTER_LOADS * other.load_s)
        if not other.served_elsewhere and now - waiting_since > timedelta(seconds=patience_s):
            return other.model_id
    return loaded.model_id


def claimable_models(lane: Lane) -> list[Candidate]:
    """Return the models for which this lane could claim a chunk now."""
    now = timezone.now()
    due = Chunk.objects.filter(
        # Leases are by the database's clock, as in the claim itself.
        Q(state=ChunkState.OPEN) | Q(state=ChunkState.CLAIMED, lease_until__lt=Now()),
        batch=OuterRef("pk"),
    )
    batches = Batch.objects.filter(
        Exists(due),
        state=BatchState.IN_PROGRESS,
        paused_at=None,
        expires_at__gt=Now(),
        model__enabled=True,
    )
    upstream = ~Q(model__upstream_url="")
    batches = batches.filter(upstream if lane.kind == LaneKind.UPSTREAM else ~upstream)
    known = {k.model_id: k for k in LaneModel.objects.filter(lane=lane)}
    elsewhere = set(
        Lane.objects.filter(
            active=True,
            worker__heartbeat_at__gte=alive_since(),
            engine_state__in=(EngineState.STARTING, EngineState.READY),
        )
        .exclude(pk=lane.pk)
        .values_list("engine_model_id", flat=True)
    )
    found = []
    for row in batches.values("model_id").annotate(
        since=Min("in_progress_at"), urgency=Max("priority")
    ):
        model_id = row["model_id"]
        withheld = known.get(model_id)
        if withheld and withheld.retry_at and withheld.retry_at > now:
            continue
        found.append(
            Candidate(
                model_id=model_id,
                priority=row["urgency"],
                waiting_since=row["since"],
                load_s=(withheld.load_s if withheld else None) or 0.0,
                served_elsewhere=model_id in elsewhere,
            )
        )
    return found


def next_model(lane: Lane) -> ServedModel | None:
    """Return the model that the lane should work for now, None where nothing is due."""
    loaded = lane.engine_model_id if lane.engine_state == EngineState.READY else None
    chosen = choose(
        claimable_models(lane),
        loaded_model_id=loaded,
        now=timezone.now(),
        loaded_at=lane.engine_ready_at,
    )
    return ServedModel.objects.get(pk=chosen) if chosen is not None else None
