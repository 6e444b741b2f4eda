"""What is measured of which kind of thing, in which unit, and how long it is kept."""

from __future__ import annotations

from typing import NamedTuple

from django.db import models

from jobs.services.fleet import READING_STALE_AFTER_S


class SeriesKind(models.TextChoices):
    HOST = "host"
    GPU = "gpu"
    ENGINE = "engine"
    BATCH = "batch"


# The field of `Series` that names what is measured.
SUBJECTS = {
    SeriesKind.HOST: "worker",
    SeriesKind.GPU: "gpu",
    SeriesKind.ENGINE: "lane",
    SeriesKind.BATCH: "batch",
}


class Step(models.IntegerChoices):
    """The seconds from one sample to the next; a batch's are thinned as they become many."""

    THINNED = 0
    FINE = 2
    MINUTE = 60
    QUARTER = 900
    FOUR_HOURS = 14_400


SAMPLE_EVERY_S = 2.0
STALE_AFTER_S = READING_STALE_AFTER_S
# How long samples are kept, in seconds; thinned ones go with their batch.
# The coarsest is there for charts of many months: quarters would be more than they can show.
KEEP_S = {
    Step.FINE: 3_600,
    Step.MINUTE: 7 * 86_400,
    Step.QUARTER: 365 * 86_400,
    Step.FOUR_HOURS: 365 * 86_400,
}


class Quantity(NamedTuple):
    """A name as JSON has it, and its unit as people read it."""

    name: str
    unit: str


QUANTITIES: dict[SeriesKind, tuple[Quantity, ...]] = {
    SeriesKind.HOST: (
        Quantity("cpu_percent", "%"),
        Quantity("memory_used_bytes", "B"),
        Quantity("memory_total_bytes", "B"),
        Quantity("load_1m", ""),
    ),
    SeriesKind.GPU: (
        Quantity("utilization_percent", "%"),
        Quantity("memory_used_bytes", "B"),
        Quantity("memory_total_bytes", "B"),
        Quantity("temperature_c", "°C"),
        Quantity("power_w", "W"),
        Quantity("power_limit_w", "W"),
        Quantity("clock_sm_mhz", "MHz"),
        Quantity("clock_memory_mhz", "MHz"),
        # 1 while the clocks are held down by heat or power, 0 while not.
        Quantity("throttled", ""),
    ),
    # Of what happened since the sample before; null where nothing did.
    SeriesKind.ENGINE: (
        Quantity("requests_running", ""),
        Quantity("requests_waiting", ""),
        Quantity("kv_cache_percent", "%"),
        Quantity("prefix_hit_percent", "%"),
        Quantity("prompt_tokens_per_s", "tokens/s"),
        Quantity("generation_tokens_per_s", "tokens/s"),
        Quantity("ttft_s", "s"),
        Quantity("itl_s", "s"),
        Quantity("e2e_s", "s"),
    ),
    # Counters of the batch, then what its lanes do for it and its phase.
    SeriesKind.BATCH: (
        Quantity("completed", ""),
        Quantity("failed", ""),
        Quantity("input_tokens", "tokens"),
        Quantity("output_tokens", "tokens"),
        Quantity("requests_running", ""),
        Quantity("requests_waiting", ""),
        Quantity("phase", ""),
    ),
}

# The phases of a batch in its samples; "warm", "steady" and "tail" are told by its progress.
PHASE_QUEUED, PHASE_LOADING, PHASE_RUNNING, PHASE_PAUSED = 0, 1, 2, 3

# Where the buckets of a summary's histograms begin, in tokens and milliseconds; one more before
# them holds what is below.
TOKEN_BOUNDS = tuple(2**n for n in range(18))
LATENCY_BOUNDS_MS = tuple(round(10 * 2 ** (n / 2)) for n in range(34))
HISTOGRAM_BOUNDS = {
    "input_tokens": TOKEN_BOUNDS,
    "output_tokens": TOKEN_BOUNDS,
    "latency_ms": LATENCY_BOUNDS_MS,
}
