"""Home: what runs, what waits and why, the machines at a glance, today, and the last batches."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from jobs.services.fleet import STALE_AFTER_S as WORKER_STALE_AFTER_S
from jobs.services.projects import projects_of
from jobs.states import LaneKind
from jobs.views.access import visible_batches
from jobs.views.first_steps import first_steps
from jobs.views.live import live_fragment
from monitoring.fleet_report import WorkerReport, present, report_fleet
from monitoring.health import find_faults
from monitoring.home_report import report_home, report_throughput, report_today
from monitoring.quantities import STALE_AFTER_S

# More lines cannot be told from each other.
ENGINES_IN_CHART = 8


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    return render(request, "monitoring/home.html", _context(request))


@require_safe
@login_required
def home_live(request: HttpRequest) -> HttpResponse:
    return live_fragment(request, "monitoring/_home.html", _context(request))


def _engines(fleet: list[WorkerReport]) -> int:
    return sum(
        of_lane.lane.kind != LaneKind.UPSTREAM for report in fleet for of_lane in report.lanes
    )


def _context(request: HttpRequest) -> dict[str, Any]:
    fleet = report_fleet()
    shown = present(fleet)
    projects = list(projects_of(request.user))
    report = report_home(visible_batches(request.user, projects))
    context = {
        "report": report,
        "today": report_today(projects),
        "throughput": report_throughput(shown),
        "fleet": shown,
        "faults": find_faults(fleet),
        "has_chart": 0 < _engines(shown) <= ENGINES_IN_CHART,
        "stale_after_s": int(STALE_AFTER_S),
        "worker_stale_after_s": int(WORKER_STALE_AFTER_S),
    }
    return {**context, **first_steps(request)} if report.is_new else context
