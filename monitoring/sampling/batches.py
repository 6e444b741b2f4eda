"""Sampling the batches, and counting their answers: on one host for all."""

from __future__ import annotations

import time

from jobs.models import Worker
from jobs.services.fleet import leads
from monitoring.services.batch_samples import sample_batches, thin_batch_samples
from monitoring.services.summaries import update_summaries

THIN_EVERY_S = 60.0
# A pass over all batches, for what ended while nobody counted.
EVERY_BATCH_EVERY_S = 600.0


class BatchSampler:
    """Works on the host that leads; two that take themselves for it disturb nothing."""

    def __init__(self, *, worker_id: int) -> None:
        self._worker_id = worker_id
        self._thinned_at = self._counted_at = float("-inf")

    def step(self) -> None:
        worker = Worker.objects.filter(pk=self._worker_id).first()
        if worker is None or not leads(worker):
            return
        sample_batches()
        now = time.monotonic()
        every = now - self._counted_at >= EVERY_BATCH_EVERY_S
        if not update_summaries(every=every) and every:
            # Only once nothing is left: one call counts for a second, and there may be millions.
            self._counted_at = now
        if now - self._thinned_at >= THIN_EVERY_S:
            self._thinned_at = now
            thin_batch_samples()
