"""Workers, lanes, engines and GPUs with the age of all that is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import DurationField, ExpressionWrapper, F, Prefetch, Q
from django.db.models.functions import Now

from jobs.models import Gpu, Lane, LaneModel, Worker
from jobs.services import fleet
from jobs.states import EngineState, LaneKind
from monitoring.models import Series
from monitoring.quantities import STALE_AFTER_S, SeriesKind

# A worker that fell silent longer ago than this is history, not a fault.
FORGOTTEN_AFTER_S = 86_400.0
# A worker, or an engine, that has just come has no readings yet.
FIRST_READING_WITHIN_S = 15.0
# The state of an engine whose worker says nothing any more.
UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class GpuReport:
    """The latest reading of a GPU and its age in seconds."""

    gpu: Gpu
    age_s: float

    @property
    def stale(self) -> bool:
        return self.age_s > STALE_AFTER_S


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The latest reading of a host or an engine, and its age in seconds."""

    series: Series
    age_s: float

    @property
    def stale(self) -> bool:
        return self.age_s > STALE_AFTER_S


@dataclass(frozen=True, kw_only=True)
class LaneReport:
    """An active lane, what its engine says of itself, and for how long that has been ready.

    `load_s` is how long the engine's model took to load, None where that is not known.
    """

    lane: Lane
    failed_models: list[LaneModel]
    reading: Reading | None
    ready_s: float | None
    load_s: float | None

    @property
    def crashed(self) -> bool:
        """Whether the last engine ended by itself, and no other has become ready since."""
        return bool(self.lane.engine_error) and self.lane.engine_state in (
            EngineState.DIED,
            EngineState.STARTING,
        )

    @property
    def unread(self) -> bool:
        """Whether an engine that is ready gives no figures."""
        if self.lane.kind == LaneKind.UPSTREAM or self.lane.engine_state != EngineState.READY:
            return False
        is_new = self.ready_s is None or self.ready_s < FIRST_READING_WITHIN_S
        return not is_new and (self.reading is None or self.reading.stale)


@dataclass(frozen=True, kw_only=True)
class WorkerReport:
    """A worker with its lanes, GPUs and its host; ages and durations in seconds.

    `sampled_age_s` is the age of its sampler's last sign of life, None if it never gave one.
    """

    worker: Worker
    age_s: float
    up_s: float
    sampled_age_s: float | None
    lanes: list[LaneReport]
    gpus: list[GpuReport]
    host: Reading | None

    @property
    def alive(self) -> bool:
        return self.worker.stopped_at is None and self.age_s <= fleet.STALE_AFTER_S

    @property
    def silent(self) -> bool:
        """Whether it went without saying so, and not so long ago."""
        if self.worker.stopped_at is not None:
            return False
        return fleet.STALE_AFTER_S < self.age_s < FORGOTTEN_AFTER_S

    def engine_state(self, lane: LaneReport) -> str:
        """Return the state of a lane's engine, which is the worker's word."""
        return lane.lane.engine_state if self.alive else UNKNOWN

    @property
    def sampler_silent(self) -> bool:
        """Whether nobody reads the figures of a worker that is alive."""
        if not self.alive or self.worker.draining:
            return False
        if self.sampled_age_s is None or self.sampled_age_s > self.up_s:
            return self.up_s > FIRST_READING_WITHIN_S
        return self.sampled_age_s > STALE_AFTER_S


def report_fleet() -> list[WorkerReport]:
    """Return every worker, the youngest heartbeat first; ages are by the database's clock."""
    gpus = Gpu.objects.annotate(age=_age("read_at")).order_by("index")
    lanes = (
        Lane.objects.filter(active=True)
        .annotate(ready=_age("engine_ready_at"))
        .select_related("engine_model")
        .order_by("name")
    )
    known = LaneModel.objects.filter(Q(failures__gt=0) | Q(load_s__isnull=False))
    workers = (
        Worker.objects.annotate(
            age=_age("heartbeat_at"), up=_age("started_at"), sampled=_age("sampled_at")
        )
        .prefetch_related(
            Prefetch("gpus", gpus),
            Prefetch(
                "lanes",
                lanes.prefetch_related(Prefetch("known_models", known.select_related("model"))),
            ),
        )
        .order_by("-heartbeat_at")
    )
    readings = _readings()
    return [_report(worker, readings) for worker in workers]


def present(fleet: list[WorkerReport]) -> list[WorkerReport]:
    """Return the workers that pages show, by name: those alive, and those that just went."""
    shown = [report for report in fleet if report.alive or report.silent]
    return sorted(shown, key=lambda report: report.worker.name)


def _report(worker: Any, readings: dict[tuple[str, int], Reading]) -> WorkerReport:
    return WorkerReport(
        worker=worker,
        age_s=_seconds(worker.age),
        up_s=_seconds(worker.up),
        sampled_age_s=None if worker.sampled is None else _seconds(worker.sampled),
        lanes=[
            LaneReport(
                lane=lane,
                failed_models=[known for known in lane.known_models.all() if known.failures],
                reading=readings.get((SeriesKind.ENGINE, lane.pk)),
                ready_s=None if lane.ready is None else _seconds(lane.ready),
                load_s=next(
                    (
                        known.load_s
                        for known in lane.known_models.all()
                        if known.model_id == lane.engine_model_id
                    ),
                    None,
                ),
            )
            for lane in worker.lanes.all()
        ],
        gpus=[GpuReport(gpu=gpu, age_s=_seconds(gpu.age)) for gpu in worker.gpus.all()],
        host=readings.get((SeriesKind.HOST, worker.pk)),
    )


def _readings() -> dict[tuple[str, int], Reading]:
    """Return the readings of hosts and engines, by their kind and whom they are of."""
    rows = (
        Series.objects.filter(kind__in=(SeriesKind.HOST, SeriesKind.ENGINE), read_at__isnull=False)
        .annotate(age=_age("read_at"))
        .defer("detail")
    )
    return {
        (row.kind, row.worker_id or row.lane_id or 0): Reading(series=row, age_s=_seconds(row.age))
        for row in rows
    }


def _age(field: str) -> ExpressionWrapper[Any]:
    return ExpressionWrapper(Now() - F(field), output_field=DurationField())


def _seconds(age: timedelta) -> float:
    return max(0.0, age.total_seconds())
