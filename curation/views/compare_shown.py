"""How rows of a comparison are shown: differences marked, fields side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from curation.json_fields import FieldRow, compare_fields
from curation.services.compare_cells import ANSWERED, Cell, Side
from curation.services.compare_rows import Row
from curation.word_diff import STEPS_MAX, Span, diff_words

# The differences of one page are looked for in so many steps together: some 50 ms.
PAGE_STEPS = 60_000
LETTERS = "ABCDEF"


@dataclass(frozen=True, kw_only=True)
class ShownSide:
    letter: str
    side: Side


@dataclass(frozen=True, kw_only=True)
class ShownCell:
    """A cell with its text in passages; `delta` is how much longer than the first, in per cent."""

    shown: ShownSide
    cell: Cell | None
    spans: list[Span]
    is_cut: bool
    delta: int | None
    same_as_first: bool


@dataclass(frozen=True, kw_only=True)
class ShownRow:
    """`name` is what the row is called: its custom_id, else the beginning of its prompt."""

    row: Row
    name: str
    cells: list[ShownCell]
    fields: list[FieldRow] | None
    prompt: str
    prompt_chars: int


def show_sides(sides: Sequence[Side]) -> list[ShownSide]:
    return [
        ShownSide(letter=letter, side=side) for letter, side in zip(LETTERS, sides, strict=False)
    ]


def show_rows(
    rows: Sequence[Row], sides: Sequence[Side], by: str, *, steps: int = PAGE_STEPS
) -> list[ShownRow]:
    diffs = sum(max(0, len(row.answered) - 1) for row in rows)
    each = min(STEPS_MAX, steps // max(1, diffs))
    return [show_row(row, sides, by, steps=each) for row in rows]


def show_row(row: Row, sides: Sequence[Side], by: str, *, steps: int = STEPS_MAX) -> ShownRow:
    first = next((cell for cell in row.cells if cell is not None and cell.facts), None)
    facts = first.facts if first is not None and first.facts is not None else {}
    base = row.cells[0] if _is_answered(row.cells[0]) else None
    fields = None
    # A text that is cut is no JSON, and says nothing of the fields that are not shown.
    if not any(_is_cut(cell) for cell in row.answered):
        texts = [
            cell.text if cell is not None and _is_answered(cell) else None for cell in row.cells
        ]
        fields = compare_fields(texts)
    spans = _spans(row, base, steps)
    return ShownRow(
        row=row,
        name=str(facts.get("custom_id", "")) if by == "custom_id" else "",
        cells=[
            ShownCell(
                shown=shown,
                cell=cell,
                spans=some,
                is_cut=_is_cut(cell),
                delta=_delta(base, cell),
                same_as_first=base is not None
                and cell is not None
                and cell is not base
                and cell.state == ANSWERED
                and cell.digest == base.digest,
            )
            for shown, cell, some in zip(show_sides(sides), row.cells, spans, strict=True)
        ],
        fields=fields,
        prompt=str(facts.get("prompt", "")),
        prompt_chars=int(facts.get("prompt_chars") or 0),
    )


def _spans(row: Row, base: Cell | None, steps: int) -> list[list[Span]]:
    """Return the passages of each cell: what the first alone has, and what each other adds.

    Beside several others the first is plain: what it alone has differs from one to the other.
    """
    found: list[list[Span]] = []
    of_base: list[Span] = []
    for cell in row.cells:
        if cell is None or not _is_answered(cell):
            found.append([])
        elif cell is base or base is None:
            found.append([Span("same", cell.text)])
        else:
            spans = diff_words(base.text, cell.text, steps=steps)
            found.append([span for span in spans if span.kind != "old"])
            of_base = [span for span in spans if span.kind != "new"]
    if base is not None and of_base and len(row.cells) == 2:
        found[0] = of_base
    return found


def _is_answered(cell: Cell | None) -> bool:
    return cell is not None and cell.state == ANSWERED


def _is_cut(cell: Cell | None) -> bool:
    return cell is not None and cell.state == ANSWERED and len(cell.text) < cell.chars


def _delta(base: Cell | None, cell: Cell | None) -> int | None:
    if base is None or cell is None or cell is base or cell.state != ANSWERED:
        return None
    return round(100 * (cell.chars - base.chars) / max(1, base.chars))
