"""Batches in every state, with their files, events, webhooks and what was done to them."""

from __future__ import annotations

import psycopg

# A number that looks random and is the same for the same n and salt.
_DICE = """
CREATE FUNCTION pg_temp.dice(n bigint, salt int, sides int) RETURNS int LANGUAGE sql IMMUTABLE
AS 'SELECT abs(hashint8extended(n, salt) % sides)::int'
"""

# What is to become of each batch, from which all rows follow. `rank` counts the live ones from
# the oldest; `first_id` is the id of the first line. One ended batch has a tenth of all lines,
# one that runs a fiftieth; one of 500 has 400 lines, the others a few.
_PLAN = """
CREATE TEMP TABLE plan AS
WITH aged AS (
    SELECT n, n - (%(batches)s - %(live)s) - 1 AS rank,
        now() - (%(batches)s - n + 1) * (interval '300 days' / %(batches)s) AS created_at
    FROM generate_series(1, %(batches)s) AS n
), stated AS (
    SELECT *, CASE
        WHEN rank >= %(live)s - %(live)s / 80 THEN 'validating'
        WHEN rank BETWEEN 8 AND 11 THEN 'finalizing'
        WHEN rank BETWEEN 12 AND 15 THEN 'cancelling'
        WHEN rank >= 0 THEN 'in_progress'
        WHEN rank = -100 THEN 'completed'
        WHEN pg_temp.dice(n, 1, 1000) < 25 THEN 'failed'
        WHEN pg_temp.dice(n, 1, 1000) < 50 THEN 'cancelled'
        WHEN pg_temp.dice(n, 1, 1000) < 75 THEN 'expired'
        ELSE 'completed' END AS state,
        rank BETWEEN 0 AND 7 AS running,
        rank > 15 AND rank %% 40 = 25 AS paused,
        rank = -100 OR pg_temp.dice(n, 2, 9) = 0 AS has_errors
    FROM aged
), sized AS (
    SELECT *, CASE
        WHEN state IN ('failed', 'validating') THEN 0
        WHEN rank = -100 THEN %(responses)s / 10
        WHEN rank = 0 THEN %(responses)s / 50
        WHEN running THEN 250
        WHEN n %% 500 = 7 THEN 400
        ELSE 1 + pg_temp.dice(n, 3, %(spread)s) END AS total
    FROM stated
)
SELECT *, sum(total) OVER (ORDER BY n) - total + 1 AS first_id,
    CASE WHEN state IN ('completed', 'finalizing') THEN total
        WHEN state IN ('cancelled', 'expired', 'cancelling') OR running THEN (total + 1) / 2
        WHEN paused THEN total / 3
        ELSE 0 END AS answered,
    CASE WHEN rank = -100 OR running THEN 1001
        WHEN n %% 10000 = 77 OR rank = -101 THEN 1005
        WHEN pg_temp.dice(n, 4, 20) < 13 THEN 1001
        ELSE 1002 + pg_temp.dice(n, 5, 3) END AS project_id,
    CASE WHEN rank >= 0 THEN 1001 + pg_temp.dice(n, 6, 4)
        WHEN pg_temp.dice(n, 7, 50) = 0 THEN NULL
        ELSE 1001 + pg_temp.dice(n, 8, 8) END AS model_id
FROM sized
"""

