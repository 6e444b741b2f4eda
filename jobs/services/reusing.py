"""Claiming lines, and answering at once those to which the answer is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jobs.answers import Answer
from jobs.services.chunks import ClaimedChunk, OpenLine, claim_chunks, read_open_lines
from jobs.services.hot import hot_cursor
from jobs.services.responses import Finished, commit_responses

# So many answers are read and committed at a time, and about so many bytes: they are held in
# memory meanwhile.
GROUP_LINES = 512
GROUP_BYTES = 8 * 1024 * 1024

# What is known of a batch that was deleted, or whose results are hidden, is not given out.
_KNOWN = """
SELECT k.key, a.request_id, octet_length(a.body)
FROM jobs_knownanswer k
JOIN jobs_batchresponse a ON a.request_id = k.response_id
JOIN jobs_batch b ON b.id = a.batch_id AND b.deleted_at IS NULL
JOIN jobs_storedfile f ON f.id = b.output_file_id AND f.deleted_at IS NULL
    AND (f.expires_at IS NULL OR f.expires_at > clock_timestamp())
WHERE k.project_id = %s AND k.key = ANY(%b)
"""
_ANSWERS = """
SELECT request_id, ok, status_code, body, text, finish_reason, input_tokens, cached_tokens,
    output_tokens, reasoning_tokens
FROM jobs_batchresponse WHERE request_id = ANY(%b)
"""


def claim_lines(
    *, lane_id: int, model_id: int, limit: int, engine: bytes = b""
) -> list[tuple[ClaimedChunk, list[OpenLine]]]:
    """Claim up to `limit` chunks and read the lines of each that are to be sent.

    With `engine`, as `engine_digest` gives it, lines whose answer it gave before are answered
    with that, and committed here. In one call: each visit to a lane's database thread waits for
    its busy loop twice.
    """
    chunks = claim_chunks(lane_id=lane_id, model_id=model_id, limit=limit)
    claimed = [(chunk, read_open_lines(chunk, engine=engine)) for chunk in chunks]
    answered: set[int] = set()
    for project_id in sorted({chunk.project_id for chunk in chunks}):
        of_project = [pair for pair in claimed if pair[0].project_id == project_id]
        answered |= _answer_known(lane_id, project_id, of_project)
    if not answered:
        return claimed
    return [
        (chunk, [line for line in lines if line.request_id not in answered])
        for chunk, lines in claimed
    ]


def _answer_known(
    lane_id: int, project_id: int, claimed: Sequence[tuple[ClaimedChunk, list[OpenLine]]]
) -> set[int]:
    """Commit the known answers to these lines; return the requests that have one now."""
    keys = {line.key for _, lines in claimed for line in lines if line.key is not None}
    if not keys:
        return set()
    with hot_cursor() as cursor:
        cursor.execute(_KNOWN, (project_id, list(keys)), prepare=False, binary=True)
        known = {key: (request_id, size) for key, request_id, size in cursor}
    if not known:
        return set()
    answered: set[int] = set()
    chunks = [chunk for chunk, _ in claimed]
    for group in _groups(claimed, known):
        finished = _copies(group, known)
        commit_responses(lane_id=lane_id, finished=finished, held=chunks, done=[])
        answered.update(item.request_id for item in finished)
    return answered


def _groups(
    claimed: Sequence[tuple[ClaimedChunk, list[OpenLine]]], known: dict[bytes, tuple[int, int]]
) -> Iterator[list[tuple[ClaimedChunk, OpenLine]]]:
    """Yield the lines whose answers are known, a group at a time."""
    group: list[tuple[ClaimedChunk, OpenLine]] = []
    group_bytes = 0
    for chunk, lines in claimed:
        for line in lines:
            found = known.get(line.key) if line.key is not None else None
            if found is None:
                continue
            group.append((chunk, line))
            group_bytes += found[1]
            if len(group) >= GROUP_LINES or group_bytes >= GROUP_BYTES:
                yield group
                group, group_bytes = [], 0
    if group:
        yield group


def _copies(
    group: Sequence[tuple[ClaimedChunk, OpenLine]], known: dict[bytes, tuple[int, int]]
) -> list[Finished]:
    """Return the lines with their answers; one that was just deleted is none."""
    sources = {known[line.key][0] for _, line in group if line.key is not None}
    with hot_cursor() as cursor:
        cursor.execute(_ANSWERS, (list(sources),), prepare=False, binary=True)
        answers = {row[0]: Answer(*row[1:]) for row in cursor}
    return [
        Finished(
            chunk=chunk,
            request_id=line.request_id,
            position=line.position,
            custom_id=line.custom_id,
            answer=answers[known[line.key][0]],
            latency_ms=None,
            reused=True,
        )
        for chunk, line in group
        if line.key is not None and known[line.key][0] in answers
    ]
