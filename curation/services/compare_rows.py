"""Answers of several sides joined row by row; what a side lacks is missing, never shifted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from curation.comparing import Place
from curation.services.compare_cells import (
    ANSWERED,
    CLAMP_CHARS,
    FAILED,
    OPEN,
    Cell,
    Side,
    fetch,
    make_cell,
    read_cells,
    read_facts,
)

PAGE_ROWS = 20
SLICE_ROWS = 250
# One request joins so many rows to find those that are asked for.
SCAN_ROWS = 500
# For what only a later batch has, so many of its rows are looked at in one statement; so many
# of them cost as much as joining one.
WINDOW_ROWS = 10_000
_CHEAP = 40


@dataclass(kw_only=True)
class Row:
    """A custom_id or a prompt, with a cell for each side; None is missing."""

    key: str
    place: Place
    cells: list[Cell | None]

    @property
    def answered(self) -> list[Cell]:
        return [cell for cell in self.cells if cell is not None and cell.state == ANSWERED]

    @property
    def is_different(self) -> bool:
        return len({cell.digest for cell in self.answered}) > 1

    @property
    def is_same(self) -> bool:
        answered = self.answered
        return len(answered) == len(self.cells) and not self.is_different

    @property
    def is_missing(self) -> bool:
        return any(cell is None or cell.state == OPEN for cell in self.cells)

    @property
    def is_failed(self) -> bool:
        return any(cell is not None and cell.state == FAILED for cell in self.cells)

    def is_shown(self, show: str) -> bool:
        return not show or bool(getattr(self, f"is_{show}"))


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Some rows and the place behind them, None at the end.

    `looked_at` is how many of the side's rows were looked at for them, `cost` how much work that
    was, in rows that are joined.
    """

    rows: list[Row]
    after: Place | None
    looked_at: int
    cost: int


@dataclass(frozen=True, kw_only=True)
class RowPage:
    """Rows in the order of the first side, then what only the others have.

    `next` is where the next page begins, None at the end; `looked_at` is how many rows were
    looked at for those that are asked for.
    """

    rows: list[Row]
    next: Place | None
    looked_at: int


def page_of_rows(
    sides: Sequence[Side],
    by: str,
    *,
    show: str = "",
    start: Place | None = None,
    size: int = PAGE_ROWS,
    scan: int = SCAN_ROWS,
) -> RowPage:
    """Return the rows from `start` on that `show` asks for; its texts are cut."""
    found: list[Row] = []
    looked_at = cost = 0
    after: Place | None = None
    for some in walk_rows(sides, by, start=start, slice_rows=SLICE_ROWS if show else size):
        shown = [row for row in some.rows if row.is_shown(show)]
        room = size - len(found)
        found += shown[:room]
        looked_at += some.looked_at
        cost += some.cost
        after = shown[room].place if len(shown) > room else some.after
        if len(shown) > room or len(found) == size or cost >= scan:
            break
    read_texts(found)
    return RowPage(rows=found, next=after, looked_at=looked_at)


