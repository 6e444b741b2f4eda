"""Starting a run of a workload on a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from benchmarks.models import Run, Workload
from benchmarks.services.runs import REPEATS_MAX, CannotRun, create_run
from benchmarks.services.workloads import InvalidWorkload, find_workload
from benchmarks.views.access import visible_runs
from benchmarks.views.run_form import CHECKS, DEFAULT_REPEATS, RunForm
from benchmarks.workloads import SHIPPED
from jobs.models import Project, ServedModel
from jobs.services.fleet import any_worker_alive
from jobs.services.projects import projects_of
from jobs.views.access import projects_to_submit_to
from jobs.views.submit_forms import problems_of

CHOICES_MAX = 100
# The field in which a check of its kind says what it wants.
_SAYS = ("text", "pattern", "model")


@require_http_methods(["GET", "POST"])
@login_required
def new_run(request: HttpRequest) -> HttpResponse:
    projects = list(projects_to_submit_to(request.user))
    if not projects and projects_of(request.user).exists():
        raise PermissionDenied("Viewers of a project cannot start benchmarks in it.")
    own = list(
        Workload.objects.filter(project__in=projects, version=0)
        .select_related("project")
        .order_by("-pk")[:CHOICES_MAX]
    )
    served = ServedModel.objects.filter(enabled=True).order_by("name")
    models = list(served.values_list("name", flat=True))
    if request.method != "POST":
        given = _as_before(request) or {"repeats": DEFAULT_REPEATS}
        return _show(request, projects, own, models, given={**given, **request.GET.dict()})
    form = RunForm(request.POST, own=own, models=models)
    if not form.is_valid():
        return _refuse(request, projects, own, models, problems_of(form))
    try:
        made = _create(request, form, projects, own)
    except (InvalidWorkload, CannotRun) as error:
        return _refuse(request, projects, own, models, [str(error)])
    return redirect("benchmark", made.public_id)


def _create(
    request: HttpRequest, form: RunForm, projects: Sequence[Project], own: Sequence[Workload]
) -> Run:
    given = form.cleaned_data
    own_one = next((one for one in own if one.public_id == given["workload"]), None)
    if own_one is None:
        wanted = request.POST.get("project", "")
        project = next((one for one in projects if str(one.pk) == wanted), None)
        if project is None:
            raise CannotRun("Choose a project in which you may start benchmarks.", "project")
    else:
        project = own_one.project
    workload = find_workload(project=project, name=given["workload"], requests=given["requests"])
    return create_run(
        project=workload.project,
        workload=workload,
        model_name=given["model"],
        repeats=given["repeats"],
        checks=form.checks(),
        price_per_gpu_hour=given["price"],
        note=given["note"],
    )


def _as_before(request: HttpRequest) -> dict[str, Any]:
    """Return what a run was made with, to be run again: `?like=ID`."""
    public_id = request.GET.get("like", "").replace("\0", "")
    run = visible_runs(request.user).filter(public_id=public_id).first() if public_id else None
    if run is None or run.workload is None:
        return {}
    workload = run.workload
    given: dict[str, Any] = {
        "workload": workload.name if workload.is_shipped else workload.public_id,
        "requests": workload.requests if workload.is_shipped else "",
        "model": run.model_name,
        "repeats": run.repeats,
        "price": run.price_per_gpu_hour if run.price_per_gpu_hour is not None else "",
        "project": str(run.project_id),
    }
    for check in run.checks:
        kind = check["kind"]
        given[kind] = next((check[field] for field in _SAYS if field in check), "on")
        if kind == "json_schema":
            given[kind] = json.dumps(check["schema"], indent=2)
        given |= {"criteria": check["criteria"]} if "criteria" in check else {}
    return given


def _refuse(
    request: HttpRequest,
    projects: Sequence[Project],
    own: Sequence[Workload],
    models: Sequence[str],
    problems: list[str],
) -> HttpResponse:
    return _show(
        request, projects, own, models, given=request.POST.dict(), problems=problems, status=400
    )


def _show(
    request: HttpRequest,
    projects: Sequence[Project],
    own: Sequence[Workload],
    models: Sequence[str],
    *,
    given: dict[str, Any],
    problems: Sequence[str] = (),
    status: int = 200,
) -> HttpResponse:
    context = {
        "projects": projects,
        "shipped": list(SHIPPED.values()),
        "own": own,
        "several": len(projects) > 1,
        "models": models,
        "given": given,
        "has_checks": any(given.get(name) for name in CHECKS),
        "problems": problems,
        "repeats_max": REPEATS_MAX,
        "no_worker": not any_worker_alive(),
    }
    return render(request, "benchmarks/new.html", context, status=status)
