"""Which lines of a batch are shown, found by what became of them or by their custom_id."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from jobs.models import Batch, BatchRequest, Chunk
from jobs.models.lines import CUT_REASONS
from jobs.states import ChunkState

# What becomes of a line: the word of the chip, and the condition.
SHOW: dict[str, tuple[str, Q]] = {
    "answered": ("answered", Q(batchresponse__ok=True)),
    "errors": ("errors", Q(batchresponse__ok=False)),
    "cut": ("cut", Q(batchresponse__finish_reason__in=CUT_REASONS)),
    "open": ("not answered", Q(batchresponse__isnull=True)),
}
CUSTOM_ID_MAX = 512
# With more left to do, the first of what is open is not far.
CHUNKS_MAX = 16


def lines_of(batch: Batch, show: str) -> QuerySet[BatchRequest]:
    """Return the lines of a batch that `show` names; all, if it names nothing."""
    lines = BatchRequest.objects.filter(batch=batch)
    if show == "open":
        lines = _perhaps_open(lines, batch)
    return lines.filter(SHOW[show][1]) if show in SHOW else lines


def _perhaps_open(lines: QuerySet[BatchRequest], batch: Batch) -> QuerySet[BatchRequest]:
    """Leave out lines that are all answered: those before the first chunk that is not done.

    Nobody has to be walked past a hundred thousand answers to the ten lines that are left. Where
    lines run in another order than that of the file, these are in the last chunks.
    """
    if batch.answered >= batch.total:
        return lines.none()
    to_do = Chunk.objects.filter(batch=batch).exclude(state=ChunkState.DONE)
    chunks = list(
        to_do.order_by("first_position").values_list("first_position", "positions")[
            : CHUNKS_MAX + 1
        ]
    )
    if not chunks:
        return lines
    if chunks[0][1] is None:
        return lines.filter(position__gte=chunks[0][0])
    if len(chunks) > CHUNKS_MAX:
        return lines
    return lines.filter(position__in=[position for _, named in chunks for position in named or ()])


def find_line(batch: Batch, custom_id: str) -> int | None:
    """Return the position of the line with this very custom_id."""
    if "\0" in custom_id or len(custom_id) > CUSTOM_ID_MAX:
        return None
    found = BatchRequest.objects.filter(batch=batch, custom_id=custom_id)
    return found.order_by("custom_id").values_list("position", flat=True).first()


def line_at(batch: Batch, position: int) -> QuerySet[BatchRequest]:
    """Return the line at a position, in an order that its unique index has.

    `first()` would put it into that of the primary key, along which the database may then look
    for it, through the lines of all batches.
    """
    return BatchRequest.objects.filter(batch=batch, position=position).order_by("position")
