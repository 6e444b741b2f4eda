"""Making a workload of the lines of a batch."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from benchmarks.models import Workload
from benchmarks.services.workloads import NAME_MAX, InvalidWorkload, create_workload
from benchmarks.views.access import check_may_start
from jobs.models import Batch
from jobs.services.limits import LimitReached
from jobs.views.access import access_batch


@require_http_methods(["GET", "POST"])
@login_required
def new_workload(request: HttpRequest, public_id: str) -> HttpResponse:
    batch = access_batch(request.user, public_id)
    check_may_start(request.user, batch.project_id)
    if request.method != "POST":
        return _show(request, batch)
    try:
        made = create_workload(
            project=batch.project,
            name=request.POST.get("name", "").replace("\0", "").strip(),
            batch=batch,
        )
    except InvalidWorkload as error:
        return _show(request, batch, problem=str(error), status=400)
    except LimitReached as error:
        return _show(request, batch, problem=str(error), status=429)
    messages.success(request, f"The workload {made.title} can be run now, as often as you like.")
    return redirect(f"{reverse('benchmark-new')}?{urlencode({'workload': made.public_id})}")


def _show(
    request: HttpRequest, batch: Batch, *, problem: str = "", status: int = 200
) -> HttpResponse:
    context = {
        "batch": batch,
        "made": Workload.objects.filter(source_batch=batch).order_by("-pk")[:20],
        "name_max": NAME_MAX,
        "given": request.POST,
        "problem": problem,
    }
    return render(request, "benchmarks/new_workload.html", context, status=status)
