"""Setting a batch to work once its lines are there."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import connection, transaction

from jobs.models import Batch, ServedModel
from jobs.prefix_order import PrefixOrder
from jobs.services.chunks import CHUNK_BYTES, CHUNK_LINES
from jobs.services.lanes import kick_lanes
from jobs.services.transitions import move_batch
from jobs.states import BatchState, RequestOrder

ANALYZE_FROM_LINES = 1_000


class ChunkRange(NamedTuple):
    """A chunk that is yet to be made; see `Chunk` for the meaning of each field."""

    first: int
    last: int
    positions: list[int] | None


class ChunkRanges:
    """Cuts lines, told one after the other in the order of the file, into chunks."""

    def __init__(self, *, request_order: str) -> None:
        self._sizes = array("I")
        self._prefixes = PrefixOrder() if request_order == RequestOrder.AUTO else None

    @property
    def total(self) -> int:
        return len(self._sizes)

    def add(self, *, body_bytes: int, prompt: str = "", seed: int = 0) -> None:
        """Take the line at the next position; `seed` as in `PrefixOrder`."""
        self._sizes.append(body_bytes)
        if self._prefixes is not None:
            self._prefixes.add(prompt, seed=seed)

    def finish(self) -> list[ChunkRange]:
        """Return the chunks, in the order in which they are to run."""
        order = None if self._prefixes is None else self._prefixes.finish()
        chunks: list[ChunkRange] = []
        first = size = 0
        for place in range(self.total):
            size += self._sizes[place if order is None else order[place]]
            is_full = place - first + 1 >= CHUNK_LINES or size >= CHUNK_BYTES
            if is_full or place == self.total - 1:
                named = None if order is None else order[first : place + 1].tolist()
                chunks.append(ChunkRange(first, place, named))
                first, size = place + 1, 0
        return chunks


def start_batch(
    *,
    batch: Batch,
    chunks: Sequence[ChunkRange],
    total: int,
    model: ServedModel,
    model_name: str,
    **fields: Any,
) -> bool:
    """Make the chunks, move the batch to `in_progress` and ring the lanes.

    In the transaction that made the lines. False if it is not validating any more: then the
    transaction must not be committed.
    """
    _copy_chunks(batch, chunks)
    moved = move_batch(
        batch=batch,
        old=BatchState.VALIDATING,
        new=BatchState.IN_PROGRESS,
        total=total,
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


def _copy_chunks(batch: Batch, chunks: Sequence[ChunkRange]) -> None:
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY jobs_chunk (batch_id, first_position, last_position, positions, state, attempt) "
            "FROM STDIN"
        ) as copy,
    ):
        for chunk in chunks:
            copy.write_row((batch.pk, *chunk, "open", 0))
