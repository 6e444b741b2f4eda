"""Sampling the GPUs of this host."""

from __future__ import annotations

import time

from jobs.nvml import NoGpu, read_gpus
from jobs.services.fleet import note_gpus
from monitoring.quantities import SeriesKind
from monitoring.services.samples import Reading, store_readings

# A driver that was missing is looked for now and then: it may be installed, or loaded late.
NO_GPU_EVERY_S = 30.0


class GpuSampler:
    """Reads every GPU through NVML, which may hang: in a loop of its own."""

    def __init__(self, *, worker_id: int) -> None:
        self._worker_id = worker_id
        self._look_at = 0.0

    def step(self) -> None:
        if time.monotonic() < self._look_at:
            return
        try:
            found = read_gpus()
        except NoGpu as error:
            note_gpus(worker_id=self._worker_id, note=str(error), readings=[])
            self._look_at = time.monotonic() + NO_GPU_EVERY_S
            return
        note = f"driver {found[0]['driver']}" if found else "No GPU on this host."
        keys = note_gpus(worker_id=self._worker_id, note=note, readings=found)
        store_readings(
            kind=SeriesKind.GPU,
            readings=[_reading(key, one) for key, one in zip(keys, found, strict=True)],
        )


def _reading(gpu_id: int, found: dict[str, object]) -> Reading:
    if found["error"]:
        return Reading(subject_id=gpu_id, error=str(found["error"]))
    reasons = found["throttle_reasons"]
    latest = {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, (int, float)) and name != "index"
    }
    if reasons is not None:
        latest["throttled"] = 1.0 if reasons else 0.0
    return Reading(subject_id=gpu_id, latest=dict(latest))
