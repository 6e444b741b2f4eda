"""What was measured of a batch: its own rows, and what its engines and GPUs said around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from benchmarks.percentiles import bucket_figures
from jobs.models import Batch
from monitoring.batch_figures import STEADY_UNTIL, WARM_UNTIL
from monitoring.models import LaneUse

# What an engine counted must be the batch's own work to this share, or its figures are others'.
COVERED = (0.95, 1.05)
# Energy is taken over the time between two readings; of too short a part of the work it says
# little, and beyond it the GPU idles.
ENERGY_COVERS = (0.8, 1.25)
# Answers that all come at about the same moment have a steady part that is next to nothing, and
# its rate says nothing of a longer batch.
STEADY_LASTS = 0.2
HISTOGRAMS = {"ttft": "ttft_s", "tpot": "tpot_s", "itl": "itl_s"}

_TIMES = """
SELECT min(created_at - make_interval(secs => coalesce(latency_ms, 0) / 1000.0)),
    max(created_at),
    avg(latency_ms) FILTER (WHERE ok)::float8,
    (percentile_cont(ARRAY[0.5, 0.9, 0.99]) WITHIN GROUP (ORDER BY latency_ms)
        FILTER (WHERE ok AND latency_ms IS NOT NULL))::float8[]
FROM jobs_batchresponse WHERE batch_id = %s AND NOT reused
"""
# Answers are committed in groups, so that many have the same moment: the steady part goes from
# the end of the group of the first tenth to the end of that of the last.
_STEADY = """
WITH answer AS (
    SELECT created_at, ok, input_tokens, output_tokens, row_number() OVER (ORDER BY seq) AS place
    FROM jobs_batchresponse WHERE batch_id = %(batch)s AND NOT reused),
span AS (
    SELECT min(created_at) FILTER (WHERE place >= %(low)s) AS low,
        max(created_at) FILTER (WHERE place <= %(high)s) AS high FROM answer)
