"""Setting a batch to work once its lines are there."""

from __future__ import annotations

from typing import Any

from django.db import connection, transaction

from jobs.models import Batch, ServedModel
from jobs.services.chunks import CHUNK_BYTES, CHUNK_LINES
from jobs.services.lanes import kick_lanes
from jobs.services.transitions import move_batch
from jobs.states import BatchState

ANALYZE_FROM_LINES = 1_000


class ChunkRanges:
    """Cuts lines, told one after the other, into the ranges of positions of chunks."""

    def __init__(self) -> None:
        self.total = 0
        self._ranges: list[tuple[int, int]] = []
        self._first = self._bytes = 0

    def add(self, body_bytes: int) -> None:
        """Count the line at the next position, whose body has this size."""
        self.total += 1
        self._bytes += body_bytes
        if self.total - self._first >= CHUNK_LINES or self._bytes >= CHUNK_BYTES:
            self._cut()

    def finish(self) -> list[tuple[int, int]]:
        """Return the first and the last position of each chunk."""
        if self.total > self._first:
            self._cut()
        return self._ranges

    def _cut(self) -> None:
        self._ranges.append((self._first, self.total - 1))
        self._first, self._bytes = self.total, 0


def start_batch(
    *, batch: Batch, ranges: ChunkRanges, model: ServedModel, model_name: str, **fields: Any
) -> bool:
    """Make the chunks, move the batch to `in_progress` and ring the lanes.

    In the transaction that made the lines. False if it is not validating any more: then the
    transaction must not be committed.
    """
    _copy_chunks(batch, ranges.finish())
    moved = move_batch(
        batch=batch,
        old=BatchState.VALIDATING,
        new=BatchState.IN_PROGRESS,
        total=ranges.total,
        model=model,
        model_name=model_name,
        **fields,
    )
    if moved:
        transaction.on_commit(lambda: kick_lanes(model))
    return moved


def refresh_statistics(*, lines: int) -> None:
    """After many lines were made: without fresh statistics the planner takes them for few."""
    if lines >= ANALYZE_FROM_LINES:
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE jobs_batchrequest")


def _copy_chunks(batch: Batch, ranges: list[tuple[int, int]]) -> None:
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY jobs_chunk (batch_id, first_position, last_position, state, attempt) FROM STDIN"
        ) as copy,
    ):
        for first, last in ranges:
            copy.write_row((batch.pk, first, last, "open", 0))
