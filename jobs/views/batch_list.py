"""The list of batches, filtered, sorted, page by page, and its live rows."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from jobs.models import Project, ServedModel
from jobs.services.projects import projects_of
from jobs.views.access import changeable_projects, may_change_any, visible_batches
from jobs.views.first_steps import first_steps
from jobs.views.list_filters import SHOW, SINCE, Filters, with_chosen
from jobs.views.live import live_fragment
from jobs.views.paging import Page, page_of_batches
from jobs.views.shown import deeds_for, show_batches

COUNT_MAX = 10_000
CHOICES_MAX = 100


class Column(NamedTuple):
    """A column: its name in the page, its heading, what it sorts by, whether it starts shown."""

    name: str
    heading: str
    sort: str = ""
    shown: bool = True
    is_number: bool = False


COLUMNS = (
    Column("model", "Model"),
    Column("answered", "Answered"),
    Column("lines", "Lines", "lines", shown=False, is_number=True),
    Column("tokens", "Tokens", "tokens", is_number=True),
    Column("created", "Created", "created"),
    Column("ended", "Ended", "ended", shown=False),
    Column("duration", "Duration", shown=False, is_number=True),
    Column("window", "Window", shown=False),
    Column("priority", "Priority", shown=False, is_number=True),
    Column("project", "Project"),
)


@require_GET
@login_required
def batch_list(request: HttpRequest) -> HttpResponse:
    context = _context(request)
    choices = _choices(context["filters"], context["projects"])
    choices["may_pick"] = may_change_any(request.user)
    return render(request, "jobs/batch_list.html", {**context, **choices})


@require_GET
@login_required
def batch_list_live(request: HttpRequest) -> HttpResponse:
    return live_fragment(request, "jobs/_batch_list.html", _context(request))


def _context(request: HttpRequest) -> dict[str, Any]:
    filters = Filters.read(request.GET)
    projects = list(projects_of(request.user).order_by("name"))
    batches = filters.apply(visible_batches(request.user, projects), projects)
    page = page_of_batches(
        batches,
        order=filters.order,
        before=request.GET.get("before", ""),
        after=request.GET.get("after", ""),
    )
    shown = show_batches(page.batches)
    ours = changeable_projects(request.user, page.batches)
    context = {
        "page": page,
        "rows": [
            (batch, shown[batch.pk], deeds_for(batch, may_change=batch.project_id in ours))
            for batch in page.batches
        ],
        "count": _count(page, batches.order_by()[: COUNT_MAX + 1].count),
        "count_max": COUNT_MAX,
        "filters": filters,
        "headings": [(column, _sorting(filters, column)) for column in COLUMNS],
        "hidden_columns": " ".join(column.name for column in COLUMNS if not column.shown),
        "previous": filters.address(after=page.previous) if page.previous else "",
        "next": filters.address(before=page.next) if page.next else "",
        "projects": projects,
    }
    if not page.batches and not filters.narrows:
        context |= first_steps(request)
    return context


def _count(page: Page, ask: Any) -> int:
    """Return how many there are, one above the maximum if more; one page needs no question."""
    return len(page.batches) if not (page.previous or page.next) else ask()


def _sorting(filters: Filters, column: Column) -> dict[str, str] | None:
    if not column.sort:
        return None
    on = filters.order.key == column.sort
    direction = "descending" if filters.order.descending else "ascending"
    return {"href": filters.sorted_by(column.sort), "direction": direction if on else "none"}


def _choices(filters: Filters, projects: list[Project]) -> dict[str, Any]:
    """Return the chips; a model or project that is chosen is among them, even if it is gone."""
    served = ServedModel.objects.order_by("name").values_list("name", flat=True)
    models = with_chosen(list(served[:CHOICES_MAX]), filters.model)
    names = with_chosen([project.name for project in projects[:CHOICES_MAX]], filters.project)
    return {
        "show_chips": filters.chips("show", [(key, word) for key, (word, _) in SHOW.items()]),
        "since_chips": filters.chips("since", [(key, word) for key, (word, _) in SINCE.items()]),
        "model_chips": filters.chips("model", [(name, name) for name in models]),
        "project_chips": filters.chips("project", [(name, name) for name in names]),
    }