# Once ended, `ended_at`; the moments between follow from it.
_BATCHES = """
INSERT INTO jobs_batch (id, public_id, project_id, state, endpoint, completion_window, metadata,
    priority, webhook_url, input_file_public_id, input_file_id, output_file_id, error_file_id,
    model_name, model_id, findings, validation_error, created_at, expires_at, in_progress_at,
    finalizing_at, completed_at, failed_at, expired_at, cancelling_at, cancelled_at, paused_at,
    ended_at, parent_id, total, completed, failed, input_tokens, cached_tokens, output_tokens,
    reasoning_tokens, output_bytes, error_bytes, last_seq, estimated_tokens, first_response_at,
    last_response_at, create_digest)
SELECT n, 'batch_' || md5(n::text), project_id, state, '/v1/chat/completions', '24h',
    CASE n %% 5
        WHEN 0 THEN NULL
        WHEN 1 THEN jsonb_build_object('name', 'مراجعة الجودة ' || n, 'team', 'لغات')
        WHEN 2 THEN jsonb_build_object('name', '🌙 nightly ' || n, 'run', n::text)
        ELSE jsonb_build_object('name', 'evaluation ' || n, 'commit', md5(n::text)) END,
    CASE WHEN n %% 17 = 0 THEN 1 WHEN n %% 19 = 0 THEN -1 ELSE 0 END,
    CASE WHEN n %% 10 = 3 THEN 'https://hooks.example.com/' || n ELSE '' END,
    'file-' || md5('input' || n), n * 3,
    CASE WHEN sums.completed > 0 AND ended_at IS NOT NULL THEN n * 3 + 1 END,
    CASE WHEN sums.failed > 0 AND ended_at IS NOT NULL THEN n * 3 + 2 END,
    coalesce(model.name, 'gone/model-7b'), model.id,
    CASE WHEN state = 'failed' THEN (
        SELECT jsonb_agg(jsonb_build_object('code', 'invalid_json_line', 'line', line,
            'param', NULL, 'message', 'This line is not parseable as valid JSON.'))
        FROM generate_series(1, 1 + n %% 20) AS line) ELSE '[]' END,
    '', plan.created_at, expires_at,
    CASE WHEN state NOT IN ('failed', 'validating') THEN plan.created_at + interval '5 s' END,
    CASE WHEN state = 'finalizing' THEN now() WHEN state = 'completed' THEN ended_at END,
    CASE WHEN state = 'completed' THEN ended_at END,
    CASE WHEN state = 'failed' THEN ended_at END,
    CASE WHEN state = 'expired' THEN ended_at END,
    CASE WHEN state = 'cancelling' THEN now() WHEN state = 'cancelled' THEN ended_at END,
    CASE WHEN state = 'cancelled' THEN ended_at END,
    CASE WHEN paused THEN now() - interval '1 hour' END,
    ended_at,
    CASE WHEN n %% 101 = 0 AND rank < 0 THEN n - 50 END,
    total, coalesce(sums.completed, 0), coalesce(sums.failed, 0),
    coalesce(sums.input_tokens, 0), 0, coalesce(sums.output_tokens, 0), 0,
    coalesce(sums.output_bytes, 0), coalesce(sums.error_bytes, 0),
    coalesce(sums.completed + sums.failed, 0), total * 300, sums.first_at, sums.last_at,
    sha256(int8send(n::bigint))
FROM (
    SELECT *, CASE WHEN rank < 0 THEN created_at + interval '3 minutes' + total * interval '0.05 s'
            END AS ended_at,
        CASE WHEN rank < 0 THEN created_at + interval '1 day' ELSE now() + interval '7 days'
            END AS expires_at
    FROM plan
) AS plan
LEFT JOIN jobs_servedmodel AS model ON model.id = plan.model_id
LEFT JOIN (
    SELECT batch_id, count(*) FILTER (WHERE ok) AS completed,
        count(*) FILTER (WHERE NOT ok) AS failed, sum(input_tokens) AS input_tokens,
        sum(output_tokens) AS output_tokens,
        sum(octet_length(body)) FILTER (WHERE ok) AS output_bytes,
        sum(octet_length(body)) FILTER (WHERE NOT ok) AS error_bytes,
        min(created_at) AS first_at, max(created_at) AS last_at
    FROM jobs_batchresponse GROUP BY batch_id
) AS sums ON sums.batch_id = plan.n
ORDER BY n
"""

