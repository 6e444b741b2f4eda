"""Moving a batch from one state to the next."""

from __future__ import annotations

from typing import Any

import structlog
from django.db import connection
from django.db.models.functions import Now

from jobs.models import Batch, BatchEvent
from jobs.services.webhooks import ring
from jobs.states import ENDED_STATES, ENTERED_AT_FIELD, NEXT_STATES, PAUSABLE_STATES, BatchState

log = structlog.get_logger()

# What `BatchEvent.reason` holds; the rest of a longer one is cut off.
REASON_MAX = 500


def move_batch(
    *, batch: Batch, old: BatchState, new: BatchState, reason: str = "", **fields: Any
) -> bool:
    """Move a batch from `old` to `new` and write the event; False if it was not in `old`.

    A compare-and-swap: of two callers only one wins, and only the winner's effects happen. To
    be called in a transaction, so that state, event and `fields` stand or fall together. The
    object `batch` is left as it was read.
    """
    if new not in NEXT_STATES[old]:
        raise ValueError(f"A batch cannot go from {old} to {new}.")
    if not connection.in_atomic_block:
        raise RuntimeError("move_batch must be called in a transaction.")
    fields[ENTERED_AT_FIELD[new]] = Now()
    if new in ENDED_STATES:
        fields["ended_at"] = Now()
    if new not in PAUSABLE_STATES:
        fields["paused_at"] = None
    if not Batch.objects.filter(pk=batch.pk, state=old).update(state=new, **fields):
        return False
    BatchEvent.objects.create(
        batch=batch,
        old_state=old,
        new_state=new,
        reason=reason[:REASON_MAX],
        created_at=Now(),
    )
    if new in ENDED_STATES:
        ring()
    log.info("batch_moved", batch=batch.public_id, old=str(old), new=str(new), reason=reason[:200])
    return True
