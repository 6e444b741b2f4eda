"""Rolling up this host's samples, and pruning everybody's."""

from __future__ import annotations

from django.db.models import Q

from monitoring.models import Series
from monitoring.services.samples import prune_samples, roll_up


class OldSamples:
    """Each host rolls up its own series; pruning is cheap where another has just pruned."""

    def __init__(self, *, worker_id: int) -> None:
        self._worker_id = worker_id

    def step(self) -> None:
        own = Series.objects.filter(
            Q(worker=self._worker_id)
            | Q(gpu__worker=self._worker_id)
            | Q(lane__worker=self._worker_id)
        )
        roll_up(series_ids=list(own.values_list("pk", flat=True)))
        prune_samples()