def walk_rows(
    sides: Sequence[Side], by: str, *, start: Place | None = None, slice_rows: int = SLICE_ROWS
) -> Iterator[Slice]:
    """Yield slices of rows, each with the place behind it.

    The first side's rows come in their order; then those of the second that the first has not,
    and so on: each row comes once, whatever is missing where.
    """
    stage, number = start or (0, 0)
    while stage < len(sides):
        # Most of a later side's rows have come already, and so have many of a model's.
        limit = slice_rows if stage == 0 else max(slice_rows, SLICE_ROWS)
        entries, looked_at, following = _entries(sides, by, stage, number, limit)
        if following is not None:
            after: Place | None = Place(stage, following)
        else:
            after = Place(stage + 1, 0) if stage + 1 < len(sides) else None
        yield Slice(
            rows=_join(sides, by, stage, entries),
            after=after,
            looked_at=looked_at,
            cost=max(len(entries), looked_at // _CHEAP),
        )
        if after is None:
            return
        stage, number = after
        slice_rows = max(slice_rows, SLICE_ROWS)


def read_texts(rows: Sequence[Row], *, clamp: int | None = CLAMP_CHARS) -> None:
    """Read what is shown of the cells of these rows; with `clamp` None, whole."""
    read_cells([cell for row in rows for cell in row.cells if cell is not None], clamp=clamp)


def row_at(sides: Sequence[Side], by: str, place: Place) -> Row | None:
    """Return the row that stands at a place, None if none does."""
    if place.stage >= len(sides):
        return None
    entries, _, _ = _entries(sides, by, place.stage, place.number, 1)
    rows = _join(sides, by, place.stage, entries)
    return rows[0] if rows and rows[0].place == place else None


# (number, request, custom_id, prompt): of a batch the number is the position; of a model it
# counts down from the newest answer.
Entry = tuple[int, int, str, str]

_LATER = """SELECT position, id, custom_id, encode(prompt_sha256, 'hex')
FROM jobs_batchrequest AS line
WHERE batch_id = %s AND position >= %s AND position < %s {without} ORDER BY position LIMIT %s"""
_WITHOUT = {
    "custom_id": """AND NOT EXISTS (SELECT FROM jobs_batchrequest AS other
        WHERE other.batch_id = %s AND other.custom_id = line.custom_id)""",
    "prompt": """AND NOT EXISTS (SELECT FROM curation_responsesearch AS other
        WHERE other.batch_id = %s AND other.prompt_sha256 = line.prompt_sha256)""",
}
# A place is read from an address: 0 is the beginning, any other number an id.
_OWN_OF_MODEL = """SELECT id, response_id, custom_id, encode(prompt_sha256, 'hex')
FROM curation_responsesearch
WHERE model_name = %s AND project_id = %s AND (%s = 0 OR id <= %s) ORDER BY id DESC LIMIT %s"""


def _entries(
    sides: Sequence[Side], by: str, stage: int, number: int, limit: int
) -> tuple[list[Entry], int, int | None]:
    """Return a side's own rows from a number on, how many were looked at, and where to go on.

    Of what an earlier batch has, which comes with that, as much is left out as the database can.
    """
    side = sides[stage]
    if side.batch is None:
        params: list[Any] = [side.model_name, side.project_id, number, number, limit + 1]
        found: list[Entry] = fetch(_OWN_OF_MODEL, params)
        following = found[limit][0] if len(found) > limit else None
        return found[:limit], len(found[:limit]), following
    earlier = [one.batch.pk for one in sides[:stage] if one.batch is not None]
    end = number + (WINDOW_ROWS if earlier else limit + 1)
    query = _LATER.format(without=_WITHOUT[by] * len(earlier))
    found = fetch(query, [side.batch.pk, number, end, *earlier, limit + 1])
    following = end if end < side.batch.total else None
    if len(found) > limit:
        following = found[limit][0]
    looked_at = max(0, min(following or side.batch.total, side.batch.total) - number)
    return found[:limit], looked_at, following


def _join(sides: Sequence[Side], by: str, stage: int, entries: Sequence[Entry]) -> list[Row]:
    keys = list(
        dict.fromkeys(
            custom_id if by == "custom_id" else prompt for _, _, custom_id, prompt in entries
        )
    )
    if not keys:
        return []
    held = [_look_up(side, by, keys) for side in sides]
    seen: set[str] = set()
    walked: list[tuple[str, Place, list[int | None]]] = []
    for number, request, custom_id, prompt in entries:
        key = custom_id if by == "custom_id" else prompt
        # A row came before with an earlier side; or the side has the key in several rows, and
        # another of them speaks for it.
        if key in seen or any(key in one for one in held[:stage]):
            continue
        own = held[stage].get(key)
        if own is None and sides[stage].batch is None or own not in (None, request):
            continue
        seen.add(key)
        ids = [one.get(key) for one in held]
        ids[stage] = request
        walked.append((key, Place(stage, number), ids))
    wanted = [request for _, _, ids in walked for request in ids if request is not None]
    facts = read_facts(wanted)
    return [
        Row(
            key=key,
            place=place,
            cells=[
                make_cell(side, facts.get(one or 0)) for side, one in zip(sides, ids, strict=True)
            ],
        )
        for key, place, ids in walked
    ]


# Which request of a side speaks for a key. A custom_id stands once in a batch; of a prompt that
# a batch has more than once, the first.
_OF_BATCH = {
    "custom_id": """SELECT custom_id, id FROM jobs_batchrequest
        WHERE batch_id = %s AND custom_id = ANY(%s)""",
    "prompt": """SELECT encode(prompt_sha256, 'hex'), min(response_id)
        FROM curation_responsesearch WHERE batch_id = %s AND prompt_sha256 = ANY(%s) GROUP BY 1""",
    # Of one that still runs: lines without an answer are in no index of prompts.
    "prompt of all": """SELECT encode(prompt_sha256, 'hex'), min(id)
        FROM jobs_batchrequest WHERE batch_id = %s AND prompt_sha256 = ANY(%s) GROUP BY 1""",
}
# Of a model, that of its newest batch, unless it is hidden.
_OF_MODEL = """
SELECT wanted.name, found.response_id
FROM unnest(%s::text[], %s::{type}[]) AS wanted (name, key)
CROSS JOIN LATERAL (
    SELECT one.response_id FROM curation_responsesearch AS one
    JOIN jobs_batch AS batch ON batch.id = one.batch_id AND batch.deleted_at IS NULL
    LEFT JOIN jobs_storedfile AS file
        ON file.id = CASE WHEN one.ok THEN batch.output_file_id ELSE batch.error_file_id END
    WHERE one.{column} = wanted.key AND one.model_name = %s AND one.project_id = %s
        AND file.deleted_at IS NULL
        AND (file.expires_at IS NULL OR file.expires_at > statement_timestamp())
    ORDER BY one.batch_id DESC, one.response_id LIMIT 1
) AS found
"""


def _look_up(side: Side, by: str, keys: Sequence[str]) -> dict[str, int]:
    raw: list[Any] = list(keys) if by == "custom_id" else [bytes.fromhex(key) for key in keys]
    if side.batch is not None:
        how = by if by == "custom_id" or side.is_indexed else "prompt of all"
        return dict(fetch(_OF_BATCH[how], [side.batch.pk, raw]))
    column, kind = ("custom_id", "text") if by == "custom_id" else ("prompt_sha256", "bytea")
    query = _OF_MODEL.format(column=column, type=kind)
    return dict(fetch(query, [list(keys), raw, side.model_name, side.project_id]))
