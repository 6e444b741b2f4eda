"""What must hold of every batch at every moment, read from the tables."""

from __future__ import annotations

import json
from typing import Any

from django.db import connection

from jobs.models import Batch, Chunk, StoredFile, Suspect
from jobs.services.files import read_content
from jobs.states import ENDED_STATES, NEXT_STATES, BatchState

_SUMS = """
SELECT b.id, count(a.*) FILTER (WHERE a.ok), count(a.*) FILTER (WHERE NOT a.ok),
    count(DISTINCT a.seq), coalesce(max(a.seq), 0), coalesce(sum(a.input_tokens), 0),
    coalesce(sum(a.output_tokens), 0), count(a.*) FILTER (WHERE a.reused),
    coalesce(sum(a.output_tokens) FILTER (WHERE a.reused), 0)
FROM jobs_batch b LEFT JOIN jobs_batchresponse a ON a.batch_id = b.id
WHERE b.deleted_at IS NULL GROUP BY b.id
"""
_FOREIGN = """
SELECT count(*) FROM jobs_batchresponse a LEFT JOIN jobs_batchrequest r ON r.id = a.request_id
JOIN jobs_batch b ON b.id = a.batch_id
WHERE b.deleted_at IS NULL AND r.batch_id IS DISTINCT FROM a.batch_id
"""
# Taken over for a line that is not answered alike each time, or not a good answer.
_NOT_SHARED = """
SELECT count(*) FROM jobs_batchresponse a JOIN jobs_batchrequest r ON r.id = a.request_id
WHERE a.reused AND (r.body_sha256 IS NULL OR NOT a.ok)
"""
_DANGLING = """
SELECT count(*) FROM jobs_knownanswer k
LEFT JOIN jobs_batchresponse a ON a.request_id = k.response_id AND a.ok
LEFT JOIN jobs_batch b ON b.id = a.batch_id AND b.project_id = k.project_id
WHERE b.id IS NULL
"""


def check_tables() -> None:
    """Rows, counters, tokens, chunks and stories agree, for each batch that is not deleted."""
    batches = {batch.pk: batch for batch in Batch.objects.all()}
    for pk, good, bad, numbers, last, tokens_in, tokens_out, reused, saved in _rows(_SUMS):
        batch = batches[pk]
        assert (batch.completed, batch.failed) == (good, bad), "counters are not the rows"
        assert (batch.input_tokens, batch.output_tokens) == (tokens_in, tokens_out)
        assert (batch.reused, batch.reused_output_tokens) == (reused, saved), "savings"
        assert numbers == last == batch.last_seq, "seq has gaps or repeats"
        assert batch.answered <= batch.total
        _check_story(batch)
        chunks = Chunk.objects.filter(batch=batch)
        if batch.state in ENDED_STATES:
            assert batch.answered == batch.total or batch.state == BatchState.FAILED
            assert not chunks.exists(), "an ended batch has chunks"
            assert not Suspect.objects.filter(batch=batch).exists(), "it has suspects"
            assert batch.ended_at is not None
        elif batch.state == BatchState.IN_PROGRESS:
            _check_chunks(batch, list(chunks.order_by("first_position")))
    assert _rows(_FOREIGN) == [(0,)], "a response to another batch's request"
    assert _rows(_NOT_SHARED) == [(0,)], "an answer was taken over that could not be"
    assert _rows(_DANGLING) == [(0,)], "an answer is known that is not there"


def check_files(batch: Batch) -> None:
    """Both result files stream what the counters say, each custom_id once over the two."""
    names: list[str] = []
    for file, size, count in (
        (batch.output_file, batch.output_bytes, batch.completed),
        (batch.error_file, batch.error_bytes, batch.failed),
    ):
        if file is None:
            assert not count
            continue
        content = b"".join(read_content(stored=StoredFile.objects.get(pk=file.pk)).chunks)
        lines = [json.loads(line) for line in content.splitlines()]
        assert len(content) == size, "the size is not the content's"
        assert len(lines) == count
        names += [line["custom_id"] for line in lines]
    assert len(set(names)) == len(names), "a custom_id stands twice"


def _check_story(batch: Batch) -> None:
    states = [""]
    for event in batch.events.filter(kind="moved").order_by("pk"):
        assert event.old_state == states[-1], "a broken chain of events"
        if event.old_state:
            assert event.new_state in NEXT_STATES[BatchState(event.old_state)]
        states.append(event.new_state)
    assert states[-1] == batch.state, "the last event is not the state"


def _check_chunks(batch: Batch, chunks: list[Chunk]) -> None:
    """All lines of a batch in progress are in one chunk each; what is done is answered."""
    expected = 0
    named: list[int] = []
    for chunk in chunks:
        assert chunk.first_position == expected, "a gap between chunks"
        if chunk.positions is None:
            named += range(chunk.first_position, chunk.last_position + 1)
        else:
            named += chunk.positions
        expected = chunk.last_position + 1
        assert (chunk.state == "claimed") == (chunk.lease_until is not None)
    assert chunks[-1].last_position >= batch.total - 1
    assert len(set(named)) == len(named), "a line in two chunks"


def _rows(query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())
