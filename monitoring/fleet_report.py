"""Workers, lanes and GPUs with the age of all that is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import DurationField, ExpressionWrapper, F, Prefetch
from django.db.models.functions import Now

from jobs.models import Gpu, Lane, LaneModel, Worker
from jobs.services.fleet import STALE_AFTER_S

GPU_STALE_AFTER_S = 15.0
# A worker that fell silent longer ago than this is history, not a fault.
FORGOTTEN_AFTER_S = 86_400.0


@dataclass(frozen=True, kw_only=True)
class GpuReport:
    """The latest reading of a GPU and its age in seconds."""

    gpu: Gpu
    age_s: float

    @property
    def stale(self) -> bool:
        return self.age_s > GPU_STALE_AFTER_S


@dataclass(frozen=True, kw_only=True)
class WorkerReport:
    """A worker, the age of its heartbeat in seconds, and its active lanes and GPUs."""

    worker: Worker
    age_s: float
    lanes: list[Lane]
    gpus: list[GpuReport]

    @property
    def alive(self) -> bool:
        return self.worker.stopped_at is None and self.age_s <= STALE_AFTER_S

    @property
    def silent(self) -> bool:
        """Whether it went without saying so, and not so long ago."""
        return self.worker.stopped_at is None and STALE_AFTER_S < self.age_s < FORGOTTEN_AFTER_S


def report_fleet() -> list[WorkerReport]:
    """Return every worker, the youngest heartbeat first; ages are by the database's clock."""
    gpus = Gpu.objects.annotate(age=_age("read_at")).order_by("index")
    lanes = Lane.objects.filter(active=True).select_related("engine_model").order_by("name")
    failed = LaneModel.objects.filter(failures__gt=0).select_related("model")
    workers = (
        Worker.objects.annotate(age=_age("heartbeat_at"))
        .prefetch_related(
            Prefetch("gpus", gpus),
            Prefetch(
                "lanes", lanes.prefetch_related(Prefetch("known_models", failed, "failed_models"))
            ),
        )
        .order_by("-heartbeat_at")
    )
    return [
        WorkerReport(
            worker=worker,
            age_s=_seconds(worker.age),
            lanes=list(worker.lanes.all()),
            gpus=[GpuReport(gpu=gpu, age_s=_seconds(gpu.age)) for gpu in worker.gpus.all()],  # type: ignore[attr-defined]
        )
        for worker in workers
    ]


def _age(field: str) -> ExpressionWrapper[Any]:
    return ExpressionWrapper(Now() - F(field), output_field=DurationField())


def _seconds(age: timedelta) -> float:
    return max(0.0, age.total_seconds())
