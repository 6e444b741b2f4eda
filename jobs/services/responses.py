"""Committing finished requests, in groups, each response once and for ever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import structlog
from django.db import DatabaseError, DataError, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from msgspec import Struct
from msgspec.structs import replace

from jobs.answers import Answer, failure, is_whole
from jobs.models import Batch, Chunk, Suspect
from jobs.result_lines import result_line
from jobs.services.chunks import ClaimedChunk, release_chunks, renew_chunks
from jobs.services.hot import hot_cursor
from jobs.services.result_files import create_result_files
from jobs.services.transitions import move_batch
from jobs.states import BatchState

log = structlog.get_logger()


class Answered(Struct, frozen=True, kw_only=True):
    """A request that has its answer.

    `reused` says that it was computed for an equal line. With `key`, equal lines may have it too.
    """

    request_id: int
    position: int
    custom_id: str
    answer: Answer
    latency_ms: int | None
    reused: bool = False
    key: bytes | None = None


_Row = TypeVar("_Row", bound=Answered)


class Finished(Answered, frozen=True, kw_only=True):
    """One that a lane answered, and the claim under which it was worked on."""

    chunk: ClaimedChunk


@dataclass(slots=True)
class Committed:
    """What a commit found: which claims still hold, and which batches are to go on."""

    held: set[tuple[int, int]] = field(default_factory=set)
    going_on: set[int] = field(default_factory=set)


# Rows go by binary COPY into a table of this connection alone, and from there into their own:
# COPY itself knows no ON CONFLICT, and arrays as parameters cost the lane far more time.
_STAGING = """
CREATE TEMPORARY TABLE IF NOT EXISTS staged_response (LIKE jobs_batchresponse)
ON COMMIT DELETE ROWS
"""
_COLUMNS = {
    "request_id": "int8",
    "batch_id": "int8",
    "seq": "int8",
    "ok": "bool",
    "status_code": "int2",
    "body": "bytea",
    "text": "text",
    "finish_reason": "text",
    "input_tokens": "int4",
    "cached_tokens": "int4",
    "output_tokens": "int4",
    "reasoning_tokens": "int4",
    "latency_ms": "int4",
    "reused": "bool",
    "error_code": "text",
    "error_message": "text",
    "lane_id": "int8",
    "created_at": "timestamptz",
}
_COPY = f"COPY staged_response ({', '.join(_COLUMNS)}) FROM STDIN (FORMAT BINARY)"
_INSERT = f"""
INSERT INTO jobs_batchresponse ({", ".join(_COLUMNS)})
SELECT {", ".join(_COLUMNS)} FROM staged_response WHERE batch_id = %s
ON CONFLICT (request_id) DO NOTHING
RETURNING request_id
"""


def commit_responses(
    *,
    lane_id: int,
    finished: Sequence[Finished],
    held: Sequence[ClaimedChunk],
    done: Sequence[ClaimedChunk],
) -> Committed:
    """Insert the responses, move the counters by what was really inserted, renew the leases.

    `held` are all chunks of the lane (renewed), `done` those of them whose every line is
    answered with this group. Responses of a chunk that has been taken over, or of a batch that
    has ended, are dropped. A group that PostgreSQL refuses is split until the row that it
    refuses stands alone; that row becomes an error, the others are kept.
    """
    try:
        return _commit(lane_id=lane_id, finished=finished, held=held, done=done)
    except DatabaseError as error:
        if not finished or not _is_about_data(error):
            raise
        if len(finished) == 1:
            log.warning(
                "answer_refused_by_database",
                batch=finished[0].chunk.batch_public_id,
                request=finished[0].request_id,
            )
            answer = failure(
                "answer_not_storable", f"The answer could not be stored: {_first_line(error)}"
            )
            return _commit(
                lane_id=lane_id,
                finished=[replace(finished[0], answer=answer)],
                held=held,
                done=done,
            )
    middle = len(finished) // 2
    # Chunks count as done with the second half only: before it, lines of theirs may be open.
    commit_responses(lane_id=lane_id, finished=finished[:middle], held=held, done=[])
    return commit_responses(lane_id=lane_id, finished=finished[middle:], held=held, done=done)


def _commit(
    *,
    lane_id: int,
    finished: Sequence[Finished],
    held: Sequence[ClaimedChunk],
    done: Sequence[ClaimedChunk],
) -> Committed:
    result = Committed()
    batch_ids = sorted({chunk.batch_id for chunk in held})
    with transaction.atomic():
        # Batch rows first, in order, then chunks: every writer locks in this order. The lock
        # makes `seq` and the counters move together with the rows.
        batches = {
            batch.pk: batch
            for batch in Batch.objects.filter(pk__in=batch_ids)
            .order_by("pk")
            .select_for_update(no_key=True)
        }
        result.held = renew_chunks(held)
        going_on = {
            pk
            for pk, batch in batches.items()
            if batch.state in (BatchState.IN_PROGRESS, BatchState.CANCELLING)
        }
        rows = [
            item
            for item in finished
            if (item.chunk.id, item.chunk.attempt) in result.held
            and item.chunk.batch_id in going_on
        ]
        inserted: list[Finished] = []
        for batch_id in sorted({item.chunk.batch_id for item in rows}):
            inserted += insert_responses(
                lane_id=lane_id,
                batch=batches[batch_id],
                rows=[item for item in rows if item.chunk.batch_id == batch_id],
            )
        note_known_answers(inserted)
        if done:
            Chunk.objects.filter(
                pk__in=[chunk.id for chunk in done if (chunk.id, chunk.attempt) in result.held]
            ).update(state="done", lease_until=None)
        for batch_id in going_on:
            batch = batches[batch_id]
            if batch.state == BatchState.IN_PROGRESS and batch.answered == batch.total:
                finish_batch(batch)
        _give_back_paused(batches, held)
    result.going_on = {
        pk
        for pk, batch in batches.items()
        if batch.state == BatchState.IN_PROGRESS and batch.paused_at is None
    }
    return result


def _give_back_paused(batches: Mapping[int, Batch], held: Sequence[ClaimedChunk]) -> None:
    """Open the chunks of paused batches: their lane drops them with what this commit tells it.

    Once the batch goes on, they can be claimed at once, and not only after the lease.
    """
    paused = {
        pk
        for pk, batch in batches.items()
        if batch.state == BatchState.IN_PROGRESS and batch.paused_at is not None
    }
    if paused:
        release_chunks([chunk for chunk in held if chunk.batch_id in paused])


def finish_batch(batch: Batch) -> None:
    """Complete a batch whose every line has a response; the caller holds its lock.

    Results stream from the rows, so there is nothing to assemble and both steps go at once.
    """
    if move_batch(batch=batch, old=BatchState.IN_PROGRESS, new=BatchState.FINALIZING):
        move_batch(batch=batch, old=BatchState.FINALIZING, new=BatchState.COMPLETED)
        batch.state = BatchState.COMPLETED
        Chunk.objects.filter(batch=batch).delete()
        Suspect.objects.filter(batch=batch).delete()


def insert_responses(*, lane_id: int | None, batch: Batch, rows: Sequence[_Row]) -> list[_Row]:
    """Insert the rows of one batch and add to its row what was really inserted; return that.

    The caller holds the lock of the batch's row.
    """
    first_seq = batch.last_seq + 1
    now = timezone.now()
    with hot_cursor() as cursor:
        cursor.execute(_STAGING)
        with cursor.copy(_COPY) as copy:
            copy.set_types(list(_COLUMNS.values()))
            for seq, item in enumerate(rows, first_seq):
                answer = item.answer
                copy.write_row(
                    (
                        item.request_id,
                        batch.pk,
                        seq,
                        answer.ok,
                        answer.status_code,
                        answer.body,
                        answer.text,
                        answer.finish_reason,
                        answer.input_tokens,
                        answer.cached_tokens,
                        answer.output_tokens,
                        answer.reasoning_tokens,
                        item.latency_ms,
                        item.reused,
                        answer.error_code,
                        answer.error_message,
                        None if item.reused else lane_id,
                        now,
                    )
                )
        cursor.execute(_INSERT, [batch.pk])
        inserted = {row[0] for row in cursor}
    # Each row counts once, although two answers to one request may stand in the group.
    new = [item for item in rows if item.request_id in inserted]
    new = list({item.request_id: item for item in reversed(new)}.values())[::-1]
    if not new:
        return []
    good = [item for item in new if item.answer.ok]
    bad = [item for item in new if not item.answer.ok]
    create_result_files(batch=batch, has_output=bool(good), has_errors=bool(bad))
    batch.last_seq = first_seq + len(rows) - 1
    batch.completed += len(good)
    batch.failed += len(bad)
    batch.input_tokens += sum(item.answer.input_tokens for item in new)
    batch.cached_tokens += sum(item.answer.cached_tokens for item in new)
    batch.output_tokens += sum(item.answer.output_tokens for item in new)
    batch.reasoning_tokens += sum(item.answer.reasoning_tokens for item in new)
    reused = [item for item in new if item.reused]
    batch.reused += len(reused)
    batch.reused_input_tokens += sum(item.answer.input_tokens for item in reused)
    batch.reused_output_tokens += sum(item.answer.output_tokens for item in reused)
    batch.output_bytes += sum(len(_line(batch, item)) for item in good)
    batch.error_bytes += sum(len(_line(batch, item)) for item in bad)
    Batch.objects.filter(pk=batch.pk).update(
        output_file=batch.output_file_id,
        error_file=batch.error_file_id,
        last_seq=batch.last_seq,
        completed=batch.completed,
        failed=batch.failed,
        input_tokens=batch.input_tokens,
        cached_tokens=batch.cached_tokens,
        output_tokens=batch.output_tokens,
        reasoning_tokens=batch.reasoning_tokens,
        reused=batch.reused,
        reused_input_tokens=batch.reused_input_tokens,
        reused_output_tokens=batch.reused_output_tokens,
        output_bytes=batch.output_bytes,
        error_bytes=batch.error_bytes,
        last_response_at=Now(),
        first_response_at=F("first_response_at") if batch.first_response_at else Now(),
    )
    return new


_KNOWN = """
INSERT INTO jobs_knownanswer (project_id, key, response_id)
SELECT * FROM unnest(%b::int8[], %b::bytea[], %b::int8[])
ON CONFLICT (project_id, key) DO UPDATE SET response_id = EXCLUDED.response_id
"""


def note_known_answers(rows: Sequence[Finished]) -> None:
    """Note which of the rows just inserted hold the answers to equal lines.

    Where one was known already it could not be taken, or else none of these had been computed.
    """
    found = {
        (item.chunk.project_id, item.key): item.request_id
        for item in reversed(rows)
        if item.key is not None and is_whole(item.answer)
    }
    if not found:
        return
    # In one order for everybody: two lanes that note the same answers wait for each other.
    keys = sorted(found)
    with hot_cursor() as cursor:
        cursor.execute(
            _KNOWN,
            ([project for project, _ in keys], [k for _, k in keys], [found[k] for k in keys]),
            binary=True,
        )


def _line(batch: Batch, item: Answered) -> bytes:
    return result_line(
        batch_public_id=batch.public_id,
        position=item.position,
        custom_id=item.custom_id,
        status_code=item.answer.status_code,
        body=item.answer.body,
        error_code=item.answer.error_code,
        error_message=item.answer.error_message,
    )


def _is_about_data(error: DatabaseError) -> bool:
    """Tell a value that PostgreSQL refuses from a server that is away.

    SQLSTATE class 54 is a limit of the server that a value exceeds, such as an index row's.
    """
    sqlstate = getattr(error.__cause__, "sqlstate", None) or ""
    return isinstance(error, DataError) or sqlstate.startswith(("22", "54"))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
