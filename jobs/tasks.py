"""What django-q2 runs: each task may come late, twice or never, and changes nothing by that."""

from __future__ import annotations

from jobs.models import Batch
from jobs.services import batches, files, retention, validation

# Short, so that the validation of a batch does not wait for long.
SWEEP_REMAINS_S = 10.0


def validate(batch_id: int) -> None:
    """Validate a batch; an unexpected error is shown on it, and the sweep tries again."""
    try:
        validation.validate_batch(batch_id=batch_id)
    except Exception as error:
        Batch.objects.filter(pk=batch_id).update(
            validation_error=f"{type(error).__name__}: {error}"
        )
        raise
    files.drop_deleted_input(batch_id=batch_id)


def sweep() -> None:
    """Settle what was cancelled a while ago, and what has expired."""
    for batch_id in batches.overdue_batches():
        batches.settle_batch(batch_id=batch_id)


def sweep_remains() -> None:
    """Remove some of what was deleted, has expired, or was kept for long enough."""
    retention.sweep(within_s=SWEEP_REMAINS_S)


def deliver_webhooks() -> None:
    """Tell receivers of batches that have ended."""
    from jobs.webhooks import deliver_due

    deliver_due()


def run_lane(lane_id: int) -> None:
    """Work for a lane until nothing is due for it or its worker is to stop."""
    from jobs.lane import work

    work(lane_id)
