"""The list of batches, newest first, and its live rows."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from jobs.states import LIVE_STATES
from jobs.views.access import changeable_projects, visible_batches
from jobs.views.first_steps import first_steps
from jobs.views.live import live_fragment
from jobs.views.paging import page_of_batches
from jobs.views.shown import deeds_for, show_batches


@require_GET
@login_required
def batch_list(request: HttpRequest) -> HttpResponse:
    return render(request, "jobs/batch_list.html", _context(request))


@require_GET
@login_required
def batch_list_live(request: HttpRequest) -> HttpResponse:
    return live_fragment(request, "jobs/_batch_list.html", _context(request))


def _context(request: HttpRequest) -> dict[str, Any]:
    only_live = request.GET.get("show") == "live"
    batches = visible_batches(request.user)
    if only_live:
        batches = batches.filter(state__in=LIVE_STATES)
    page = page_of_batches(
        batches, before=request.GET.get("before", ""), after=request.GET.get("after", "")
    )
    shown = show_batches(page.batches)
    ours = changeable_projects(request.user, page.batches)
    context = {
        "page": page,
        "rows": [
            (batch, shown[batch.pk], deeds_for(batch, may_change=batch.project_id in ours))
            for batch in page.batches
        ],
        "only_live": only_live,
    }
    if not page.batches and not only_live:
        context |= first_steps(request)
    return context
