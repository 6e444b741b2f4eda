"""How long a run would take, said on its form before it is started."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from benchmarks.models import Run, RunKind, RunState
from benchmarks.planning import plan
from benchmarks.views.access import visible_runs, visible_workloads
from benchmarks.views.run_form import DEFAULT_REPEATS
from benchmarks.workloads import SHIPPED
from curation.views.form_values import read_number


@never_cache
@require_safe
@login_required
def run_estimate(request: HttpRequest) -> HttpResponse:
    """Answer with a fragment: the time of so many requests at the rate of an earlier run.

    It rests on the last completed run of the same workload, of any size, on the same model.
    """
    name = request.GET.get("workload", "").replace("\0", "")
    runs, size = _like(request, name)
    model_name = request.GET.get("model", "").replace("\0", "")
    rests_on = runs.filter(model_name=model_name).order_by("-pk").first()
    repeats = read_number(request.GET.get("repeats", "")) or DEFAULT_REPEATS
    found = plan(rests_on.figures, requests=size * repeats) if rests_on is not None else None
    return render(request, "benchmarks/_run_estimate.html", {"plan": found, "rests_on": rests_on})


def _like(request: HttpRequest, name: str) -> tuple[QuerySet[Run], int]:
    """Return the completed runs of a workload, and how many requests one repeat of it has now."""
    runs = visible_runs(request.user).filter(kind=RunKind.MEASURED, state=RunState.COMPLETED)
    if name in SHIPPED:
        shipped = SHIPPED[name]
        wanted = read_number(request.GET.get("requests", ""))
        runs = runs.filter(workload__name=name, workload__version=shipped.version)
        return runs, wanted or shipped.default_requests
    own = visible_workloads(request.user).filter(public_id=name).first()
    return (runs.filter(workload=own), own.requests) if own else (runs.none(), 0)
