"""What a side has in a row: whether it answered, with what fingerprint, and its texts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from curation.conversations import whole_answer
from jobs.models import Batch
from jobs.prompts import PROMPT_TEXT_MAX

CLAMP_CHARS = 1_200
# A text of so many bytes may have been cut where it is kept: the body tells.
_MAY_BE_CUT = PROMPT_TEXT_MAX - 4

ANSWERED, FAILED, OPEN, HIDDEN = "answered", "failed", "open", "hidden"


@dataclass(frozen=True, kw_only=True)
class Side:
    """One batch, or all that a model answered in a project: of each row the newest.

    `is_indexed` says that every line of the batch can be found by its prompt.
    """

    key: str
    model_name: str
    project_id: int
    batch: Batch | None = None
    is_indexed: bool = True

    def hides(self, *, ok: bool) -> bool:
        if self.batch is None:
            return False
        stored = self.batch.output_file if ok else self.batch.error_file
        return stored is not None and stored.is_hidden


@dataclass(kw_only=True)
class Cell:
    """What a side has in a row. Texts are there once they were read."""

    request_id: int
    state: str
    digest: str = ""
    chars: int = 0
    output_tokens: int = 0
    facts: dict[str, Any] | None = None
    text: str = ""


def read_facts(ids: Iterable[int]) -> dict[int, tuple[Any, ...]]:
    query = """
    SELECT request.id, answer.ok, md5(answer.text), length(answer.text), answer.output_tokens,
        octet_length(answer.text)
    FROM jobs_batchrequest AS request
    LEFT JOIN jobs_batchresponse AS answer ON answer.request_id = request.id
    WHERE request.id = ANY(%s)"""
    rows = fetch(query, [list(ids)])
    long = _whole_digests([row[0] for row in rows if row[1] and row[5] >= _MAY_BE_CUT])
    return {row[0]: (*row[:2], long.get(row[0], row[2]), *row[3:5]) for row in rows}


def _whole_digests(ids: Sequence[int]) -> dict[int, str]:
    return {
        request: hashlib.md5(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
        for request, text in whole_texts(ids).items()
    }


def whole_texts(ids: Sequence[int]) -> dict[int, str]:
    """Return the whole answers to these requests."""
    if not ids:
        return {}
    query = """SELECT request_id, body, text FROM jobs_batchresponse
        WHERE request_id = ANY(%s) AND ok"""
    return {row[0]: whole_answer(bytes(row[1]), row[2]) for row in fetch(query, [list(ids)])}


def make_cell(side: Side, facts: tuple[Any, ...] | None) -> Cell | None:
    if facts is None:
        return None
    request_id, ok, digest, chars, tokens = facts
    if ok is None:
        return Cell(request_id=request_id, state=OPEN)
    if side.hides(ok=ok):
        return Cell(request_id=request_id, state=HIDDEN)
    if not ok:
        return Cell(request_id=request_id, state=FAILED)
    return Cell(
        request_id=request_id,
        state=ANSWERED,
        digest=digest,
        chars=chars,
        output_tokens=tokens,
    )


_TEXTS = """
SELECT request.id, request.custom_id, request.position, batch.public_id, batch.model_name,
    left(request.prompt_text, %s), length(request.prompt_text), left(answer.text, %s),
    answer.finish_reason, answer.latency_ms, answer.error_code, left(answer.error_message, %s)
FROM jobs_batchrequest AS request
JOIN jobs_batch AS batch ON batch.id = request.batch_id
LEFT JOIN jobs_batchresponse AS answer ON answer.request_id = request.id
WHERE request.id = ANY(%s)
"""
_NAMES = (
    "custom_id",
    "position",
    "batch_id",
    "model_name",
    "prompt",
    "prompt_chars",
    "text",
    "finish_reason",
    "latency_ms",
    "error_code",
    "error_message",
)


def read_cells(cells: Sequence[Cell], *, clamp: int | None = CLAMP_CHARS) -> None:
    """Read what is shown of these cells; with `clamp` None, whole."""
    if not cells:
        return
    ids = [cell.request_id for cell in cells]
    cut = 2**30 if clamp is None else clamp
    read = {row[0]: row[1:] for row in fetch(_TEXTS, [cut, cut, cut, ids])}
    whole = {} if clamp is not None else whole_texts(ids)
    for cell in cells:
        facts = dict(zip(_NAMES, read[cell.request_id], strict=True))
        text = facts.pop("text")
        if cell.state == ANSWERED:
            cell.text = whole.get(cell.request_id, text)
            cell.chars = max(cell.chars, len(cell.text))
        if cell.state != FAILED:
            facts["error_code"] = facts["error_message"] = ""
        cell.facts = facts


def fetch(query: str, params: Sequence[Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, params)
        rows: list[Any] = cursor.fetchall()
    return rows