_FILES = """
INSERT INTO jobs_storedfile (id, public_id, project_id, purpose, filename, bytes, paths,
    created_at)
SELECT input_file_id, input_file_public_id, project_id, 'batch', 'requests.jsonl', total * 400,
    '{}'::varchar[], created_at FROM jobs_batch
UNION ALL
SELECT output_file_id, 'file-' || md5('output' || id), project_id, 'batch_output',
    public_id || '_output.jsonl', 0, '{}', ended_at
FROM jobs_batch WHERE output_file_id IS NOT NULL
UNION ALL
SELECT error_file_id, 'file-' || md5('error' || id), project_id, 'batch_output',
    public_id || '_error.jsonl', 0, '{}', ended_at
FROM jobs_batch WHERE error_file_id IS NOT NULL
"""
_CHUNKS = """
INSERT INTO jobs_chunk (batch_id, first_position, last_position, state, owner_id, lease_until,
    attempt)
SELECT n, CASE WHEN running OR paused THEN answered ELSE 0 END, total - 1,
    CASE WHEN running THEN 'claimed' ELSE 'open' END,
    CASE WHEN running THEN 1001 + rank %% 4 END,
    CASE WHEN running THEN now() + interval '15 s' END, running::int
FROM plan WHERE state = 'in_progress' AND total > 0
"""
_EVENTS = """
INSERT INTO jobs_batchevent (id, batch_id, old_state, new_state, kind, reason, created_at,
    announced_at)
SELECT row_number() OVER (ORDER BY told.at, told.batch_id), batch_id, old_state, new_state,
    'moved', '', at, at
FROM (
    SELECT id AS batch_id, '' AS old_state, 'validating' AS new_state, created_at AS at
    FROM jobs_batch
    UNION ALL
    SELECT id, 'validating', 'in_progress', in_progress_at
    FROM jobs_batch WHERE in_progress_at IS NOT NULL
    UNION ALL
    SELECT id, 'in_progress', 'finalizing', finalizing_at
    FROM jobs_batch WHERE finalizing_at IS NOT NULL
    UNION ALL
    SELECT id, 'finalizing', state, ended_at + interval '1 ms'
    FROM jobs_batch WHERE ended_at IS NOT NULL
) AS told
"""
_DELIVERIES = """
INSERT INTO jobs_webhookdelivery (id, public_id, batch_id, event_id, type, url, payload, state,
    attempts, next_at, replayed_after, last_error, created_at, delivered_at)
SELECT event.id, 'evt_' || md5(event.id::text), batch.id, event.id, 'batch.' || batch.state,
    batch.webhook_url, '{}',
    CASE WHEN batch.id %% 400 = 3 THEN 'dead' ELSE 'delivered' END,
    CASE WHEN batch.id %% 400 = 3 THEN 8 ELSE 1 END, event.created_at, 0,
    CASE WHEN batch.id %% 400 = 3 THEN 'The server answered 500.' ELSE '' END, event.created_at,
    CASE WHEN batch.id %% 400 <> 3 THEN event.created_at END
FROM jobs_batch AS batch
JOIN jobs_batchevent AS event ON event.batch_id = batch.id AND event.new_state = batch.state
WHERE batch.webhook_url <> '' AND batch.ended_at IS NOT NULL
"""
_TRIES = """
INSERT INTO jobs_webhookattempt (delivery_id, number, status_code, error, duration_ms, created_at)
SELECT id, number, CASE WHEN state = 'dead' THEN 500 ELSE 200 END, '', 40, created_at
FROM jobs_webhookdelivery, generate_series(1, attempts) AS number
"""
_AUDIT = """
INSERT INTO jobs_auditentry (created_at, actor, user_id, project_id, action, target, details)
SELECT created_at, 'everywhere', 1002, project_id, 'batch.cancel', public_id, '{}'
FROM jobs_batch WHERE state = 'cancelled' OR id %% 8 = 0
"""


def plan(connection: psycopg.Connection, *, batch_count: int, response_count: int) -> None:
    """Decide what each batch is; its lines come next, then the batch with what they add up to."""
    connection.execute(_DICE)
    sizes = {
        "batches": batch_count,
        "live": max(120, batch_count * 12 // 1000),
        "responses": response_count,
        # The small ones are to have seven tenths of the answers.
        "spread": max(2, -(-response_count * 7 // 10 * 2 // batch_count)),
    }
    connection.execute(_PLAN, sizes)
    connection.execute("CREATE INDEX ON plan (n)")
    connection.execute("ANALYZE plan")


def seed(connection: psycopg.Connection) -> None:
    for statement in (_BATCHES, _FILES, _CHUNKS, _EVENTS, _DELIVERIES, _TRIES, _AUDIT):
        connection.execute(statement, {})
