"""What Home shows of a person's projects: live batches with their speed, today, the last ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models import Batch, Chunk, Project
from jobs.states import ENDED_STATES, LIVE_STATES, BatchState, ChunkState
from jobs.views.shown import NEEDED, Shown, show_batches
from monitoring.batch_figures import UNKNOWN, Rates, rates_now
from monitoring.batch_points import Point, read_points_of_each
from monitoring.eta import LOOK_BACK, Estimate, estimate_from
from monitoring.fleet_report import WorkerReport
from monitoring.models import DayTally, Series
from monitoring.quantities import STALE_AFTER_S, SeriesKind
from monitoring.services.summaries import behind_by

RUNNING_SHOWN = 8
WAITING_SHOWN = 6
ENDED_SHOWN = 8
# What a row shows besides, and its speed needs: Home asks every two seconds.
_SHOWN = ("total", "completed", "input_tokens", "output_tokens", "ended_at")


@dataclass(frozen=True, kw_only=True)
class LiveBatch:
    """A live batch as a row; rates and estimate are known only of one that moves."""

    batch: Batch
    shown: Shown
    now: Rates
    estimate: Estimate | None


@dataclass(frozen=True, kw_only=True)
class Today:
    """Requests and tokens since midnight; `uncounted` answers, of all projects, are yet to come."""

    day: date
    requests: int
    failed: int
    input_tokens: int
    output_tokens: int
    uncounted: int


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Tokens a second of all engines that are read now; None where no engine is.

    `read_at` is the oldest of these readings, or else the last one that any engine gave.
    """

    input_tokens: float | None
    output_tokens: float | None
    read_at: datetime | None
    is_read: bool


@dataclass(frozen=True, kw_only=True)
class HomeReport:
    """What is live (`running` and `waiting` count all, `live` holds the first), and what ended."""

    live: list[LiveBatch]
    running: int
    waiting: int
    ended: list[tuple[Batch, Shown]]
    is_new: bool

    @property
    def unlisted(self) -> int:
        return self.running + self.waiting - len(self.live)


def report_home(batches: QuerySet[Batch]) -> HomeReport:
    """Read the live and the last ended of these batches; the number of queries is fixed."""
    rows = batches.select_related("model").only(*NEEDED, *_SHOWN)
    at_work = list(
        Chunk.objects.filter(state=ChunkState.CLAIMED, lease_until__gt=Now())
        .values_list("batch_id", flat=True)
        .distinct()
    )
    moves = Q(pk__in=at_work) | Q(state__in=(BatchState.FINALIZING, BatchState.CANCELLING))
    alive = rows.filter(state__in=LIVE_STATES)
    ranked = alive.order_by("-priority", "pk")
    running = list(ranked.filter(moves)[: RUNNING_SHOWN + 1])
    waiting = list(ranked.filter(~moves)[: WAITING_SHOWN + 1])
    counts = {"running": len(running), "waiting": len(waiting)}
    if len(running) > RUNNING_SHOWN or len(waiting) > WAITING_SHOWN:
        counts = batches.filter(state__in=LIVE_STATES).aggregate(
            running=Count("pk", filter=moves), waiting=Count("pk", filter=~moves)
        )
    live = [*running[:RUNNING_SHOWN], *waiting[:WAITING_SHOWN]]
    ended = list(rows.filter(state__in=ENDED_STATES).order_by("-ended_at")[:ENDED_SHOWN])
    shown = show_batches([*live, *ended])
    points = _points(live)
    return HomeReport(
        live=[
            LiveBatch(
                batch=batch,
                shown=shown[batch.pk],
                now=rates_now(points[batch.pk]) if batch.pk in points else UNKNOWN,
                estimate=_estimate(batch, points.get(batch.pk, [])),
            )
            for batch in live
        ],
        **counts,
        ended=[(batch, shown[batch.pk]) for batch in ended],
        is_new=not live and not ended,
    )


def _points(live: Sequence[Batch]) -> dict[int, list[Point]]:
    """Return the last points of those that are read at this time: others have no speed."""
    fresh = Series.objects.filter(
        kind=SeriesKind.BATCH,
        batch__in=[batch.pk for batch in live if batch.paused_at is None],
        read_at__gte=Now() - timedelta(seconds=STALE_AFTER_S),
    ).defer("detail")
    return read_points_of_each(list(fresh), look_back=LOOK_BACK)


def _estimate(batch: Batch, points: Sequence[Point]) -> Estimate | None:
    return estimate_from(batch, points) if batch.state == BatchState.IN_PROGRESS else None


def report_today(projects: Sequence[Project]) -> Today:
    day = timezone.localdate()
    sums = DayTally.objects.filter(day=day, project__in=projects).aggregate(
        completed=Sum("completed"),
        failed=Sum("failed"),
        input_tokens=Sum("input_tokens"),
        output_tokens=Sum("output_tokens"),
    )
    found = {name: value or 0 for name, value in sums.items()}
    return Today(
        day=day,
        requests=found["completed"] + found["failed"],
        failed=found["failed"],
        input_tokens=found["input_tokens"],
        output_tokens=found["output_tokens"],
        uncounted=behind_by(),
    )


def report_throughput(fleet: Sequence[WorkerReport]) -> Throughput:
    """Add up what the engines say of themselves; those that are not read now say nothing."""
    given = [
        (report.alive and not lane.reading.stale, lane.reading.series)
        for report in fleet
        for lane in report.lanes
        if lane.reading is not None
    ]
    read = [series for is_read, series in given if is_read]

    def total(name: str) -> float | None:
        known = [series.latest[name] for series in read if series.latest.get(name) is not None]
        return sum(known) if known else None

    return Throughput(
        input_tokens=total("prompt_tokens_per_s"),
        output_tokens=total("generation_tokens_per_s"),
        is_read=bool(read),
        read_at=min(_times(read))
        if read
        else max(_times(series for _, series in given), default=None),
    )


def _times(read: Iterable[Series]) -> list[datetime]:
    return [series.read_at for series in read if series.read_at is not None]
