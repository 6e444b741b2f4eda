"""The list of runs, filtered, page by page, its live rows, and the course of one workload."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from django.contrib.auth.decorators import login_required
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from benchmarks.models import Run, RunKind, RunState, Workload
from benchmarks.pareto_plot import lay_out_pareto, scores_of
from benchmarks.plot import colours_of
from benchmarks.standing import REPEATS
from benchmarks.trend import RUNS_MAX, lay_out_trend
from benchmarks.views.access import visible_runs, visible_workloads
from benchmarks.views.run_filters import KINDS, STATES, RunFilters
from benchmarks.views.run_shown import show_runs
from jobs.models import Project, ServedModel
from jobs.services.projects import projects_of
from jobs.views.access import may_change_any
from jobs.views.list_filters import with_chosen
from jobs.views.live import live_fragment

PAGE_RUNS = 50
COUNT_MAX = 10_000
CHOICES_MAX = 100
# Of so many runs the latest of each model is looked for.
_PARETO_RUNS = 100
_CURSOR = re.compile(r"[0-9]{1,18}")


class Column(NamedTuple):
    """A column: its name in the page, its heading, whether it starts shown."""

    name: str
    heading: str
    shown: bool = True
    is_number: bool = False
    title: str = ""


COLUMNS = (
    Column("workload", "Workload"),
    Column("model", "Model"),
    Column("output", "Output tokens/s", is_number=True, title="and for each GPU"),
    Column("requests", "Requests/s", shown=False, is_number=True),
    Column("latency", "Latency", is_number=True, title="of whole requests: median, and p99"),
    Column("cost", "Cost", is_number=True, title="of a million output tokens"),
    Column("quality", "Quality", is_number=True, title="by the first check of the answers"),
    Column("verdict", "Verdict", title="against the baseline"),
    Column("hardware", "Hardware", title="and vLLM"),
    Column("repeats", "Repeats", shown=False, is_number=True),
    Column("kind", "Kind", shown=False),
    Column("created", "Created"),
    Column("project", "Project", shown=False),
)


@require_GET
@login_required
def runs(request: HttpRequest) -> HttpResponse:
    context = _context(request)
    filters, projects = context["filters"], context["projects"]
    context |= _choices(filters, projects, request.user)
    context |= _course(filters, visible_runs(request.user, projects))
    context |= {"tab": "runs", "may_start": may_change_any(request.user)}
    return render(request, "benchmarks/runs.html", context)


@require_GET
@login_required
def runs_live(request: HttpRequest) -> HttpResponse:
    return live_fragment(request, "benchmarks/_runs.html", _context(request))


def _context(request: HttpRequest) -> dict[str, Any]:
    filters = RunFilters.read(request.GET)
    projects = list(projects_of(request.user).order_by("name"))
    wanted = filters.apply(visible_runs(request.user, projects))
    found, newer, older = _page(wanted, request)
    shown = show_runs(found)
    context = {
        "filters": filters,
        "projects": projects,
        "rows": [(run, shown[run.pk]) for run in found],
        "count": wanted.order_by()[: COUNT_MAX + 1].count() if newer or older else len(found),
        "count_max": COUNT_MAX,
        "columns": COLUMNS,
        "hidden_columns": " ".join(one.name for one in COLUMNS if not one.shown),
        "newer": filters.address(after=str(newer)) if newer else "",
        "older": filters.address(before=str(older)) if older else "",
    }
    if not found and not filters.narrows:
        context["command"] = _command()
    return context


def _command() -> str:
    """Return a command that works on this server as it stands, if it serves a model."""
    served = ServedModel.objects.filter(enabled=True).order_by("pk")
    model = served.values_list("name", flat=True).first() or "MODEL"
    return (
        f".venv/bin/python manage.py runbenchmark --model {shlex.quote(model)} "
        "--workload short-chat --repeat 5"
    )


def _page(runs: QuerySet[Run], request: HttpRequest) -> tuple[list[Run], int | None, int | None]:
    """Return a page, newest first, and the cursors to both sides of it."""
    before, after = (_cursor(request, name) for name in ("before", "after"))
    if after is not None and before is None:
        found = list(runs.filter(pk__gt=after).order_by("pk")[: PAGE_RUNS + 1])
        if len(found) > PAGE_RUNS:
            found = found[PAGE_RUNS - 1 :: -1]
            return found, found[0].pk, found[-1].pk
    ordered = (runs if before is None else runs.filter(pk__lt=before)).order_by("-pk")
    found = list(ordered[: PAGE_RUNS + 1])
    page = found[:PAGE_RUNS]
    newer = page[0].pk if page and before is not None else None
    return page, newer, page[-1].pk if len(found) > PAGE_RUNS else None


def _cursor(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return int(text) if _CURSOR.fullmatch(text) else None


def _choices(filters: RunFilters, projects: Sequence[Project], user: Any) -> dict[str, Any]:
    mine = visible_runs(user, projects)
    models = mine.order_by("model_name").values_list("model_name", flat=True).distinct()
    names = with_chosen(list(models[:CHOICES_MAX]), filters.model)
    used = visible_workloads(user, projects).filter(
        Exists(Run.objects.filter(workload=OuterRef("pk")))
    )
    workloads = list(used.order_by("-pk")[:CHOICES_MAX])
    several = len({workload.project_id for workload in workloads}) > 1
    return {
        "state_chips": filters.chips("state", [(key, word) for key, (word, _) in STATES.items()]),
        "kind_chips": filters.chips("kind", list(KINDS.items())),
        "model_chips": filters.chips("model", [(name, name) for name in names]),
        "workload_chips": filters.chips(
            "workload", [(one.public_id, _words(one, several)) for one in workloads]
        ),
        "project_chips": filters.chips(
            "project", [(one.name, one.name) for one in projects[:CHOICES_MAX]]
        ),
        "workload": next((one for one in workloads if one.public_id == filters.workload), None),
    }


def _words(workload: Workload, several: bool) -> str:
    return f"{workload.title} ({workload.project.name})" if several else workload.title


def _course(filters: RunFilters, runs: QuerySet[Run]) -> dict[str, Any]:
    """Return the trend of a workload that is chosen, and its speed against quality."""
    if not filters.workload:
        return {}
    measured = runs.filter(
        workload__public_id=filters.workload, kind=RunKind.MEASURED, state=RunState.COMPLETED
    ).order_by("-pk")
    of_all = list(measured[:_PARETO_RUNS])
    scores = scores_of(of_all)
    score = filters.score if filters.score in scores else next(iter(scores), "")
    if filters.model:
        measured = measured.filter(model_name=filters.model)
    chosen = replace(filters, score=score)
    newest = list(measured.prefetch_related(REPEATS)[: RUNS_MAX + 1])
    # The same ones in both drawings.
    colours = colours_of(run.model_name for run in [*of_all, *newest])
    return {
        "trend": lay_out_trend(newest[RUNS_MAX - 1 :: -1], colours),
        "trend_is_cut": len(newest) > RUNS_MAX,
        "runs_max": RUNS_MAX,
        "pareto": lay_out_pareto(of_all, score, colours) if score else None,
        "score": score,
        "score_chips": chosen.chips("score", [(words, words) for words in scores]),
    }
