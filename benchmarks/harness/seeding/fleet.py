"""Projects, people, models and the hosts: what batches refer to."""

from __future__ import annotations

import psycopg

# The first one has most of the batches, the last one a few: plans must be good for both.
PROJECTS = {1_001: "search", 1_002: "support", 1_003: "research", 1_004: "لغات", 1_005: "tiny"}
TINY = 1_005
MODELS = {
    1_001: "qwen/qwen3-8b",
    1_002: "meta/llama-3.1-8b",
    1_003: "mistral/small-24b",
    1_004: "google/gemma-3-12b",
    1_005: "qwen/qwen3-32b",
    1_006: "ibm/granite-8b",
    1_007: "ours/classifier",
    1_008: "ours/translator",
}
# These are loaded, one on each GPU.
GPUS = 4
GPU_HOST, OLD_HOST = 1_001, 1_002

_PEOPLE = """
INSERT INTO auth_user (id, password, is_superuser, username, first_name, last_name, email,
    is_staff, is_active, date_joined)
VALUES (1001, '!', true, 'operator', '', '', '', true, true, now()),
    (1002, '!', false, 'everywhere', '', '', '', false, true, now()),
    (1003, '!', false, 'tiny', '', '', '', false, true, now())
"""
_MEMBERSHIPS = """
INSERT INTO jobs_membership (project_id, user_id, role)
SELECT id, 1002, 'member' FROM jobs_project UNION ALL SELECT %s, 1003, 'viewer'
"""
_WORKERS = """
INSERT INTO jobs_worker (id, name, instance, pid, version, started_at, heartbeat_at, draining,
    stopped_at, gpu_note, sampled_at)
VALUES (1001, 'gpu-host', 'a', 1, '1', now() - interval '9 days', now(), false, NULL,
        'NVIDIA driver 580', now()),
    (1002, 'old-host', 'b', 1, '1', now() - interval '90 days', now() - interval '30 days',
        false, now() - interval '30 days', '', NULL)
"""
_LANES = """
INSERT INTO jobs_lane (id, worker_id, name, kind, gpus, queue, active, task_token,
    wanted_model_id, engine_model_id, engine_state, engine_progress, engine_error,
    start_held_back, engine_socket, engine_version, engine_max_num_seqs, engine_started_at,
    engine_ready_at, generation)
SELECT 1001 + g, 1001, 'gpu' || g, 'gpu', ARRAY[g], 'lane-' || g, true, '', 1001 + g, 1001 + g,
    'ready', '', '', '', '/run/engine-' || g, '0.26.0', 256, now() - interval '1 day',
    now() - interval '1 day', 12
FROM generate_series(0, %(gpus)s - 1) AS g
UNION ALL
SELECT 1000, 1001, 'upstream', 'upstream', '{}', 'lane-up', true, '', NULL, NULL, 'stopped', '',
    '', '', '', '', 64, NULL, NULL, 0
"""
_LANE_MODELS = """
INSERT INTO jobs_lanemodel (lane_id, model_id, load_s, failures, last_error)
SELECT lane.id, model.id, 40 + lane.id %% 30, 0, ''
FROM jobs_lane AS lane, jobs_servedmodel AS model WHERE lane.kind = 'gpu' AND %(gpus)s > 0
"""
_GPUS = """
INSERT INTO jobs_gpu (id, worker_id, index, uuid, name, driver, utilization_percent,
    memory_used_bytes, memory_total_bytes, temperature_c, power_w, power_limit_w, clock_sm_mhz,
    clock_memory_mhz, throttle_reasons, energy_j, processes, error, read_at)
SELECT 1001 + g, 1001, g, 'GPU-' || g, 'NVIDIA H100 80GB HBM3', '580', 96, 70e9, 85e9, 61, 640,
    700, 1980, 2619, '{}', 1e9,
    '[{"pid": 4242, "name": "engine", "memory_bytes": 70000000000}]', '', now()
FROM generate_series(0, %(gpus)s - 1) AS g
"""


def seed(connection: psycopg.Connection) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO jobs_project (id, name, created_at, webhook_url, webhook_secret)"
            " VALUES (%s, %s, now(), '', '')",
            list(PROJECTS.items()),
        )
        cursor.executemany(
            "INSERT INTO jobs_servedmodel (id, name, aliases, source, engine_args, upstream_url,"
            " upstream_model, upstream_key_env, upstream_concurrency, enabled, created_at)"
            " VALUES (%s, %s, '{}', '/models/' || %s, '', '', '', '', 64, true, now())",
            [(pk, name, name) for pk, name in MODELS.items()],
        )
    connection.execute(_PEOPLE)
    connection.execute(_MEMBERSHIPS, [TINY])
    connection.execute(_WORKERS)
    for statement in (_LANES, _LANE_MODELS, _GPUS):
        connection.execute(statement, {"gpus": GPUS})
