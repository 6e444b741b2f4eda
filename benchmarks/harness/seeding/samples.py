"""Samples of hosts, GPUs, engines and batches, summaries and tallies."""

from __future__ import annotations

import psycopg
from psycopg.types.json import Jsonb

_SUBJECTS = """
INSERT INTO monitoring_series (id, kind, worker_id, gpu_id, lane_id, batch_id, read_at, error,
    latest, detail)
SELECT row_number() OVER (), kind, worker_id, gpu_id, lane_id, batch_id, read_at, '', latest,
    detail
FROM (
    SELECT 'host' AS kind, id AS worker_id, NULL::bigint AS gpu_id, NULL::bigint AS lane_id,
        NULL::bigint AS batch_id, sampled_at AS read_at,
        '{"cpu_percent": 40, "memory_used_bytes": 2e11, "memory_total_bytes": 5e11,
        "load_1m": 12}'::jsonb AS latest, '{}'::jsonb AS detail
    FROM jobs_worker
    UNION ALL
    SELECT 'gpu', NULL, id, NULL, NULL, now(), '{"utilization_percent": 96}', '{}' FROM jobs_gpu
    UNION ALL
    SELECT 'engine', NULL, NULL, id, NULL, now(), '{"requests_running": 256,
        "requests_waiting": 12, "prompt_tokens_per_s": 9000, "generation_tokens_per_s": 4000,
        "kv_cache_percent": 71, "prefix_hit_percent": 30}', %(detail)s
    FROM jobs_lane WHERE kind = 'gpu'
    UNION ALL
    SELECT * FROM (
        SELECT 'batch', NULL::bigint, NULL::bigint, NULL::bigint, id,
            coalesce(ended_at, now()), jsonb_build_object('completed', completed,
                'failed', failed, 'input_tokens', input_tokens, 'output_tokens', output_tokens,
                'requests_running', 0, 'requests_waiting', 0,
                'phase', CASE WHEN last_seq = 0 THEN 0 ELSE 2 END), '{}'::jsonb
        FROM jobs_batch WHERE in_progress_at IS NOT NULL
        ORDER BY total > 1000 DESC, id DESC LIMIT %(batch_series)s
    ) AS of_batches
) AS subject
"""

# `width` is how many numbers a sample of the kind has.
_WIDTHS = "(VALUES ('host', 4), ('gpu', 9), ('engine', 9)) AS kinds (kind, width)"
_STEPS = f"""
INSERT INTO monitoring_sample (series_id, step_s, at, values)
SELECT series.id, %(step)s,
    date_bin(make_interval(secs => %(step)s), now(), 'epoch')
        - (place * %(step)s) * interval '1 s',
    (SELECT array_agg(50 + 40 * sin(place / 20.0 + nth)) FROM generate_series(1, width) AS nth)
FROM monitoring_series AS series JOIN {_WIDTHS} USING (kind),
    generate_series(%(count)s, 0, -1) AS place
WHERE series.read_at IS NOT NULL
ON CONFLICT DO NOTHING
"""
_THINNED = """
INSERT INTO monitoring_sample (series_id, step_s, at, values)
SELECT series.id, 0, first_at + (last_at - first_at) * place / count,
    ARRAY[batch.completed * place / count, batch.failed * place / count,
        batch.input_tokens * place / count, batch.output_tokens * place / count, 32, 200,
        CASE WHEN batch.last_seq = 0 THEN 0 ELSE 2 END]::float8[]
FROM monitoring_series AS series
JOIN jobs_batch AS batch ON batch.id = series.batch_id
CROSS JOIN LATERAL (SELECT
    CASE WHEN batch.total > 1000 THEN 600 ELSE %(each)s END AS count,
    batch.in_progress_at AS first_at, coalesce(batch.ended_at, now()) AS last_at) AS span
CROSS JOIN LATERAL generate_series(1, count) AS place
ON CONFLICT DO NOTHING
"""
_SUMMARIES = """
INSERT INTO monitoring_batchsummary (batch_id, seq, histograms, finish_reasons, errors,
    updated_at)
SELECT id, last_seq,
    jsonb_build_object('input_tokens', jsonb_build_object('6', completed),
        'output_tokens', jsonb_build_object('7', completed / 2, '8', completed - completed / 2),
        'latency_ms', jsonb_build_object('12', completed)),
    jsonb_build_object('stop', completed), CASE WHEN failed > 0 THEN jsonb_build_object(
        'context_length_exceeded', jsonb_build_object('count', failed,
        'message', 'The prompt is too long.', 'positions', jsonb_build_array(0))) ELSE '{}' END,
    now()
FROM jobs_batch WHERE last_seq > 0
"""
_TALLIES = """
INSERT INTO monitoring_daytally (day, project_id, model_name, completed, failed, input_tokens,
    cached_tokens, output_tokens)
SELECT current_date - ago, project.id, model.name, 900, 3, 40000, 0, 110000
FROM generate_series(0, 364) AS ago, jobs_project AS project, jobs_servedmodel AS model
"""
# As monitoring.quantities has them: steps, and for how long each is kept.
_FINE_S = 2
KEEP_S = ((_FINE_S, 3_600), (60, 7 * 86_400), (900, 30 * 86_400), (14_400, 365 * 86_400))

