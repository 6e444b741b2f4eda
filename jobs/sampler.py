"""Reading the GPUs of a host every two seconds, in a process of its own, since NVML may hang."""

from __future__ import annotations

import time

import structlog
from django.db import DatabaseError, connection

from jobs.nvml import NoGpu, read_gpus
from jobs.services.fleet import note_gpus

log = structlog.get_logger()

SAMPLE_EVERY_S = 2.0


def sample_forever(worker_id: int) -> None:
    """Sample until the process is ended; a database that is away costs readings, no more."""
    while True:
        started = time.monotonic()
        try:
            readings = read_gpus()
            note = f"driver {readings[0]['driver']}" if readings else "No GPU on this host."
        except NoGpu as error:
            readings, note = [], str(error)
        try:
            note_gpus(worker_id=worker_id, note=note, readings=readings)
        except DatabaseError as error:
            log.warning("sample_not_stored", error=str(error)[:200])
            connection.close()
        time.sleep(max(0.1, SAMPLE_EVERY_S - (time.monotonic() - started)))
