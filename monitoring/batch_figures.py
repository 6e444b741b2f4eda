"""The figures of one batch that are measured: rates, phases, histograms, errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import DurationField, ExpressionWrapper, F
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models import Batch
from jobs.states import BatchState
from monitoring.batch_points import Point, read_points
from monitoring.eta import Estimate, estimate_batch
from monitoring.models import BatchSummary, Series
from monitoring.quantities import (
    HISTOGRAM_BOUNDS,
    PHASE_LOADING,
    PHASE_PAUSED,
    PHASE_QUEUED,
    PHASE_RUNNING,
    STALE_AFTER_S,
    SeriesKind,
)

# "Now" is the mean of so many seconds: a single interval of two says little.
NOW_S = 30.0
# The steady part lies between these shares of the lines.
WARM_UNTIL, STEADY_UNTIL = 0.1, 0.9
_WORDS = {PHASE_QUEUED: "queued", PHASE_LOADING: "loading model", PHASE_PAUSED: "paused"}


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of a batch's life; times in seconds since 1970."""

    name: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bucket of a histogram: values from `low` (included) to `high` (not; None is no end)."""

    low: int
    high: int | None
    count: int


@dataclass(frozen=True, kw_only=True)
class ErrorGroup:
    """The lines that ended with one error code; `positions` are those of the first few."""

    code: str
    count: int
    message: str
    positions: list[int]


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Per second: requests answered, tokens that engines read and wrote; None is not known."""

    requests: float | None
    input_tokens: float | None
    output_tokens: float | None


UNKNOWN = Rates(requests=None, input_tokens=None, output_tokens=None)


@dataclass(frozen=True, kw_only=True)
class BatchFigures:
    """What is known of a batch beyond its counters.

    `counted` of `answers` are in the histograms, finish reasons and errors, which follow the
    answers. While `stale`, nobody measures: `now`, `running` and `waiting` are not known.
    """

    estimate: Estimate | None
    counted: int
    answers: int
    now: Rates
    average: Rates
    running: int | None
    waiting: int | None
    stale: bool
    read_at: Any
    phases: list[Phase]
    histograms: dict[str, list[Bar]]
    finish_reasons: dict[str, int]
    errors: list[ErrorGroup]


def read_figures(batch: Batch) -> BatchFigures:
    """Return the figures of a batch; the number of queries does not depend on its size."""
    summary = BatchSummary.objects.filter(batch=batch).first() or BatchSummary(batch=batch)
    series = (
        Series.objects.filter(kind=SeriesKind.BATCH, batch=batch)
        .annotate(age=ExpressionWrapper(Now() - F("read_at"), output_field=DurationField()))
        .first()
    )
    points = read_points(series) if series is not None else []
    is_at_work = batch.is_live and bool(points) and points[-1].phase == PHASE_RUNNING
    stale = is_at_work and (series is None or series.age.total_seconds() > STALE_AFTER_S)
    latest = series.latest if series is not None and is_at_work and not stale else {}
    return BatchFigures(
        estimate=estimate_batch(batch, points) if batch.is_live and not stale else None,
        counted=summary.seq,
        answers=batch.last_seq,
        now=rates_now(points) if is_at_work and not stale else UNKNOWN,
        average=_average(batch),
        running=_whole(latest.get("requests_running")),
        waiting=_whole(latest.get("requests_waiting")),
        stale=stale,
        read_at=series.read_at if series is not None else None,
        phases=_phases(batch, points),
        histograms={
            name: _bars(name, summary.histograms.get(name, {})) for name in HISTOGRAM_BOUNDS
        },
        finish_reasons=dict(sorted(summary.finish_reasons.items(), key=lambda one: -one[1])),
        errors=[
            ErrorGroup(code=code, **known)
            for code, known in sorted(summary.errors.items(), key=lambda one: -one[1]["count"])
        ],
    )


def rates_now(points: Sequence[Point]) -> Rates:
    """Return the means of the last half minute."""
    last = points[-1]
    earlier = [one for one in points if last.at - NOW_S <= one.at < last.at]
    if not earlier:
        return UNKNOWN
    first = earlier[0]
    span_s = last.at - first.at
    return Rates(
        requests=(last.answered - first.answered) / span_s,
        input_tokens=(last.input_tokens - first.input_tokens) / span_s,
        output_tokens=(last.output_tokens - first.output_tokens) / span_s,
    )


def _average(batch: Batch) -> Rates:
    """Return the means from the first answer to the last one, from the batch's own counters."""
    first, last = batch.first_response_at, batch.last_response_at
    if batch.imported_at is not None or first is None or last is None or last <= first:
        return UNKNOWN
    span_s = (last - first).total_seconds()
    return Rates(
        requests=batch.answered / span_s,
        input_tokens=(batch.input_tokens - batch.reused_input_tokens) / span_s,
        output_tokens=(batch.output_tokens - batch.reused_output_tokens) / span_s,
    )


def _phases(batch: Batch, points: Sequence[Point]) -> list[Phase]:
    """Return the stretches of a batch's life, in their order, without holes.

    Queued, loading and paused are as sampled; running is warm-up until a tenth of the lines is
    answered, then steady, and the tail from nine tenths on.
    """
    if not points:
        return []
    ended = batch.ended_at.timestamp() if batch.ended_at else None
    found = [("queued", batch.created_at.timestamp())]
    found += [(_phase_name(one, batch.total), one.at) for one in points]
    if ended is not None and batch.state != BatchState.COMPLETED:
        found.append(("", ended))
    end = ended or timezone.now().timestamp()
    phases: list[Phase] = []
    for (name, start), (_, until) in zip(found, [*found[1:], ("", end)], strict=True):
        if not name or until <= start:
            continue
        if phases and phases[-1].name == name:
            phases[-1] = Phase(name=name, start=phases[-1].start, end=until)
        else:
            phases.append(Phase(name=name, start=start, end=until))
    return phases


def _phase_name(point: Point, total: int) -> str:
    if point.phase in _WORDS:
        return _WORDS[point.phase]
    share = point.answered / total if total else 0
    return "warm-up" if share < WARM_UNTIL else "steady" if share < STEADY_UNTIL else "tail"


def _bars(name: str, counts: dict[str, int]) -> list[Bar]:
    """Return the buckets from the first to the last that holds anything."""
    bounds = HISTOGRAM_BOUNDS[name]
    filled = sorted(int(bucket) for bucket in counts)
    if not filled:
        return []
    return [
        Bar(
            low=bounds[bucket - 1] if bucket else 0,
            high=bounds[bucket] if bucket < len(bounds) else None,
            count=counts.get(str(bucket), 0),
        )
        for bucket in range(filled[0], filled[-1] + 1)
    ]


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
