"""The answers that a filter finds as a file: all of them, streamed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, StreamingHttpResponse
from django.views.decorators.http import require_GET

from curation.attached import attach, stamped
from curation.conversations import whole_answer
from curation.results import ResultFilter
from curation.services.result_rows import stream_rows
from curation.shapes.table import encode_cells
from curation.views.results import rows_of

CSV_COLUMNS = (
    "custom_id",
    "batch_id",
    "project",
    "model",
    "status",
    "prompt",
    "answer",
    "finish_reason",
    "input_tokens",
    "output_tokens",
    "latency_ms",
    "answered_at",
    "rating",
    "tags",
    "notes",
    "edited_answer",
    "error_code",
    "error_message",
)


@require_GET
@login_required
def results_csv(request: HttpRequest) -> StreamingHttpResponse:
    wanted, _ = ResultFilter.read(request.GET.dict())
    content = _csv(stream_rows(rows_of(request, wanted)))
    return attach(content, name=f"{stamped('results')}.csv", media_type="text/csv; charset=utf-8")


@require_GET
@login_required
def results_jsonl(request: HttpRequest) -> StreamingHttpResponse:
    wanted, _ = ResultFilter.read(request.GET.dict())
    content = _jsonl(stream_rows(rows_of(request, wanted)))
    return attach(content, name=f"{stamped('results')}.jsonl", media_type="application/jsonl")


def _csv(rows: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    yield "\ufeff".encode() + encode_cells(CSV_COLUMNS)
    for row in rows:
        gold = row["gold"] or {}
        yield encode_cells(
            [
                row["custom_id"],
                row["batch_id_"],
                row["project_name"],
                row["model_name"],
                "answered" if row["ok"] else "failed",
                row["prompt"],
                whole_answer(bytes(row["response_body"]), row["answer"]) if row["ok"] else "",
                row["finish_reason"],
                str(row["input_tokens"]),
                str(row["output_tokens"]),
                "" if row["latency_ms"] is None else str(row["latency_ms"]),
                row["answered_at"].isoformat(),
                str(gold.get("quality_score", "")),
                json.dumps(gold["tags"], ensure_ascii=False) if gold else "",
                gold.get("notes", ""),
                gold.get("edited_answer") or "",
                row["error_code"],
                row["error_message"],
            ]
        )


def _jsonl(rows: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """Yield a line for each answer, bodies to the byte."""
    for row in rows:
        head = {
            "custom_id": row["custom_id"],
            "batch_id": row["batch_id_"],
            "project": row["project_name"],
            "model": row["model_name"],
            "status": "answered" if row["ok"] else "failed",
            "latency_ms": row["latency_ms"],
            "answered_at": row["answered_at"].isoformat(),
            "error": None
            if row["ok"]
            else {"code": row["error_code"], "message": row["error_message"]},
            "gold": row["gold"],
        }
        response = bytes(row["response_body"]) if row["status_code"] is not None else b"null"
        yield b'%b,"request":%b,"response":%b}\n' % (
            json.dumps(head, ensure_ascii=False).encode()[:-1],
            bytes(row["request_body"]),
            response or b"null",
        )
