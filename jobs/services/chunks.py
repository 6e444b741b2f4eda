"""Claiming chunks of a model's batches, keeping them, and giving them back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.conf import settings
from django.db import connection
from msgspec import Struct

from jobs.answer_keys import answer_key
from jobs.services.hot import hot_cursor

# A chunk is what a lane claims at once: small enough that several lanes share a small batch and
# that little is claimed in vain, and bounded in bytes because its bodies are held in memory.
CHUNK_LINES = 128
CHUNK_BYTES = 4 * 1024 * 1024


class ClaimedChunk(Struct, frozen=True):
    """A chunk that this lane may work on as long as `attempt` is the chunk's present one."""

    id: int
    attempt: int
    batch_id: int
    batch_public_id: str
    project_id: int
    endpoint: str
    first_position: int
    last_position: int
    positions: list[int] | None


class OpenLine(Struct, frozen=True):
    """A request that has no response yet; `group_key` is set while it is a suspect.

    `key` is that of its answer (see `jobs.answer_keys`), where equal lines may share one.
    """

    request_id: int
    position: int
    custom_id: str
    body: bytes
    group_key: str | None
    key: bytes | None = None


# The batches come in order of priority and age, and of each only as many chunks as are wanted
# are looked at; sorting all open chunks of all batches would grow with the queue.
_CLAIM = """
WITH due AS (
    SELECT c.id
    FROM (
        SELECT b.id FROM jobs_batch b JOIN jobs_servedmodel m ON m.id = b.model_id AND m.enabled
        WHERE b.state = 'in_progress' AND b.model_id = %(model)s AND b.paused_at IS NULL
          AND b.expires_at > clock_timestamp()
        ORDER BY b.priority DESC, b.id
    ) b
    CROSS JOIN LATERAL (
        SELECT id FROM jobs_chunk
        WHERE batch_id = b.id AND state <> 'done'
          AND (state = 'open' OR lease_until < clock_timestamp())
        ORDER BY first_position
        LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED
    ) c
    LIMIT %(limit)s
)
UPDATE jobs_chunk c
SET state = 'claimed', owner_id = %(lane)s, attempt = c.attempt + 1,
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
FROM due, jobs_batch b
WHERE c.id = due.id AND b.id = c.batch_id
RETURNING c.id, c.attempt, c.batch_id, b.public_id, b.project_id, b.endpoint, c.first_position,
    c.last_position, c.positions, b.priority
"""


def claim_chunks(*, lane_id: int, model_id: int, limit: int) -> list[ClaimedChunk]:
    """Claim up to `limit` chunks of the model's live batches for one lease.

    Open chunks and those whose lease has run out are due, by the database's clock; the first
    lines of the oldest batch of the highest priority come first.
    """
    with hot_cursor() as cursor:
        cursor.execute(
            _CLAIM,
            {"model": model_id, "lane": lane_id, "limit": limit, "lease": settings.LEASE_S},
            prepare=False,
        )
        rows = cursor.fetchall()
    rows.sort(key=lambda row: (-row[9], row[2], row[6]))
    return [ClaimedChunk(*row[:9]) for row in rows]


_OPEN_LINES = """
SELECT r.id, r.position, r.custom_id, r.body, s.group_key, r.body_sha256
FROM jobs_batchrequest r
LEFT JOIN jobs_suspect s ON s.request_id = r.id
WHERE r.batch_id = %(batch)s AND {within}
  AND NOT EXISTS (SELECT FROM jobs_batchresponse a WHERE a.request_id = r.id)
ORDER BY r.position
"""
_IN_FILE_ORDER = _OPEN_LINES.format(within="r.position BETWEEN %(first)s AND %(last)s")
_NAMED = _OPEN_LINES.format(within="r.position = ANY(%(positions)s)")


def read_open_lines(chunk: ClaimedChunk, *, engine: bytes = b"") -> list[OpenLine]:
    """Return the lines of a chunk that have no response, in the order in which they are to run.

    They have keys where `engine`, as `engine_digest` gives it, is known.
    """
    query = _IN_FILE_ORDER
    params: dict[str, Any] = {"batch": chunk.batch_id}
    if chunk.positions is None:
        params |= {"first": chunk.first_position, "last": chunk.last_position}
    else:
        query, params["positions"] = _NAMED, chunk.positions
    with hot_cursor() as cursor:
        # Unprepared: a generic plan made while the response table was empty would walk all of
        # it for each chunk once it has grown.
        cursor.execute(query, params, prepare=False, binary=True)
        lines = [_open_line(engine, *row) for row in cursor]
    if chunk.positions is not None:
        place = {position: place for place, position in enumerate(chunk.positions)}
        lines.sort(key=lambda line: place[line.position])
    return lines


def _open_line(
    engine: bytes,
    request_id: int,
    position: int,
    custom_id: str,
    body: bytes,
    group_key: str | None,
    body_sha256: bytes | None,
) -> OpenLine:
    key = answer_key(engine, body_sha256) if engine and body_sha256 else None
    return OpenLine(request_id, position, custom_id, body, group_key, key)


def renew_chunks(chunks: Iterable[ClaimedChunk]) -> set[tuple[int, int]]:
    """Renew the leases of `chunks`; return (id, attempt) of those that are still ours."""
    held = list(chunks)
    with hot_cursor() as cursor:
        cursor.execute(
            """
            UPDATE jobs_chunk c
            SET lease_until = clock_timestamp() + make_interval(secs => %s)
            FROM unnest(%s::bigint[], %s::int[]) AS held(id, attempt)
            WHERE c.id = held.id AND c.attempt = held.attempt AND c.state = 'claimed'
            RETURNING c.id, c.attempt
            """,
            (settings.LEASE_S, [c.id for c in held], [c.attempt for c in held]),
        )
        return {(row[0], row[1]) for row in cursor}


def release_chunks(chunks: Sequence[ClaimedChunk]) -> None:
    """Give chunks back, so that any lane may claim them at once."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE jobs_chunk c SET state = 'open', owner_id = NULL, lease_until = NULL
            FROM unnest(%s::bigint[], %s::int[]) AS held(id, attempt)
            WHERE c.id = held.id AND c.attempt = held.attempt AND c.state = 'claimed'
            """,
            ([c.id for c in chunks], [c.attempt for c in chunks]),
        )


def release_lane(*, lane_id: int) -> None:
    """Give back all that a lane still holds, once its task is known to be gone.

    Safe also if the task is alive and was only silent: a claim that is not claimed any more
    cannot be renewed, so nothing is committed under it.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE jobs_chunk SET state = 'open', owner_id = NULL, lease_until = NULL
            WHERE owner_id = %s AND state = 'claimed'
            """,
            [lane_id],
        )
