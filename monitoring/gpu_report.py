"""The answer of `/api/gpu`: GPUs and their processes, hosts, and how far the batches are."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from jobs.models import Batch, Project
from jobs.states import LIVE_STATES
from monitoring.fleet_report import GpuReport, Reading, WorkerReport, present, report_fleet

# The name here, and the column of `Gpu` that it shows.
_FIGURES = {
    "utilization": "utilization_percent",
    "memory_used": "memory_used_bytes",
    "temperature": "temperature_c",
    "power": "power_w",
    "clock_sm": "clock_sm_mhz",
    "clock_memory": "clock_memory_mhz",
    "throttle_reasons": "throttle_reasons",
    "energy": "energy_j",
}
# Of thousands of batches that wait, whole rows would take longer than all the rest.
_PROGRESS = ("public_id", "model_name", "state", "completed", "failed", "total")


def gpu_report(projects: QuerySet[Project]) -> dict[str, Any]:
    """Return what is read of the hosts, and the progress of the live batches of `projects`.

    Bytes, °C, W, MHz, J, percent; ages in seconds. Figures of a stale reading are null.
    """
    fleet = present(report_fleet())
    batches = Batch.objects.filter(project__in=projects, state__in=LIVE_STATES).order_by("pk")
    return {
        "gpus": [_gpu(report, gpu) for report in fleet for gpu in report.gpus],
        "processes": [
            {
                "worker": report.worker.name,
                "gpu": gpu.gpu.index,
                "pid": process["pid"],
                "name": process["name"],
                "memory": process["memory_bytes"],
            }
            for report in fleet
            for gpu in report.gpus
            for process in gpu.gpu.processes or []
            if not gpu.stale
        ],
        "hosts": [_host(report, report.host) for report in fleet],
        "progress": dict(_progress(*row) for row in batches.values_list(*_PROGRESS)),
    }


def _gpu(report: WorkerReport, reading: GpuReport) -> dict[str, Any]:
    gpu = reading.gpu
    return {
        "worker": report.worker.name,
        "index": gpu.index,
        "name": gpu.name,
        "uuid": gpu.uuid,
        "driver": gpu.driver,
        **{
            name: None if reading.stale else getattr(gpu, column)
            for name, column in _FIGURES.items()
        },
        "memory_total": gpu.memory_total_bytes,
        "power_limit": gpu.power_limit_w,
        "age_s": round(reading.age_s, 1),
        "stale": reading.stale,
        "error": gpu.error or None,
    }


def _host(report: WorkerReport, reading: Reading | None) -> dict[str, Any]:
    stale = reading is None or reading.stale
    latest = {} if reading is None or stale else reading.series.latest
    return {
        "worker": report.worker.name,
        "note": report.worker.gpu_note if report.gpus else f"CPU engine: {report.worker.gpu_note}",
        "cpu_percent": latest.get("cpu_percent"),
        "memory_used": latest.get("memory_used_bytes"),
        "memory_total": latest.get("memory_total_bytes"),
        "load_1m": latest.get("load_1m"),
        "age_s": None if reading is None else round(reading.age_s, 1),
        "stale": stale,
    }


def _progress(
    public_id: str, model: str, state: str, completed: int, failed: int, total: int
) -> tuple[str, dict[str, Any]]:
    return public_id, {
        "model": model or None,
        "status": state,
        "completed": completed,
        "failed": failed,
        "total": total,
        "percent": round((completed + failed) / total * 100, 1) if total else 0.0,
    }
