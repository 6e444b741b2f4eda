"""Examples as a table: CSV that a spreadsheet opens and does not run."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence

from curation.conversations import text_of
from curation.examples import Example
from curation.shapes.shape import Reject, Shape

COLUMNS = (
    "id",
    "batch_id",
    "custom_id",
    "model",
    "prompt",
    "answer",
    "original_answer",
    "quality_score",
    "tags",
    "notes",
    "finish_reason",
    "input_tokens",
    "output_tokens",
    "messages",
    "answer_message",
)
# With these a cell is a formula, or is read as one after a tab or a line break was cut off;
# with an apostrophe it is one that was made safe, so that taking it away always gives the text.
_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def safe_cell(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula: an apostrophe goes before it."""
    return f"'{text}" if text.startswith(_RISKY) else text


def plain_cell(text: str) -> str:
    """Return the text that `safe_cell` made safe, and any other as it is."""
    return text[1:] if text[:1] == "'" and text[1:].startswith(_RISKY) else text


def encode_cells(cells: Sequence[str]) -> bytes:
    """Encode one record as RFC 4180 has it; half a character pair becomes a question mark."""
    out = io.StringIO()
    csv.writer(out).writerow([safe_cell(cell) for cell in cells])
    return out.getvalue().encode("utf-8", "replace")


def rejects_table(rejects: Iterable[Reject]) -> Iterator[bytes]:
    """Yield a table of what is not among the rows of a file, and why."""
    yield encode_cells(("id", "batch_id", "custom_id", "code", "reason"))
    for one in rejects:
        yield encode_cells((one.id, one.batch_id, one.custom_id, one.code, one.reason))


def table_row(example: Example) -> list[str]:
    return [
        example.id,
        example.batch_id,
        example.custom_id,
        example.model,
        example.prompt_text,
        example.answer_text,
        text_of(example.original) or "",
        str(example.quality_score),
        json.dumps(list(example.tags), ensure_ascii=False),
        example.notes,
        example.finish_reason,
        str(example.input_tokens),
        str(example.output_tokens),
        json.dumps(example.messages, ensure_ascii=False),
        json.dumps(example.answer, ensure_ascii=False),
    ]


CSV = Shape(
    name="csv",
    title="CSV",
    reader="spreadsheets",
    extension="csv",
    media_type="text/csv; charset=utf-8",
    row=table_row,
    encode=encode_cells,
    # The mark by which spreadsheets know UTF-8.
    head="\ufeff".encode() + encode_cells(COLUMNS),
)
