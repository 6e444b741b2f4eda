"""The answer of `/health`: what runs, how old each figure is, and what is wrong."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Count, DurationField, ExpressionWrapper, F, Max, Sum
from django.db.models.functions import Now

from jobs.models import Batch
from jobs.services.batches import completion_windows
from jobs.services.limits import default_limits
from jobs.states import LIVE_STATES, BatchState, LaneKind
from jobs.templatetags.figures import duration
from monitoring.fleet_report import GpuReport, WorkerReport, report_fleet
from monitoring.readiness import check_disk


def health() -> dict[str, Any]:
    """Return the state of the whole; ages in seconds, sizes in bytes.

    Names of models and texts of errors are left out, since anyone may ask.
    """
    fleet = report_fleet()
    reasons = find_faults(fleet)
    return {
        "status": "degraded" if reasons else "ok",
        "reasons": reasons,
        "gpu": _gpu_part(fleet),
        "worker": _worker_part(fleet),
        "queue": _queue_part(),
        "limits": limits(),
    }


def without_database() -> dict[str, Any]:
    """Return what can be said while the database does not answer: nothing that was true once."""
    return {
        "status": "degraded",
        "reasons": ["the database does not answer"],
        "gpu": None,
        "worker": None,
        "queue": None,
        "limits": limits(),
    }


def find_faults(fleet: list[WorkerReport]) -> list[str]:
    """Return what an operator should look at, in words."""
    faults = []
    alive = [report for report in fleet if report.alive]
    if not alive:
        if fleet:
            age = duration(fleet[0].age_s)
            faults.append(f"no worker is alive; the last heartbeat came {age} ago")
        else:
            faults.append("no worker has ever run")
    faults += [
        f"worker {report.worker.name} has been silent for {duration(report.age_s)}"
        for report in fleet
        if report.silent and alive
    ]
    for report in alive:
        if report.worker.draining:
            faults.append(f"worker {report.worker.name} is stopping")
        if report.sampler_silent:
            since = report.sampled_age_s
            faults.append(
                f"the sampler of {report.worker.name} has "
                + ("not started" if since is None else f"been silent for {duration(since)}")
            )
        for gpu in report.gpus:
            name = f"GPU {gpu.gpu.index} of {report.worker.name}"
            if gpu.gpu.error:
                faults.append(f"{name} cannot be read")
            elif gpu.stale:
                faults.append(f"the reading of {name} is {duration(gpu.age_s)} old")
        for of_lane in report.lanes:
            name = f"lane {of_lane.lane.name} of {report.worker.name}"
            if of_lane.failed_models:
                faults.append(f"{name} {_what_fails(of_lane.lane.kind)}")
            elif of_lane.crashed:
                faults.append(f"the engine on {name} ended by itself and is not back yet")
            if of_lane.unread and not report.sampler_silent:
                faults.append(f"the engine on {name} gives no figures")
    disk = check_disk()
    return [*faults, disk] if disk else faults


def _what_fails(kind: str) -> str:
    if kind == LaneKind.UPSTREAM:
        return "has no answer of a server"
    return "cannot start an engine"


def _gpu_part(fleet: list[WorkerReport]) -> dict[str, Any]:
    readings = [(report, gpu) for report in fleet if report.alive for gpu in report.gpus]
    if not readings:
        status = "none"
    elif any(gpu.stale for _, gpu in readings):
        status = "stale"
    elif any(gpu.gpu.error for _, gpu in readings):
        status = "error"
    else:
        status = "ok"
    return {"status": status, "gpus": [_gpu(report, gpu) for report, gpu in readings]}


def _gpu(report: WorkerReport, reading: GpuReport) -> dict[str, Any]:
    gpu = reading.gpu
    figures = {
        "utilization_percent": gpu.utilization_percent,
        "memory_used_bytes": gpu.memory_used_bytes,
        "temperature_c": gpu.temperature_c,
        "power_w": gpu.power_w,
    }
    return {
        "worker": report.worker.name,
        "index": gpu.index,
        "name": gpu.name,
        "read_age_s": round(reading.age_s, 1),
        "stale": reading.stale,
        "memory_total_bytes": gpu.memory_total_bytes,
        "power_limit_w": gpu.power_limit_w,
        # An old figure is no figure: a reader that ignores `stale` must not be misled.
        **(dict.fromkeys(figures) if reading.stale else figures),
    }


def _worker_part(fleet: list[WorkerReport]) -> dict[str, Any]:
    alive = sum(report.alive for report in fleet)
    status = "ok" if alive else "silent" if any(r.silent for r in fleet) else "none"
    return {
        "status": status,
        "alive": alive,
        "heartbeat_age_s": round(fleet[0].age_s, 1) if fleet else None,
        "workers": [
            {
                "name": report.worker.name,
                "alive": report.alive,
                "draining": report.worker.draining,
                "stopped": report.worker.stopped_at is not None,
                "heartbeat_age_s": round(report.age_s, 1),
                "sampler": "silent" if report.sampler_silent else "ok" if report.alive else "none",
                "sampled_age_s": _rounded(report.sampled_age_s),
                "lanes": [
                    {
                        "name": of_lane.lane.name,
                        "kind": of_lane.lane.kind,
                        "engine": report.engine_state(of_lane),
                    }
                    for of_lane in report.lanes
                ],
            }
            for report in fleet
            if report.alive or report.silent
        ],
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _queue_part() -> dict[str, Any]:
    live = Batch.objects.filter(state__in=LIVE_STATES)
    by_state = dict(live.values_list("state").annotate(count=Count("pk")))
    age = ExpressionWrapper(Now() - F("created_at"), output_field=DurationField())
    figures = live.aggregate(
        requests=Sum(F("total") - F("completed") - F("failed")), oldest=Max(age)
    )
    oldest = figures["oldest"]
    return {
        "batches": {str(state): by_state.get(str(state), 0) for state in LIVE_STATES},
        "requests": figures["requests"] or 0,
        "oldest_batch_age_s": round(oldest.total_seconds(), 1) if oldest else None,
    }


def limits() -> dict[str, Any]:
    """Return what the operator allows; sizes in bytes, durations in seconds, null is no limit."""
    return {
        "max_file_bytes": settings.MAX_FILE_BYTES,
        "max_lines": settings.MAX_LINES,
        "max_line_bytes": settings.MAX_LINE_BYTES,
        "max_embedding_inputs": settings.MAX_EMBEDDING_INPUTS,
        **default_limits(),
        "file_expires_s": settings.FILE_EXPIRES_S,
        "completion_windows": sorted(completion_windows()),
    }


def batches_by_state() -> dict[str, int]:
    """Return the number of batches in each state, zeros included."""
    # Counting rows and not keys lets the index answer.
    found = dict(Batch.objects.values_list("state").annotate(count=Count("*")))
    return {str(state): found.get(str(state), 0) for state in BatchState}
