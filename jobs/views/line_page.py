"""One line of a batch, to be read: what was asked, what was answered, and what it took."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from jobs.models import Batch
from jobs.reading import read_request, read_response
from jobs.views.access import access_batch
from jobs.views.answers import is_hidden
from jobs.views.lines import SHOW, line_at, lines_of
from jobs.views.live import live_fragment

# Larger bodies are not taken apart for a page; their text as kept is shown instead.
READ_MAX = 4_000_000


@require_GET
@login_required
def line_page(request: HttpRequest, public_id: str, position: str) -> HttpResponse:
    return render(request, "jobs/line.html", _context(request, public_id, int(position)))


@require_GET
@login_required
def line_page_live(request: HttpRequest, public_id: str, position: str) -> HttpResponse:
    return live_fragment(request, "jobs/_line.html", _context(request, public_id, int(position)))


def _context(request: HttpRequest, public_id: str, position: int) -> dict[str, Any]:
    batch = access_batch(request.user, public_id)
    line = line_at(batch, position).select_related("batchresponse").first()
    if line is None:
        raise Http404("There is no such line.")
    response = getattr(line, "batchresponse", None)
    hidden = response is not None and is_hidden(batch, ok=response.ok)
    show = request.GET.get("show", "")
    show = show if show in SHOW else ""
    asked, answered = bytes(line.body), b"" if response is None or hidden else bytes(response.body)
    return {
        "batch": batch,
        "line": line,
        "response": response,
        "hidden": hidden,
        "request_reading": read_request(asked) if len(asked) <= READ_MAX else None,
        "response_reading": read_response(answered) if len(answered) <= READ_MAX else None,
        "show_words": SHOW[show][0] if show else "",
        "query": f"?{urlencode({'show': show})}" if show else "",
        **_neighbours(batch, position, show),
    }


def _neighbours(batch: Batch, position: int, show: str) -> dict[str, int | None]:
    """Return the positions of the lines before and after it, among those that are shown."""
    positions = lines_of(batch, show).values_list("position", flat=True)
    return {
        "previous": positions.filter(position__lt=position).order_by("-position").first(),
        "next": positions.filter(position__gt=position).order_by("position").first(),
    }
