"""Workloads, their runs with repeats and baselines, and on which lanes batches were computed."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.types.json import Jsonb

WORKLOADS, RUNS, REPEATS = 40, 5_000, 5

_FINGERPRINT = {
    "worker": "host-1",
    "lane": "gpu0",
    "gpus": [{"name": "NVIDIA H100 80GB HBM3", "driver": "580.95.05"}],
    "cpu": "AMD EPYC 9654",
    "cores": 96,
    "vbatch": "1.0.0",
    "vllm": "0.32.0",
    "model": "m",
    "source": "/models/m",
    "revision": "d0c5",
    "engine_args": "--max-model-len 4096",
}
_LATENCY = {"mean": 900.0, "median": 850.0, "p90": 1_400.0, "p99": 2_100.0}
_FIGURES: dict[str, Any] = {
    "requests": 512,
    "completed": 512,
    "failed": 0,
    "success_rate": 1.0,
    "input_tokens": 51_200,
    "output_tokens": 32_768,
    "duration_s": 30.0,
    "requests_per_s": 17.0,
    "input_tokens_per_s": 1_700.0,
    "total_tokens_per_s": 2_800.0,
    "gpus": 1,
    "latency_ms": dict.fromkeys(("e2el", "ttft", "tpot", "itl"), _LATENCY),
    "steady": {"seconds": 24.0, "requests_per_s": 18.0, "output_tokens_per_s": 1_150.0},
}
_SCORES = [
    {"check": "json", "words": "is JSON", "scored": 512, "passed": 400, "share": 0.78},
]

_WORKLOADS = """
INSERT INTO benchmarks_workload (id, public_id, project_id, name, version, endpoint, requests,
    sha256, created_at)
SELECT n, 'workload_' || md5(n::text), 1001, 'workload ' || n, 0, '/v1/chat/completions', 512,
    sha256(int8send(n)), now() - interval '90 days'
FROM generate_series(1, %(workloads)s) AS n
"""
# Every other run is of one workload, as with somebody who measures one thing again and again.
_RUNS = """
INSERT INTO benchmarks_run (id, public_id, project_id, kind, state, workload_id, model_name,
    repeats, checks, figures, fingerprint, scores, tool, note, error, judge_public_id, created_at,
    created_by_name, started_at, ended_at)
SELECT n, 'bench_' || md5(n::text), 1001, 'measured',
    CASE WHEN n %% 23 = 0 THEN 'failed' ELSE 'completed' END,
    CASE WHEN n %% 2 = 0 THEN 1 ELSE 1 + n %% %(workloads)s END, 'model-' || (n %% 5),
    %(repeats)s, '[]',
    CASE WHEN n %% 23 = 0 THEN '{}' ELSE %(figures)s::jsonb
        || jsonb_build_object('output_tokens_per_s', 1000 + n %% 97) END,
    %(fingerprint)s::jsonb || jsonb_build_object('vbatch', '1.' || (n / 500)), %(scores)s::jsonb,
    '', '', CASE WHEN n %% 23 = 0 THEN 'The batch was deleted.' ELSE '' END, '',
    now() - (%(runs)s - n) * interval '20 minutes', 'everywhere', now(), now()
FROM generate_series(1, %(runs)s) AS n
"""
_PARTS = """
INSERT INTO benchmarks_runpart (run_id, repeat, batch_public_id, figures, fingerprint,
    measured_at)
SELECT run.id, repeat, '', CASE WHEN repeat = 0 THEN '{}' ELSE run.figures
    || jsonb_build_object('output_tokens_per_s', 1000 + (run.id * repeat) %% 97) END,
    run.fingerprint, run.ended_at
FROM benchmarks_run AS run, generate_series(0, %(repeats)s) AS repeat
"""
_BASELINES = """
INSERT INTO benchmarks_baseline (project_id, workload_id, model_name, run_id, pinned_at,
    pinned_by_name)
SELECT DISTINCT ON (workload_id, model_name) project_id, workload_id, model_name, id, now(),
    'everywhere'
FROM benchmarks_run WHERE state = 'completed' ORDER BY workload_id, model_name, id
"""
_USES = """
INSERT INTO monitoring_laneuse (batch_id, lane_id, generation, began_at, seen_at, closed_at,
    before, after, energy, shared, fingerprint)
SELECT id, 1001, 1, in_progress_at, ended_at, ended_at, %(figures)s::jsonb, %(figures)s::jsonb,
    '[]', false, %(fingerprint)s::jsonb
FROM jobs_batch WHERE ended_at IS NOT NULL AND in_progress_at IS NOT NULL
"""


def seed(connection: psycopg.Connection) -> None:
    values = {
        "workloads": WORKLOADS,
        "runs": RUNS,
        "repeats": REPEATS,
        "figures": Jsonb(_FIGURES),
        "fingerprint": Jsonb(_FINGERPRINT),
        "scores": Jsonb([{**score, "examples": [1, 2]} for score in _SCORES]),
    }
    for statement in (_WORKLOADS, _RUNS, _PARTS, _BASELINES, _USES):
        connection.execute(statement, values)
