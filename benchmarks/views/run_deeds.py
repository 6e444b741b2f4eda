"""What a person does to a run by a button: cancel, pin as the baseline, unpin."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from benchmarks.models import Run
from benchmarks.services.baselines import CannotPin, pin_baseline, unpin_baseline
from benchmarks.services.runs import cancel_run
from benchmarks.views.access import access_run, check_may_start


@require_POST
@login_required
def run_cancel(request: HttpRequest, public_id: str) -> HttpResponse:
    run = _access(request, public_id)
    if not cancel_run(run=run):
        run.refresh_from_db()
        messages.warning(request, f"Nothing was cancelled: the run is {run.state}.")
    return redirect("benchmark", public_id)


@require_POST
@login_required
def run_pin(request: HttpRequest, public_id: str) -> HttpResponse:
    try:
        pin_baseline(run=_access(request, public_id))
    except CannotPin as error:
        messages.warning(request, str(error))
    return redirect("benchmark", public_id)


@require_POST
@login_required
def run_unpin(request: HttpRequest, public_id: str) -> HttpResponse:
    if not unpin_baseline(run=_access(request, public_id)):
        messages.warning(request, "It was no baseline.")
    return redirect("benchmark", public_id)


def _access(request: HttpRequest, public_id: str) -> Run:
    run = access_run(request.user, public_id)
    check_may_start(request.user, run.project_id)
    return run
