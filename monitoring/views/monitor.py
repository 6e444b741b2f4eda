"""The page of GPUs, hosts, workers, lanes, engines and the queue."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from jobs.services.fleet import STALE_AFTER_S as WORKER_STALE_AFTER_S
from jobs.views.live import live_fragment
from monitoring.fleet_report import present, report_fleet
from monitoring.health import find_faults
from monitoring.quantities import STALE_AFTER_S
from monitoring.queue_report import report_queue

# What `?range=` may say, in minutes, and how the page calls it.
RANGES = {"15m": (15, "15 min"), "1h": (60, "1 h"), "1d": (1_440, "1 d"), "1w": (10_080, "1 week")}
# With more lanes than this, their charts are shown on demand.
LANES_OPEN = 2


@require_safe
@login_required
def monitor(request: HttpRequest) -> HttpResponse:
    return render(request, "monitoring/monitor.html", _context(request))


@require_safe
@login_required
def monitor_live(request: HttpRequest) -> HttpResponse:
    return live_fragment(request, "monitoring/_monitor.html", _context(request))


def _context(request: HttpRequest) -> dict[str, Any]:
    fleet = report_fleet()
    shown = present(fleet)
    wanted = request.GET.get("range", "")
    wanted = wanted if wanted in RANGES else "15m"
    return {
        "faults": find_faults(fleet),
        "fleet": shown,
        "has_gpus": any(report.gpus for report in shown),
        "has_hosts": any(not report.gpus for report in shown),
        "queue": report_queue(),
        "charts_open": sum(len(report.lanes) for report in shown) <= LANES_OPEN,
        "range": wanted,
        "minutes": RANGES[wanted][0],
        "ranges": [(name, words) for name, (_, words) in RANGES.items()],
        "stale_after_s": int(STALE_AFTER_S),
        "worker_stale_after_s": int(WORKER_STALE_AFTER_S),
    }
