"""What was measured of finished batches, many at once: from their own counters and their lanes'."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection

from benchmarks.fingerprints import hardware_of
from jobs.models import Batch
from monitoring.models import LaneUse


@dataclass(frozen=True, kw_only=True)
class BatchRates:
    """Means from the first request sent to the last answer; None is not measured, as of imports.

    Hardware and vLLM's version are empty where no lane was read.
    """

    seconds: float | None = None
    requests: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    output_tokens_per_gpu: float | None = None
    hardware: str = ""
    vllm: str = ""
    shared: bool = False


# When the first request went out is known from the first answers, which were all sent at about the
# same moment: not all answers are read for a list, as they are for the figures of one batch.
_SENT = """
SELECT wanted.id,
    min(first.created_at - make_interval(secs => coalesce(first.latency_ms, 0) / 1000.0))
FROM unnest(%s::bigint[]) AS wanted(id), LATERAL (
    SELECT created_at, latency_ms FROM jobs_batchresponse
    WHERE batch_id = wanted.id AND NOT reused ORDER BY seq LIMIT 64) AS first
GROUP BY wanted.id
"""


def rates_of_batches(batches: Sequence[Batch]) -> dict[int, BatchRates]:
    """Return what is known of each batch, by its primary key, with two queries for all."""
    with connection.cursor() as cursor:
        cursor.execute(_SENT, [[batch.pk for batch in batches]])
        sent: dict[int, datetime] = dict(cursor.fetchall())
    uses: dict[int, list[LaneUse]] = defaultdict(list)
    found = LaneUse.objects.filter(batch__in=batches).defer("before", "after", "energy")
    for use in found.order_by("pk"):
        uses[use.batch_id].append(use)
    return {batch.pk: _rates(batch, uses[batch.pk], sent.get(batch.pk)) for batch in batches}


def _rates(batch: Batch, uses: Sequence[LaneUse], first: datetime | None) -> BatchRates:
    # A lane whose engine started anew has several records.
    marks = {(use.lane_id, use.fingerprint.get("lane")): use.fingerprint for use in uses}
    gpus = [gpu for mark in marks.values() for gpu in mark.get("gpus", [])]
    vllm = dict.fromkeys(mark.get("vllm") or "" for mark in marks.values())
    one: dict[str, Any] = next(iter(marks.values()), {})
    known = BatchRates(
        hardware=hardware_of({**one, "gpus": gpus}),
        vllm=", ".join(version for version in vllm if version),
        shared=any(use.shared for use in uses),
    )
    last = batch.last_response_at
    if batch.imported_at is not None or first is None or last is None or last <= first:
        return known
    seconds = (last - first).total_seconds()
    # Answers that were known already were computed by no lane.
    output = (batch.output_tokens - batch.reused_output_tokens) / seconds
    return replace(
        known,
        seconds=seconds,
        requests=(batch.completed - batch.reused) / seconds,
        input_tokens=(batch.input_tokens - batch.reused_input_tokens) / seconds,
        output_tokens=output,
        output_tokens_per_gpu=output / len(gpus) if gpus else None,
    )
