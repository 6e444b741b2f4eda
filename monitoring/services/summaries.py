"""Summaries and tallies: what the answers add up to, counted once each, in their order."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from jobs.models import Batch
from jobs.states import ENDED_STATES, LIVE_STATES
from monitoring.models import BatchSummary
from monitoring.quantities import HISTOGRAM_BOUNDS

# So many answers are counted in one transaction: a fraction of a second.
SLICE = 20_000
# Of each kind of error.
EXAMPLES = 3
ERROR_KINDS = 50

_BEHIND = """
SELECT batch.id FROM jobs_batch AS batch
LEFT JOIN monitoring_batchsummary AS summary ON summary.batch_id = batch.id
WHERE batch.deleted_at IS NULL AND batch.last_seq > coalesce(summary.seq, 0) AND {where}
ORDER BY batch.id
"""
# Both halves name their states, so that each is found by a partial index.
_LATELY = f"""(batch.state IN ({", ".join(f"'{state}'" for state in LIVE_STATES)})
    OR batch.state IN ({", ".join(f"'{state}'" for state in ENDED_STATES)})
    AND batch.ended_at > statement_timestamp() - interval '10 minutes')"""

_LAG = f"""
SELECT coalesce(sum(batch.last_seq - coalesce(summary.seq, 0)), 0) FROM jobs_batch AS batch
LEFT JOIN monitoring_batchsummary AS summary ON summary.batch_id = batch.id
WHERE batch.deleted_at IS NULL AND {_LATELY}
"""

_ANSWERS = """
WITH answer AS MATERIALIZED (
    SELECT ok, input_tokens, output_tokens, latency_ms, finish_reason
    FROM jobs_batchresponse WHERE batch_id = %(batch)s AND seq > %(after)s AND seq <= %(upto)s)
"""
_BUCKETS = " UNION ALL ".join(
    f"SELECT '{name}', width_bucket({name}, ARRAY[{', '.join(map(str, bounds))}]::int[])::text, "
    f"count(*) FROM answer WHERE ok AND {name} IS NOT NULL GROUP BY 2"
    for name, bounds in HISTOGRAM_BOUNDS.items()
)
_COUNTS = f"""{_ANSWERS}{_BUCKETS} UNION ALL
SELECT 'finish_reason', finish_reason, count(*) FROM answer WHERE ok GROUP BY 2
"""
_ERRORS = """
SELECT error_code, count(*), (array_agg(left(error_message, 500) ORDER BY seq))[1],
    (array_agg(position ORDER BY seq))[1:%(examples)s]
FROM jobs_batchresponse AS response JOIN jobs_batchrequest AS request
    ON request.id = response.request_id
WHERE response.batch_id = %(batch)s AND seq > %(after)s AND seq <= %(upto)s AND NOT ok
GROUP BY error_code ORDER BY error_code
"""
_TALLY = """
INSERT INTO monitoring_daytally (day, project_id, model_name, completed, failed,
    input_tokens, cached_tokens, output_tokens)
SELECT (created_at AT TIME ZONE %(zone)s)::date AS day, %(project)s, %(model)s,
    count(*) FILTER (WHERE ok), count(*) FILTER (WHERE NOT ok),
    sum(input_tokens), sum(cached_tokens), sum(output_tokens)
FROM jobs_batchresponse WHERE batch_id = %(batch)s AND seq > %(after)s AND seq <= %(upto)s
GROUP BY day ORDER BY day
ON CONFLICT (day, project_id, model_name) DO UPDATE SET
    completed = monitoring_daytally.completed + EXCLUDED.completed,
    failed = monitoring_daytally.failed + EXCLUDED.failed,
    input_tokens = monitoring_daytally.input_tokens + EXCLUDED.input_tokens,
    cached_tokens = monitoring_daytally.cached_tokens + EXCLUDED.cached_tokens,
    output_tokens = monitoring_daytally.output_tokens + EXCLUDED.output_tokens
"""


def update_summaries(*, every: bool = False, for_s: float = 1.0) -> int:
    """Count what has been answered since the last call; return how many answers were counted.

    Looks at the batches that are live or ended lately; with `every`, at all of them, which
    reads the table of batches. Stops after `for_s` seconds; the next call goes on.
    """
    until = time.monotonic() + for_s
    counted = 0
    for batch_id in _behind(every=every):
        while time.monotonic() < until and (more := summarise_batch(batch_id=batch_id)):
            counted += more
    return counted


def summarise_batch(*, batch_id: int) -> int:
    """Count the next answers of a batch; return how many, 0 where none is left.

    A response gets its `seq` under the lock of its batch, so that none can appear later behind
    one that is counted. The row of the summary is locked: two who count at once do it in turn.
    """
    with transaction.atomic():
        BatchSummary.objects.bulk_create([BatchSummary(batch_id=batch_id)], ignore_conflicts=True)
        summary = (
            BatchSummary.objects.select_for_update(of=("self",))
            .select_related("batch")
            .defer("batch__findings", "batch__metadata")
            .get(batch_id=batch_id)
        )
        batch = summary.batch
        upto = min(batch.last_seq, summary.seq + SLICE)
        if upto <= summary.seq:
            return 0
        window = {"batch": batch.pk, "after": summary.seq, "upto": upto}
        _add_counts(summary, _rows(_COUNTS, window))
        _add_errors(summary, _rows(_ERRORS, {**window, "examples": EXAMPLES}))
        if batch.imported_at is None:
            _tally(batch, window)
        counted = upto - summary.seq
        summary.seq = upto
        summary.save()
        return counted


def behind_by() -> int:
    """Return how many answers of batches that are live or ended lately are not counted yet."""
    rows = _rows(_LAG, {})
    return int(rows[0][0])


def _behind(*, every: bool) -> list[int]:
    query = _BEHIND.format(where="TRUE" if every else _LATELY)
    return [row[0] for row in _rows(query, {})]


def _rows(query: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _add_counts(summary: BatchSummary, rows: Iterable[tuple[str, str, int]]) -> None:
    for name, bucket, count in rows:
        known = (
            summary.finish_reasons
            if name == "finish_reason"
            else summary.histograms.setdefault(name, {})
        )
        known[bucket] = known.get(bucket, 0) + count


def _add_errors(summary: BatchSummary, rows: Iterable[tuple[str, int, str, list[int]]]) -> None:
    for code, count, message, positions in rows:
        # Codes come from servers, and a server may make up one for each line.
        key = code if code in summary.errors or len(summary.errors) < ERROR_KINDS else "other"
        known = summary.errors.setdefault(key, {"count": 0, "message": message, "positions": []})
        known["count"] += count
        known["positions"] = [*known["positions"], *positions][:EXAMPLES]


def _tally(batch: Batch, window: dict[str, Any]) -> None:
    values = {
        **window,
        "zone": settings.TIME_ZONE,
        "project": batch.project_id,
        "model": batch.model_name,
    }
    with connection.cursor() as cursor:
        cursor.execute(_TALLY, values)
