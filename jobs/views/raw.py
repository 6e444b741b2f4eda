"""What was really sent and answered: JSON to look at, or to the byte to take away."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from jobs.objects import batch_object
from jobs.services.waiting import waiting_for
from jobs.views.access import access_batch
from jobs.views.answers import is_hidden
from jobs.views.lines import line_at

SHOWN_MAX = 100_000


def _shown(raw: bytes) -> dict[str, Any]:
    """Return the beginning of JSON, indented, and how long it is as a whole."""
    size = len(raw)
    with suppress(msgspec.DecodeError, RecursionError):
        # It moves white space alone: numbers and escapes stay as they came.
        raw = msgspec.json.format(raw, indent=2)
    text = raw.decode("utf-8", "replace")
    return {
        "text": text[:SHOWN_MAX],
        "chars": len(text),
        "is_cut": len(text) > SHOWN_MAX,
        "bytes": size,
    }


@require_GET
@login_required
def batch_raw(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show a batch as the API gives it."""
    batch = access_batch(request.user, public_id)
    raw = msgspec.json.encode(batch_object(batch, waiting_for=waiting_for(batch)))
    return render(request, "jobs/_raw.html", _shown(raw))


@require_GET
@login_required
def line_raw(request: HttpRequest, public_id: str, position: str, part: str) -> HttpResponse:
    """Show the body of a line's request or response, or send it as a file with `?download`."""
    batch = access_batch(request.user, public_id)
    columns = ("body", "batchresponse__ok", "batchresponse__body")
    row = line_at(batch, int(position)).values_list(*columns).first()
    if row is None:
        raise Http404("There is no such line.")
    body, ok, answer = row
    if part == "response":
        if ok is None:
            raise Http404("The line has no response yet.")
        if is_hidden(batch, ok=ok):
            raise Http404("The file in which this stands was deleted, or has expired.")
        body = answer
    raw = bytes(body)
    name = f"{public_id}-{position}-{part}.json"
    if "download" in request.GET:
        response = HttpResponse(raw, content_type="application/json")
        response["Content-Disposition"] = str(content_disposition_header(True, name))
        response["Cache-Control"] = "private, no-store"
        return response
    context = {**_shown(raw), "download": f"{request.path}?download=1"}
    return render(request, "jobs/_raw.html", context)
