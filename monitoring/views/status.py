"""The page of workers, lanes and GPUs."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from jobs.views.live import live_fragment
from monitoring.fleet_report import report_fleet
from monitoring.health import find_faults


@require_safe
@login_required
def status(request: HttpRequest) -> HttpResponse:
    return render(request, "monitoring/status.html", _status_context())


@require_safe
@login_required
def status_live(request: HttpRequest) -> HttpResponse:
    return live_fragment(request, "monitoring/_status.html", _status_context())


def _status_context() -> dict[str, Any]:
    fleet = report_fleet()
    return {"fleet": [r for r in fleet if r.alive or r.silent], "faults": find_faults(fleet)}
