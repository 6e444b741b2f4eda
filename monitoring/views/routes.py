"""The status routes, for load balancers, scripts and Prometheus."""

from __future__ import annotations

from django.db import Error
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from jobs.views.api_access import bearer_key, is_near, unauthorised, visible_projects
from monitoring.fleet_report import report_fleet
from monitoring.gpu_report import gpu_report
from monitoring.health import health, without_database
from monitoring.limits_report import limits_report
from monitoring.prometheus.exposition import exposition
from monitoring.readiness import PARTS, readiness
from monitoring.running_jobs import running_jobs


@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer that this process answers; asks nothing and nobody."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 503 if the API cannot be served; without workers it can, so they are reported."""
    problems = readiness()
    workers = None
    if "database" not in problems and "migrations" not in problems:
        fleet = report_fleet()
        workers = {
            "alive": sum(report.alive for report in fleet),
            "heartbeat_age_s": round(fleet[0].age_s, 1) if fleet else None,
        }
    body = {
        "status": "unavailable" if problems else "ok",
        **{part: problems.get(part, "ok") for part in PARTS},
        "workers": workers,
    }
    return JsonResponse(body, status=503 if problems else 200)


@never_cache
@require_safe
def health_view(request: HttpRequest) -> HttpResponse:
    try:
        return JsonResponse(health())
    except Error:
        return JsonResponse(without_database(), status=503)


@never_cache
@require_safe
def running_jobs_view(request: HttpRequest) -> HttpResponse:
    projects = visible_projects(request)
    return unauthorised() if projects is None else JsonResponse(running_jobs(projects))


@never_cache
@require_safe
def gpu_view(request: HttpRequest) -> HttpResponse:
    projects = visible_projects(request)
    return unauthorised() if projects is None else JsonResponse(gpu_report(projects))


@never_cache
@require_safe
def limits_view(request: HttpRequest) -> HttpResponse:
    key = bearer_key(request)
    projects = visible_projects(request, key=key)
    return unauthorised() if projects is None else JsonResponse(limits_report(projects, key))


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    if not is_near(request) and bearer_key(request) is None:
        return unauthorised()
    return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST)