_BEAT = (
    "UPDATE jobs_worker SET heartbeat_at = now(), sampled_at = now() WHERE stopped_at IS NULL",
    "UPDATE jobs_gpu SET read_at = now()",
    # Who cancels is quick: one that has been cancelling for long is settled by whoever looks.
    "UPDATE jobs_batch SET cancelling_at = now() WHERE state = 'cancelling'",
    "UPDATE jobs_chunk SET lease_until = now() + interval '15 s' WHERE state = 'claimed'",
    "UPDATE monitoring_series SET read_at = now()"
    " WHERE kind IN ('gpu', 'engine') OR worker_id = 1001"
    " OR batch_id IN (SELECT batch_id FROM jobs_chunk WHERE state = 'claimed')",
    """
    INSERT INTO monitoring_sample (series_id, step_s, at, values)
    SELECT series.id, 0, now(), ARRAY[completed, failed, input_tokens, output_tokens, 32, 200, 2]
    FROM monitoring_series AS series JOIN jobs_batch AS batch ON batch.id = series.batch_id
    WHERE batch.id IN (SELECT batch_id FROM jobs_chunk WHERE state = 'claimed')
    ON CONFLICT DO NOTHING
    """,
)


def seed(connection: psycopg.Connection, *, sample_count: int) -> None:
    """Fill the steps of hosts, GPUs and engines; what is missing then is of batches."""
    connection.execute(
        _SUBJECTS, {"detail": Jsonb(_engine_detail()), "batch_series": 200 + sample_count // 150}
    )
    for step_s, keep_s in KEEP_S:
        # A small one does not have a year behind it.
        count = min(keep_s // step_s, sample_count // 20)
        connection.execute(_STEPS, {"step": step_s, "count": count})
    row = connection.execute(
        "SELECT count(*) FROM monitoring_sample UNION ALL"
        " SELECT count(*) FROM monitoring_series WHERE kind = 'batch'"
    ).fetchall()
    (made,), (batches,) = row
    each = max(3, -(-(sample_count - made) // batches))
    connection.execute(_THINNED, {"each": each})
    connection.execute(_SUMMARIES)
    connection.execute(_TALLIES)


def bring_up_to_now(connection: psycopg.Connection) -> None:
    """Give hosts, GPUs and engines the samples of the hour before now."""
    connection.execute(_STEPS, {"step": _FINE_S, "count": 1_800})
    beat(connection)


def beat(connection: psycopg.Connection) -> None:
    """Do to the database what the workers and samplers of the hosts do every two seconds."""
    for statement in _BEAT:
        connection.execute(statement, {})
    connection.execute(_STEPS, {"step": _FINE_S, "count": 0})


def _engine_detail() -> dict[str, object]:
    buckets = [[2.0**n / 1000, min(9_000, 500 * n)] for n in range(20)]
    histogram = {"buckets": [*buckets, [None, 9_500]], "sum": 4_000.0, "count": 9_500}
    counters = {"prompt_tokens": 9e6, "generation_tokens": 4e6, "requests_stop": 9_500}
    return {
        "generation": 12,
        "model": "qwen/qwen3-8b",
        "counters": counters,
        "histograms": dict.fromkeys(("ttft_s", "itl_s", "e2e_s", "queue_s"), histogram),
    }
