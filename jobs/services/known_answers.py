"""The answers that a project knows, by their keys: noting them and looking them up."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from jobs.answers import Answer
from jobs.services.hot import hot_cursor

_NOTE = """
INSERT INTO jobs_knownanswer (project_id, key, response_id)
SELECT * FROM unnest(%b::int8[], %b::bytea[], %b::int8[])
ON CONFLICT (project_id, key) DO UPDATE SET response_id = EXCLUDED.response_id
"""
# What stands in results that are hidden, as those of a deleted batch are, is not given out.
_FIND = """
SELECT k.key, a.request_id, octet_length(a.body)
FROM jobs_knownanswer k
JOIN jobs_batchresponse a ON a.request_id = k.response_id
JOIN jobs_batch b ON b.id = a.batch_id
JOIN jobs_storedfile f ON f.id = b.output_file_id AND f.deleted_at IS NULL
    AND (f.expires_at IS NULL OR f.expires_at > clock_timestamp())
WHERE k.project_id = %s AND k.key = ANY(%b)
"""
_READ = """
SELECT request_id, ok, status_code, body, text, finish_reason, input_tokens, cached_tokens,
    output_tokens, reasoning_tokens
FROM jobs_batchresponse WHERE request_id = ANY(%b)
"""


def note_answers(found: Mapping[tuple[int, bytes], int]) -> None:
    """Note by project and key the requests whose responses, just inserted, hold the answers.

    Where one was known already it could not be taken, or else this one had not been computed.
    """
    if not found:
        return
    # In one order for everybody: two lanes that note the same answers wait for each other.
    keys = sorted(found)
    with hot_cursor() as cursor:
        cursor.execute(
            _NOTE,
            ([project for project, _ in keys], [k for _, k in keys], [found[k] for k in keys]),
        )


def find_answers(*, project_id: int, keys: Collection[bytes]) -> dict[bytes, tuple[int, int]]:
    """Return the request in whose response an answer stands, and the answer's bytes, by key."""
    if not keys:
        return {}
    with hot_cursor() as cursor:
        cursor.execute(_FIND, (project_id, list(keys)), prepare=False, binary=True)
        return {key: (request_id, size) for key, request_id, size in cursor}


def read_answers(*, request_ids: Collection[int]) -> dict[int, Answer]:
    """Return the answers in the responses to these requests, as far as they are still there."""
    with hot_cursor() as cursor:
        cursor.execute(_READ, (list(request_ids),), prepare=False, binary=True)
        return {request_id: Answer(*fields) for request_id, *fields in cursor}
