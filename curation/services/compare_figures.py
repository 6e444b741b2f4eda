"""How far sides agree, and how much longer one answers than another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles

from curation.comparing import Place
from curation.json_fields import compare_fields
from curation.services.compare_cells import ANSWERED, FAILED, HIDDEN, OPEN, Cell, Side, whole_texts
from curation.services.compare_rows import Row, walk_rows

# Figures are of so many rows from the beginning: more would not be read in the time of a page.
ROWS_MAX = 2_000
FIELD_ROWS_MAX = 200
FIELD_SLICE = 10
FIELDS_SHOWN = 30
LONGEST_SHOWN = 5
# How much longer, in per cent: the edges of the histogram.
EDGES = (-75, -50, -25, -10, 10, 25, 50, 75, 100, 200)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """So many rows whose answer is between two edges longer; `share` is of the highest bar."""

    words: str
    count: int
    share: float


@dataclass(frozen=True, kw_only=True)
class PairFigures:
    """A side beside the first. Lengths are in characters, deltas in per cent of the first's."""

    side: Side
    both: int
    same: int
    only_first: int
    only_this: int
    delta_low: float | None
    delta_median: float | None
    delta_high: float | None
    bars: list[Bar]

    @property
    def agreement(self) -> float | None:
        return 100 * self.same / self.both if self.both else None


@dataclass(frozen=True, kw_only=True)
class SideFigures:
    side: Side
    answered: int
    failed: int
    open: int
    hidden: int
    missing: int
    tokens_mean: float | None


@dataclass(frozen=True, kw_only=True)
class FieldFigures:
    path: str
    rows: int
    same: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """`is_whole` says that these are all rows, not the first of them."""

    rows: int
    is_whole: bool
    sides: list[SideFigures]
    pairs: list[PairFigures]
    fields: list[FieldFigures]
    field_rows: int
    longest: list[tuple[Row, int]]


def measure(sides: Sequence[Side], by: str) -> Figures:
    """Return the figures of the first ROWS_MAX rows."""
    rows: list[Row] = []
    after: Place | None = None
    cost = 0
    for some in walk_rows(sides, by, slice_rows=ROWS_MAX):
        rows += some.rows
        after = some.after
        cost += some.cost
        if cost >= ROWS_MAX:
            break
    is_whole = after is None and len(rows) <= ROWS_MAX
    rows = rows[:ROWS_MAX]
    fields, field_rows = _fields(rows)
    return Figures(
        rows=len(rows),
        is_whole=is_whole,
        sides=[_side(side, [row.cells[at] for row in rows]) for at, side in enumerate(sides)],
        pairs=[_pair(sides[at], rows, at) for at in range(1, len(sides))],
        fields=fields,
        field_rows=field_rows,
        longest=_longest(rows),
    )


def _side(side: Side, cells: list[Cell | None]) -> SideFigures:
    states = [cell.state if cell is not None else "" for cell in cells]
    tokens = [cell.output_tokens for cell in cells if cell is not None and cell.state == ANSWERED]
    return SideFigures(
        side=side,
        answered=states.count(ANSWERED),
        failed=states.count(FAILED),
        open=states.count(OPEN),
        hidden=states.count(HIDDEN),
        missing=states.count(""),
        tokens_mean=sum(tokens) / len(tokens) if tokens else None,
    )


def _pair(side: Side, rows: Sequence[Row], at: int) -> PairFigures:
    both = []
    only_first = only_this = 0
    for row in rows:
        first, this = (_answered(row.cells[0]), _answered(row.cells[at]))
        if first is not None and this is not None:
            both.append((first, this))
        else:
            only_first += first is not None
            only_this += this is not None
    deltas = [100 * (this.chars - first.chars) / max(1, first.chars) for first, this in both]
    tenths = quantiles(deltas, n=10, method="inclusive") if len(deltas) > 1 else deltas * 9
    return PairFigures(
        side=side,
        both=len(both),
        same=sum(first.digest == this.digest for first, this in both),
        only_first=only_first,
        only_this=only_this,
        delta_low=tenths[0] if tenths else None,
        delta_median=tenths[4] if tenths else None,
        delta_high=tenths[8] if tenths else None,
        bars=_bars(deltas),
    )


def _answered(cell: Cell | None) -> Cell | None:
    return cell if cell is not None and cell.state == ANSWERED else None


def _bars(deltas: Sequence[float]) -> list[Bar]:
    counts = [0] * (len(EDGES) + 1)
    for delta in deltas:
        counts[sum(delta >= edge for edge in EDGES)] += 1
    highest = max(counts) or 1
    words = [
        f"below {EDGES[0]} %".replace("-", "−"),
        *(f"{a:+} to {b:+} %".replace("-", "−") for a, b in zip(EDGES, EDGES[1:], strict=False)),
        f"above {EDGES[-1]:+} %",
    ]
    return [
        Bar(words=word, count=count, share=100 * count / highest)
        for word, count in zip(words, counts, strict=True)
    ]


def _longest(rows: Sequence[Row]) -> list[tuple[Row, int]]:
    """Return the rows whose answers differ most in length, and by how many characters."""
    gaps = []
    for row in rows:
        chars = [cell.chars for cell in row.answered]
        if len(chars) > 1 and max(chars) > min(chars):
            gaps.append((row, max(chars) - min(chars)))
    return sorted(gaps, key=lambda one: (-one[1], one[0].place))[:LONGEST_SHOWN]


def _fields(rows: Sequence[Row]) -> tuple[list[FieldFigures], int]:
    """Return how often each field agrees in the first rows, where the answers are JSON."""
    some = [row for row in rows if len(row.answered) > 1][:FIELD_ROWS_MAX]
    if not some:
        return [], 0
    counts: dict[str, list[int]] = {}
    compared = 0
    for at in range(0, len(some), FIELD_SLICE):
        part = some[at : at + FIELD_SLICE]
        texts = whole_texts([cell.request_id for row in part for cell in row.answered])
        for row in part:
            fields = compare_fields([texts[cell.request_id] for cell in row.answered])
            for field in fields or []:
                found = counts.setdefault(field.path, [0, 0])
                found[0] += 1
                found[1] += field.is_same
            compared += fields is not None
        if not compared:
            # What is not JSON at the beginning is not read to the end.
            break
    figures = [FieldFigures(path=path, rows=n, same=same) for path, (n, same) in counts.items()]
    figures.sort(key=lambda one: (one.same / one.rows, -one.rows, one.path))
    return figures[:FIELDS_SHOWN], compared
