"""The lines of a batch with their answers, page by page, and a long text in full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import F, Func, IntegerField, QuerySet
from django.db.models.functions import Left, Length
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from jobs.models import Batch, BatchRequest
from jobs.views.access import access_batch
from jobs.views.lines import SHOW, line_at, lines_of

PAGE_LINES = 25
CLAMP_CHARS = 500
_TEXTS = {
    "prompt": "prompt_text",
    "answer": "batchresponse__text",
    "error": "batchresponse__error_message",
}


@dataclass(frozen=True, kw_only=True)
class AnswerPage:
    """Lines in the order of the input; the cursors are positions, None at either end."""

    lines: list[dict[str, Any]]
    previous: int | None
    next: int | None
    show: str


def answer_page(batch: Batch, *, start: str, show: str) -> AnswerPage:
    """Return the lines from position `start` on; texts are cut, so that pages stay small.

    `show` is a name of `jobs.views.lines.SHOW`; any other text shows all lines.
    """
    first = int(start) if start.isascii() and start.isdigit() and len(start) < 10 else 0
    lines = lines_of(batch, show)
    found = list(_columns(lines.filter(position__gte=first).order_by("position"))[: PAGE_LINES + 1])
    for line in found:
        # What stands in a result file that is deleted or expired cannot be read here either.
        line["is_hidden"] = is_hidden(batch, ok=line["ok"])
    earlier = []
    if first:
        earlier = list(
            lines.filter(position__lt=first)
            .order_by("-position")
            .values_list("position", flat=True)[:PAGE_LINES]
        )
    return AnswerPage(
        lines=found[:PAGE_LINES],
        previous=earlier[-1] if earlier else None,
        next=found[PAGE_LINES]["position"] if len(found) > PAGE_LINES else None,
        show=show if show in SHOW else "",
    )


def _columns(lines: QuerySet[BatchRequest]) -> QuerySet[BatchRequest, Any]:
    return lines.values(
        "line",
        "position",
        "custom_id",
        prompt=Left("prompt_text", CLAMP_CHARS),
        prompt_chars=Length("prompt_text"),
        answer=Left("batchresponse__text", CLAMP_CHARS),
        answer_chars=Length("batchresponse__text"),
        error=Left("batchresponse__error_message", CLAMP_CHARS),
        error_chars=Length("batchresponse__error_message"),
        error_code=F("batchresponse__error_code"),
        ok=F("batchresponse__ok"),
        status_code=F("batchresponse__status_code"),
        finish_reason=F("batchresponse__finish_reason"),
        input_tokens=F("batchresponse__input_tokens"),
        output_tokens=F("batchresponse__output_tokens"),
        latency_ms=F("batchresponse__latency_ms"),
        body_bytes=Func(
            "batchresponse__body", function="octet_length", output_field=IntegerField()
        ),
    )


def is_hidden(batch: Batch, *, ok: bool | None) -> bool:
    stored = batch.output_file if ok else batch.error_file
    return ok is not None and stored is not None and stored.is_hidden


@require_GET
@login_required
def line_text(request: HttpRequest, public_id: str, position: str, part: str) -> HttpResponse:
    """Return one text of a line: whole, or cut again with `?short=1`."""
    batch = access_batch(request.user, public_id)
    column = _TEXTS[part]
    if part != "prompt" and is_hidden(batch, ok=part == "answer"):
        raise Http404("The file in which this stands was deleted, or has expired.")
    text = line_at(batch, int(position)).values_list(column, flat=True).first()
    if text is None:
        raise Http404("There is no such text.")
    short = "short" in request.GET
    context = {
        "batch": batch,
        "position": position,
        "part": part,
        "text": text[:CLAMP_CHARS] if short else text,
        "chars": len(text),
        "opened": not short,
    }
    return render(request, "jobs/_text.html", context)
