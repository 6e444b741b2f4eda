"""The states of a batch and of a chunk, and which may follow which."""

from __future__ import annotations

from django.db import models


class BatchState(models.TextChoices):
    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


S = BatchState

# The published machine: see the contract of `GET /v1/batches/{id}`.
NEXT_STATES: dict[BatchState, frozenset[BatchState]] = {
    S.VALIDATING: frozenset({S.FAILED, S.IN_PROGRESS, S.CANCELLING}),
    S.IN_PROGRESS: frozenset({S.FINALIZING, S.EXPIRED, S.CANCELLING}),
    S.FINALIZING: frozenset({S.COMPLETED, S.CANCELLING}),
    S.CANCELLING: frozenset({S.CANCELLED}),
    S.FAILED: frozenset(),
    S.COMPLETED: frozenset(),
    S.EXPIRED: frozenset(),
    S.CANCELLED: frozenset(),
}

LIVE_STATES = tuple(state for state, following in NEXT_STATES.items() if following)
ENDED_STATES = tuple(state for state, following in NEXT_STATES.items() if not following)
CANCELLABLE_STATES = tuple(s for s, following in NEXT_STATES.items() if S.CANCELLING in following)
PAUSABLE_STATES = (S.VALIDATING, S.IN_PROGRESS)

# The column of the batch that says when it entered the state.
ENTERED_AT_FIELD: dict[BatchState, str] = {
    S.FAILED: "failed_at",
    S.IN_PROGRESS: "in_progress_at",
    S.FINALIZING: "finalizing_at",
    S.COMPLETED: "completed_at",
    S.EXPIRED: "expired_at",
    S.CANCELLING: "cancelling_at",
    S.CANCELLED: "cancelled_at",
}


class ChunkState(models.TextChoices):
    OPEN = "open"
    CLAIMED = "claimed"
    DONE = "done"


class RequestOrder(models.TextChoices):
    """In which order the lines of a batch run; results stand in input order either way.

    `auto` lets lines that begin alike follow each other where that spares the engine work.
    """

    AUTO = "auto"
    FILE = "file"


class EventKind(models.TextChoices):
    """What an event of a batch tells: a change of state, or a pause, which is none."""

    MOVED = "moved"
    PAUSED = "paused"
    RESUMED = "resumed"


class DeliveryState(models.TextChoices):
    """How far the delivery of a webhook is; a dead one is tried again only by hand."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


class UploadState(models.TextChoices):
    """An upload in parts; expired ones are told by their time and swept."""

    PENDING = "pending"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class EngineState(models.TextChoices):
    """What the engine of a lane is doing."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    # It ended by itself while it was wanted; the lane has not yet taken note.
    DIED = "died"


class LaneKind(models.TextChoices):
    GPU = "gpu"
    CPU = "cpu"
    UPSTREAM = "upstream"
