"""Which batches are to go, and up to when things are kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet

from jobs.models import Batch, Project
from jobs.states import ENDED_STATES


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What is looked at: all that is due at `now`, of one project or of everybody.

    `batch_days` takes the place of the setting; 0 is all that have ended.
    """

    now: datetime
    project: Project | None = None
    batch_days: int | None = None

    def before(self, days: int) -> datetime:
        return self.now - timedelta(days=days)

    def kept_until(self, days: int) -> datetime | None:
        """Return the moment before which things are too old; None if they are kept for ever."""
        return self.before(days) if days else None


def due_batches(scope: Scope) -> QuerySet[Batch]:
    """Return the batches whose rows are to go: deleted, or ended for longer than is asked."""
    due = Q(deleted_at__lte=scope.now)
    if scope.batch_days is not None:
        due |= Q(ended_at__lte=scope.before(scope.batch_days))
    elif (until := scope.kept_until(settings.KEEP_BATCHES_DAYS)) is not None:
        due |= Q(ended_at__lte=until)
    # Both can only be of a batch that ended; said so that the index of ended ones is used.
    batches = Batch.every.filter(due, state__in=ENDED_STATES)
    return batches.filter(project=scope.project) if scope.project else batches
