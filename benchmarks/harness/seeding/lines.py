"""The lines of the planned batches and their answers."""

from __future__ import annotations

import psycopg

# A plain prompt, a long one, one from right to left, one with emoji, one with code. The batches
# of 400 lines have all the same: an evaluation that is run again and again, to be compared.
_REQUESTS = """
INSERT INTO jobs_batchrequest (id, batch_id, line, position, custom_id, body, prompt_text,
    prompt_sha256)
SELECT id, n, position + 1, position, format('request-%%s-%%s', evaluation, position),
    convert_to(json_build_object(
        'model', coalesce(model_name, 'gone/model-7b'), 'max_tokens', 256,
        'messages', json_build_array(json_build_object('role', 'user', 'content', prompt))
    )::text, 'UTF8'),
    prompt, sha256(convert_to(prompt, 'UTF8'))
FROM (
    SELECT plan.n, position, first_id + position AS id, model.name AS model_name, evaluation,
        CASE key %% 5
            WHEN 0 THEN 'What is the plan for case '
            WHEN 1 THEN repeat('Read this passage and say what it is about. ', 8)
            WHEN 2 THEN 'ما هو ملخص هذا النص؟ שלום עולם '
            WHEN 3 THEN '🧪 Translate 🇩🇪 into 🇫🇷: 👩‍👩‍👧 '
            ELSE E'def f(x):\n    return x + 1\n# explain <script>alert(1)</script> '
        END || md5(key::text) AS prompt
    FROM plan
    CROSS JOIN LATERAL generate_series(0, plan.total - 1) AS position
    CROSS JOIN LATERAL (SELECT CASE WHEN plan.total = 400 THEN position
        ELSE (1000 + first_id + position)::bigint END AS key,
        CASE WHEN plan.total = 400 THEN 0 ELSE plan.n END AS evaluation) AS asked
    LEFT JOIN jobs_servedmodel AS model ON model.id = plan.model_id
) AS line
"""

# Of a batch with errors each tenth answer is one; what an expired batch did not come to is one
# too. Each 5,000th answer, and the first of the largest batch, has 100 KB.
_RESPONSES = """
INSERT INTO jobs_batchresponse (request_id, batch_id, seq, ok, status_code, body, text,
    finish_reason, input_tokens, cached_tokens, output_tokens, reasoning_tokens, latency_ms,
    error_code, error_message, lane_id, created_at)
SELECT id, n, position + 1, ok,
    CASE WHEN ok THEN 200 WHEN late THEN NULL ELSE 400 END,
    CASE WHEN late THEN '' ELSE convert_to(CASE WHEN ok THEN json_build_object(
            'id', 'chatcmpl-' || md5(id::text), 'object', 'chat.completion',
            'choices', json_build_array(json_build_object('index', 0,
                'message', json_build_object('role', 'assistant', 'content', answer),
                'finish_reason', CASE WHEN id %% 20 = 0 THEN 'length' ELSE 'stop' END)),
            'usage', json_build_object('prompt_tokens', 40, 'completion_tokens', 128))
        ELSE json_build_object('error', json_build_object('code', 'context_length_exceeded',
            'message', 'The prompt is too long.')) END::text, 'UTF8') END,
    CASE WHEN ok THEN answer ELSE '' END,
    CASE WHEN NOT ok THEN '' WHEN id %% 20 = 0 THEN 'length' ELSE 'stop' END,
    CASE WHEN ok THEN 30 + id %% 40 ELSE 0 END, 0,
    CASE WHEN ok THEN length(answer) / 4 ELSE 0 END, 0,
    CASE WHEN late THEN NULL ELSE 200 + id %% 4000 END,
    CASE WHEN ok THEN '' WHEN late THEN 'batch_expired' ELSE 'context_length_exceeded' END,
    CASE WHEN ok THEN '' WHEN late THEN 'The batch expired before this line was answered.'
        ELSE 'The prompt is too long.' END,
    1001 + n %% 4, least(now(), created_at + interval '20 s' + position * interval '0.05 s')
FROM (
    SELECT *, NOT late AND NOT (has_errors AND pg_temp.dice(id, 9, 10) = 0) AS ok,
        CASE WHEN id %% 5000 = 1 OR (rank = -100 AND position = 0) THEN
            (SELECT string_agg(md5((id * 4000 + part)::text), ' ')
            FROM generate_series(1, 3100) AS part)
        ELSE (ARRAY['The answer is ', 'الجواب هو ', '✅ Done 🎉 ', E'1. one\n2. two\n',
            'I cannot say more of it than '])[1 + id %% 5] || md5(id::text) || ' '
            || repeat('and so it goes on for a while, ', 1 + (id %% 12)::int)
        END AS answer
    FROM (
        SELECT n, rank, position, created_at, has_errors, (first_id + position)::bigint AS id,
            state = 'expired' AND position >= answered AS late
        FROM plan CROSS JOIN LATERAL generate_series(
            0, CASE WHEN state = 'expired' THEN total ELSE answered END - 1) AS position
    ) AS line
) AS line
"""

# As curation's indexer writes them, the oldest first.
_SEARCH = """
INSERT INTO curation_responsesearch (response_id, batch_id, project_id, model_name, custom_id,
    ok, finish_reason, error_code, output_tokens, prompt_sha256, answered_at, document)
SELECT answer.request_id, answer.batch_id, batch.project_id, batch.model_name, line.custom_id,
    answer.ok, answer.finish_reason, answer.error_code, answer.output_tokens,
    line.prompt_sha256, answer.created_at,
    to_tsvector('simple', left(concat_ws(' ', line.custom_id, line.prompt_text, answer.text,
        answer.error_message), 65536))
FROM jobs_batchresponse AS answer
JOIN jobs_batchrequest AS line ON line.id = answer.request_id
JOIN jobs_batch AS batch ON batch.id = answer.batch_id
ORDER BY answer.created_at, answer.request_id
"""
_PROGRESS = """
INSERT INTO curation_searchprogress (batch_id, seq)
SELECT batch_id, max(seq) FROM jobs_batchresponse GROUP BY batch_id
"""


def seed_search(connection: psycopg.Connection) -> None:
    """Make the answers findable; the batches must be there."""
    indexes = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'curation_responsesearch'"
        " AND indexdef NOT LIKE '%UNIQUE%'"
    ).fetchall()
    # Made anew afterwards: several times as fast as row by row.
    for name, _ in indexes:
        connection.execute(f'DROP INDEX "{name}"')
    for statement in (_SEARCH, _PROGRESS):
        connection.execute(statement)
    for _, definition in indexes:
        connection.execute(definition)


def seed(connection: psycopg.Connection) -> None:
    for statement in (_REQUESTS, _RESPONSES):
        connection.execute(statement, {})
