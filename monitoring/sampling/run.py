"""The sampler process of a host: every loop side by side, and an end to those that hang."""

from __future__ import annotations

import os
import time

import structlog

from monitoring.quantities import SAMPLE_EVERY_S
from monitoring.sampling.batches import BatchSampler
from monitoring.sampling.engines import EngineSampler
from monitoring.sampling.gpus import GpuSampler
from monitoring.sampling.host import HostSampler
from monitoring.sampling.loop import Loop
from monitoring.sampling.old_samples import OldSamples

log = structlog.get_logger()

OLD_EVERY_S = 20.0
# NVML has no deadline of its own, and a thread that hangs in it cannot be ended alone.
GPU_HANGS_AFTER_S = 20.0
HUNG = 75


def sample_forever(worker_id: int) -> None:
    """Sample until the process is ended, or until the driver of the GPUs hangs."""
    gpus = Loop(name="gpus", every_s=SAMPLE_EVERY_S, step=GpuSampler(worker_id=worker_id).step)
    loops = [
        gpus,
        Loop(name="host", every_s=SAMPLE_EVERY_S, step=HostSampler(worker_id=worker_id).step),
        Loop(name="engines", every_s=SAMPLE_EVERY_S, step=EngineSampler(worker_id=worker_id).step),
        Loop(name="batches", every_s=SAMPLE_EVERY_S, step=BatchSampler(worker_id=worker_id).step),
        Loop(name="old", every_s=OLD_EVERY_S, step=OldSamples(worker_id=worker_id).step),
    ]
    for loop in loops:
        loop.start()
    while gpus.busy_s() < GPU_HANGS_AFTER_S:
        time.sleep(1.0)
    log.error("gpu_reading_hangs", for_s=round(gpus.busy_s()))
    os._exit(HUNG)