SELECT span.low, span.high, count(*) FILTER (WHERE ok), sum(input_tokens), sum(output_tokens)
FROM answer, span WHERE created_at > span.low AND created_at <= span.high
GROUP BY span.low, span.high
"""


def measure_batch(batch: Batch) -> dict[str, Any]:
    """Return the figures of a batch that has ended; what was not measured is not there.

    Rates are per second, from the first request that was sent to the last answer that was
    committed, those of requests of the good answers; `steady` is the part from the first tenth of
    the answers to the last. Latencies are
    in milliseconds: `e2el` of each request, as its lane saw it, and `ttft`, `tpot` and `itl` as
    the engine's histograms have them. `engine_covers` is what share of the engine's output was
    the batch's own: beside 1, its histograms, its prefix cache and the energy are not told.
    Lines whose answers were `reused` are counted, and have no part in rates and latencies.
    `interrupted` is an engine that was lost in the middle, `shared` a lane that held lines of other
    batches too.
    """
    found: dict[str, Any] = {
        "requests": batch.total,
        "completed": batch.completed,
        "failed": batch.failed,
        "reused": batch.reused,
        "input_tokens": batch.input_tokens,
        "cached_tokens": batch.cached_tokens,
        "output_tokens": batch.output_tokens,
        "success_rate": batch.completed / batch.total if batch.total else None,
    }
    uses = list(LaneUse.objects.filter(batch=batch).order_by("pk"))
    found["interrupted"] = _was_interrupted(uses)
    found["shared"] = any(use.shared for use in uses)
    sent_at, last_at, latency = _times(batch)
    if sent_at is None or last_at is None or last_at <= sent_at:
        return _known(found)
    duration_s = (last_at - sent_at).total_seconds()
    found |= {"duration_s": duration_s, **_rates(batch, duration_s)}
    found["steady"] = _steady(batch, duration_s)
    found["latency_ms"] = {"e2el": latency, **_engine_latencies(batch, uses, found)}
    gpus = _gpus(uses)
    if gpus:
        found["gpus"] = gpus
        found["gpu_seconds"] = gpus * duration_s
        for name in ("requests_per_s", "output_tokens_per_s", "total_tokens_per_s"):
            found[f"{name}_per_gpu"] = found[name] / gpus
    found |= _energy(batch, uses, duration_s, found)
    found["phases"] = _phases(batch, uses, sent_at, found)
    return _known(found)


def fingerprint_of(batch: Batch) -> dict[str, Any]:
    """Return on what a batch ran: what its lanes agree on, and the GPUs of all of them.

    Where they differ, the values stand side by side.
    """
    each = LaneUse.objects.filter(batch=batch).order_by("pk").values_list("fingerprint", flat=True)
    lanes: dict[tuple[Any, Any], dict[str, Any]] = {}
    for one in each:
        lanes[one.get("worker"), one.get("lane")] = one
    if not lanes:
        return {}
    merged: dict[str, Any] = {"gpus": [gpu for one in lanes.values() for gpu in one["gpus"]]}
    for name in ("cpu", "cores", "vbatch", "vllm", "model", "source", "revision", "engine_args"):
        values = list(dict.fromkeys(one.get(name) for one in lanes.values()))
        merged[name] = values[0] if len(values) == 1 else ", ".join(str(v) for v in values)
    merged["workers"] = sorted({str(one["worker"]) for one in lanes.values()})
    return merged


def _times(batch: Batch) -> tuple[datetime | None, datetime | None, dict[str, float] | None]:
    """Return when the first request went out, when the last answer came, and the latencies."""
    with connection.cursor() as cursor:
        cursor.execute(_TIMES, [batch.pk])
        sent_at, last_at, mean, percentiles = cursor.fetchone()
    if percentiles is None or None in percentiles:
        return sent_at, last_at, None
    median, p90, p99 = percentiles
    return sent_at, last_at, {"mean": mean, "median": median, "p90": p90, "p99": p99}


def _rates(batch: Batch, span_s: float) -> dict[str, float]:
    read = batch.input_tokens - batch.reused_input_tokens
    written = batch.output_tokens - batch.reused_output_tokens
    return {
        # A refusal takes an engine no time: it is no work that was done.
        "requests_per_s": (batch.completed - batch.reused) / span_s,
        "input_tokens_per_s": read / span_s,
        "output_tokens_per_s": written / span_s,
        "total_tokens_per_s": (read + written) / span_s,
    }


def _was_interrupted(uses: Sequence[LaneUse]) -> bool:
    """Say whether a lane had more than one engine process at work on the batch."""
    return len({(use.lane_id, use.fingerprint.get("lane")) for use in uses}) < len(uses)


def _steady(batch: Batch, duration_s: float) -> dict[str, float] | None:
    bounds = {
        "batch": batch.pk,
        "low": _first_tenth(batch),
        "high": int((batch.answered - batch.reused) * STEADY_UNTIL),
    }
    with connection.cursor() as cursor:
        cursor.execute(_STEADY, bounds)
        row = cursor.fetchone()
    if row is None:
        # All within one group: there is no rate between its answers.
        return None
    low, high, answered, input_tokens, output_tokens = row
    span_s = (high - low).total_seconds()
    if span_s < STEADY_LASTS * duration_s:
        return None
    return {
        "seconds": span_s,
        "requests_per_s": answered / span_s,
        "output_tokens_per_s": output_tokens / span_s,
        "total_tokens_per_s": (input_tokens + output_tokens) / span_s,
    }


def _engine_latencies(
    batch: Batch, uses: Sequence[LaneUse], found: dict[str, Any]
) -> dict[str, Any]:
    """Return what the engines' histograms say of the batch, and note how far they are its own."""
    read = [(use.before, use.after) for use in uses if use.before and use.after]
    if not read or len(read) < len(uses):
        return {}
    # What was taken over from equal lines cost the engine nothing.
    output_tokens = batch.output_tokens - batch.reused_output_tokens
    own = output_tokens or batch.input_tokens - batch.reused_input_tokens
    counted = _gained(read, "generation_tokens" if output_tokens else "prompt_tokens")
    if not own or not counted:
        return {}
    found["engine_covers"] = own / counted
    if not COVERED[0] <= found["engine_covers"] <= COVERED[1]:
        return {}
    asked = _gained(read, "prefix_cache_queries")
    if asked:
        found["prefix_cache_hit_rate"] = _gained(read, "prefix_cache_hits") / asked
    if len(read) > 1:
        # Percentiles of several engines cannot be joined from those of each.
        return {}
    before, after = read[0]
    latencies = {}
    for name, histogram in HISTOGRAMS.items():
        figures = bucket_figures(
            before["histograms"].get(histogram), after["histograms"].get(histogram)
        )
        if figures is not None:
            latencies[name] = figures
    return latencies


