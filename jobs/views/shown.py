"""How the state of a batch is shown: a badge, and what it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jobs.models import Batch
from jobs.services.lanes import loading_models
from jobs.services.waiting import waiting_for_each
from jobs.states import CANCELLABLE_STATES, PAUSABLE_STATES, BatchState


class Badge(NamedTuple):
    """Icon, word and colour of a state, always the three together."""

    word: str
    icon: str
    colour: str
    turns: bool = False


QUEUED = Badge("queued", "hourglass", "secondary")
VALIDATING = Badge("validating", "file-search", "azure")
LOADING = Badge("loading model", "cpu", "purple")
RUNNING = Badge("running", "loader-2", "blue", turns=True)
PAUSED = Badge("paused", "player-pause", "yellow")
FINALISING = Badge("finalising", "flag-check", "cyan")
DONE = Badge("done", "circle-check", "green")
DONE_WITH_ERRORS = Badge("done with errors", "alert-triangle", "orange")
FAILED = Badge("failed", "circle-x", "red")
CANCELLING = Badge("cancelling", "ban", "secondary")
CANCELLED = Badge("cancelled", "ban", "secondary")
EXPIRED = Badge("expired", "hourglass-off", "orange")

_PLAIN = {
    BatchState.VALIDATING: VALIDATING,
    BatchState.FINALIZING: FINALISING,
    BatchState.FAILED: FAILED,
    BatchState.CANCELLING: CANCELLING,
    BatchState.CANCELLED: CANCELLED,
    BatchState.EXPIRED: EXPIRED,
}


class Shown(NamedTuple):
    """What a page says of a batch beyond its columns."""

    badge: Badge
    waiting: str | None


class Deeds(NamedTuple):
    """What a person may do to a batch as it is now."""

    cancel: bool
    pause: bool
    resume: bool
    retry: bool
    delete: bool


def deeds_for(batch: Batch, *, may_change: bool) -> Deeds:
    pausable = may_change and batch.state in PAUSABLE_STATES
    return Deeds(
        cancel=may_change and batch.state in CANCELLABLE_STATES,
        pause=pausable and batch.paused_at is None,
        resume=pausable and batch.paused_at is not None,
        retry=may_change and not batch.is_live and batch.completed < batch.total,
        delete=may_change and not batch.is_live,
    )


# The columns that `show_batches` reads, for pages that ask again and again.
NEEDED = (
    *("public_id", "state", "model_name", "failed", "paused_at", "validation_error"),
    *("model__name", "model__enabled", "model__upstream_url"),
)


def show_batches(batches: Sequence[Batch]) -> dict[int, Shown]:
    """Return what to show of each batch, by its primary key.

    The number of queries does not grow with the number of batches.
    """
    waiting = waiting_for_each(batches)
    loading = loading_models() if waiting else set()
    return {
        batch.pk: Shown(
            _badge(batch, waits=batch.pk in waiting, loads=batch.model_id in loading),
            waiting.get(batch.pk),
        )
        for batch in batches
    }


def _badge(batch: Batch, *, waits: bool, loads: bool) -> Badge:
    if batch.state == BatchState.COMPLETED:
        return DONE_WITH_ERRORS if batch.failed else DONE
    if batch.state == BatchState.IN_PROGRESS:
        if batch.paused_at is not None:
            return PAUSED
        if not waits:
            return RUNNING
        return LOADING if loads else QUEUED
    return _PLAIN[BatchState(batch.state)]
