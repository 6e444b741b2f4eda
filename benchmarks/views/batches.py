"""Every finished batch, with what was measured of it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from benchmarks.batch_rates import rates_of_batches
from jobs.models import ServedModel
from jobs.services.projects import projects_of
from jobs.states import BatchState
from jobs.views.access import may_change_any, visible_batches
from jobs.views.list_filters import Filters, with_chosen
from jobs.views.paging import Order, page_of_batches

CHOICES_MAX = 100


@require_GET
@login_required
def finished_batches(request: HttpRequest) -> HttpResponse:
    given = Filters.read(request.GET)
    filters = Filters(model=given.model, project=given.project, since=given.since)
    projects = list(projects_of(request.user).order_by("name"))
    batches = filters.apply(visible_batches(request.user, projects), projects)
    page = page_of_batches(
        batches.filter(state=BatchState.COMPLETED),
        order=Order(),
        before=request.GET.get("before", ""),
        after=request.GET.get("after", ""),
    )
    rates = rates_of_batches(page.batches)
    served = ServedModel.objects.order_by("name").values_list("name", flat=True)
    context: dict[str, Any] = {
        "tab": "batches",
        "rows": [(batch, rates[batch.pk]) for batch in page.batches],
        "filters": filters,
        "newer": filters.address(after=page.previous) if page.previous else "",
        "older": filters.address(before=page.next) if page.next else "",
        "may_start": may_change_any(request.user),
        "since_chips": filters.chips(
            "since", [("24h", "last 24 h"), ("7d", "last 7 days"), ("30d", "last 30 days")]
        ),
        "model_chips": filters.chips(
            "model",
            [(name, name) for name in with_chosen(list(served[:CHOICES_MAX]), filters.model)],
        ),
        "project_chips": filters.chips(
            "project", [(one.name, one.name) for one in projects[:CHOICES_MAX]]
        ),
    }
    return render(request, "benchmarks/batches.html", context)