def _gained(read: Sequence[tuple[dict[str, Any], dict[str, Any]]], name: str) -> float:
    """Return by how much a counter grew, of all engines together."""
    gained: float = sum(
        after["counters"].get(name, 0) - before["counters"].get(name, 0) for before, after in read
    )
    return gained


def _gpus(uses: Sequence[LaneUse]) -> int:
    lanes = {(use.lane_id, use.fingerprint.get("lane")): use for use in uses}
    return sum(len(use.fingerprint.get("gpus", [])) for use in lanes.values())


def _energy(
    batch: Batch, uses: Sequence[LaneUse], duration_s: float, found: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the energy of the GPUs, and whether it is the batch's own."""
    if not any(use.energy for use in uses):
        return {}
    joules, span_s = 0.0, 0.0
    for use in uses:
        for one in use.energy:
            if one["from_j"] is None or one["to_j"] is None or one["to_j"] < one["from_j"]:
                return {"energy_valid": False, "energy_note": "a GPU does not count its energy"}
            joules += one["to_j"] - one["from_j"]
        span_s = max(span_s, (use.seen_at - use.began_at).total_seconds())
    note = ""
    if "engine_covers" not in found or not COVERED[0] <= found["engine_covers"] <= COVERED[1]:
        note = "the engine worked for others too, or was not read"
    elif not ENERGY_COVERS[0] <= span_s / duration_s <= ENERGY_COVERS[1]:
        note = f"read over {span_s:.0f} s of {duration_s:.0f} s"
    written = batch.output_tokens - batch.reused_output_tokens
    tokens = written + batch.input_tokens - batch.reused_input_tokens
    return {
        "energy_j": joules,
        "energy_valid": not note,
        "energy_note": note,
        "joules_per_output_token": joules / written if written else None,
        "joules_per_token": joules / tokens if tokens else None,
    }


def _phases(
    batch: Batch, uses: Sequence[LaneUse], sent_at: datetime, found: Mapping[str, Any]
) -> dict[str, float]:
    """Return the seconds of each phase: waiting, engine start, warm-up, steady part, tail."""
    began = batch.in_progress_at or batch.created_at
    started = [
        float(use.fingerprint["engine_start_s"])
        for use in uses
        if use.is_from_the_start and use.fingerprint.get("engine_start_s")
    ]
    load_s = started[0] if started else 0.0
    phases = {
        "validation_s": (began - batch.created_at).total_seconds(),
        "load_s": load_s,
        "waiting_s": max(0.0, (sent_at - began).total_seconds() - load_s),
    }
    steady = found.get("steady")
    if not steady:
        phases["work_s"] = found["duration_s"]
    else:
        tenth = (
            batch.responses.filter(reused=False)
            .order_by("seq")
            .values_list("created_at", flat=True)[_first_tenth(batch) - 1]
        )
        warm_up_s = max(0.0, (tenth - sent_at).total_seconds())
        phases |= {
            "warm_up_s": warm_up_s,
            "steady_s": steady["seconds"],
            # To the microsecond, as the database has its times.
            "tail_s": max(0.0, round(found["duration_s"] - warm_up_s - steady["seconds"], 6)),
        }
    return phases


def _first_tenth(batch: Batch) -> int:
    """Return how many computed answers are the warm-up, at least one."""
    return max(1, int((batch.answered - batch.reused) * WARM_UNTIL))


def _known(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if value is not None}
