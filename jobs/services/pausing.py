"""Pausing batches and letting them go on."""

from __future__ import annotations

import structlog
from django.db import transaction
from django.db.models.functions import Now

from jobs.models import Batch, BatchEvent
from jobs.services.audit import note_deed
from jobs.services.lanes import kick_lanes
from jobs.services.transitions import REASON_MAX
from jobs.states import PAUSABLE_STATES, BatchState, EventKind

log = structlog.get_logger()


class CannotPause(Exception):
    """The batch has ended, or is being cancelled; `state` says which."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state


def pause_batch(*, batch: Batch, reason: str = "") -> bool:
    """Let no more lines of a batch be taken up; False if it was paused already.

    Its state stays and its time runs on. Lanes see it within a second, give its chunks back and
    break off what is in flight, which is computed again when the batch goes on. A batch that is
    being validated is validated, and then waits. Raises CannotPause.
    """
    return _set_paused(batch, EventKind.PAUSED, reason)


def resume_batch(*, batch: Batch, reason: str = "") -> bool:
    """Let a paused batch go on, and ring the lanes; False if it was not paused.

    Raises CannotPause.
    """
    return _set_paused(batch, EventKind.RESUMED, reason)


def _set_paused(batch: Batch, kind: EventKind, reason: str) -> bool:
    pausing = kind == EventKind.PAUSED
    wanted = Batch.objects.filter(pk=batch.pk, paused_at__isnull=pausing)
    changed = False
    # Validating first: a batch that moves on meanwhile is met again as one in progress.
    for state in PAUSABLE_STATES:
        with transaction.atomic():
            if wanted.filter(state=state).update(paused_at=Now() if pausing else None):
                _note(batch, state, kind, reason)
                changed = True
                break
    batch.refresh_from_db()
    if batch.state not in PAUSABLE_STATES:
        raise CannotPause(batch.state)
    return changed


def _note(batch: Batch, state: BatchState, kind: EventKind, reason: str) -> None:
    BatchEvent.objects.create(
        batch=batch,
        old_state=state,
        new_state=state,
        kind=kind,
        reason=reason[:REASON_MAX],
        created_at=Now(),
    )
    action = "batch.pause" if kind == EventKind.PAUSED else "batch.resume"
    note_deed(action=action, target=batch.public_id, project=batch.project)
    log.info(f"batch_{kind}", batch=batch.public_id, reason=reason[:200])
    model = batch.model
    if kind == EventKind.RESUMED and state == BatchState.IN_PROGRESS and model is not None:
        transaction.on_commit(lambda: kick_lanes(model))
