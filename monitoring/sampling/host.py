"""Sampling this host itself: processors, memory, load."""

from __future__ import annotations

import os

import psutil

from jobs.cpu import cpu_name
from jobs.services.fleet import note_sampler
from monitoring.quantities import SeriesKind
from monitoring.services.samples import Reading, store_readings


class HostSampler:
    """Reads what the operating system says; with every reading the sampler shows that it lives."""

    def __init__(self, *, worker_id: int) -> None:
        self._worker_id = worker_id
        self._machine = {"cores": psutil.cpu_count() or 1, "cpu": cpu_name()}
        # The first call only starts the measurement.
        psutil.cpu_percent()

    def step(self) -> None:
        memory = psutil.virtual_memory()
        latest = {
            "cpu_percent": psutil.cpu_percent(),
            "memory_used_bytes": float(memory.total - memory.available),
            "memory_total_bytes": float(memory.total),
            "load_1m": os.getloadavg()[0],
        }
        store_readings(
            kind=SeriesKind.HOST,
            readings=[
                Reading(subject_id=self._worker_id, latest=dict(latest), detail=self._machine)
            ],
        )
        note_sampler(worker_id=self._worker_id)
