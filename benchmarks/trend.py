"""The course of a workload's speed from run to run, laid out, with what changed between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils import timezone

from benchmarks.comparing import METRICS, Metric, repeats_of
from benchmarks.fingerprints import Difference, differences, hardware_of
from benchmarks.models import Run
from benchmarks.plot import Axis, Tick, axis_from_zero, colours_of
from benchmarks.summary import figure

RUNS_MAX = 60
HEIGHT = 220
_TOP, _FLOOR = 22, HEIGHT - 24
# In per cent of the width; beyond them lie half a point and half a date.
_LEFT, _RIGHT = 3.0, 96.0
_DATES = 4


@dataclass(frozen=True, kw_only=True)
class Point:
    """A run: its median, and the span of its repeats. `x` is in per cent, `y` in pixels."""

    run: Run
    value: float
    x: float
    y: float
    low_y: float
    high_y: float
    low: float
    high: float
    repeats: int
    colour: int
    hardware: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """From one run to the next of the same model on the same hardware."""

    x1: float
    y1: float
    x2: float
    y2: float
    colour: int


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Where something changed that may well be the cause of another speed."""

    number: int
    x: float
    run: Run
    changes: list[Difference]


@dataclass(frozen=True, kw_only=True)
class Trend:
    """Runs in their order, evenly spaced: they come in heaps, with weeks between them."""

    metric: Metric
    axis: Axis
    points: list[Point]
    lines: list[Line]
    marks: list[Mark]
    models: list[tuple[int, str]]
    dates: list[tuple[float, Run]]
    height: int = HEIGHT
    top: int = _TOP
    floor: int = _FLOOR

    @property
    def ticks(self) -> list[Tick]:
        return self.axis.ticks

    @property
    def is_one_day(self) -> bool:
        ends = (self.points[0], self.points[-1])
        return len({timezone.localtime(one.run.created_at).date() for one in ends}) == 1


def lay_out_trend(runs: Sequence[Run], colours: Mapping[str, int] | None = None) -> Trend | None:
    """Lay out completed runs of one workload, oldest first; None for fewer than two."""
    metric = next((m for m in METRICS if any(figure(r.figures, m.path) for r in runs)), None)
    if metric is None:
        return None
    known = [(run, figure(run.figures, metric.path)) for run in runs]
    measured = [(run, value) for run, value in known if value is not None]
    if len(measured) < 2:
        return None
    spans = {run.pk: [*repeats_of(run, metric), value] for run, value in measured}
    axis = axis_from_zero(max(max(span) for span in spans.values()), start=_FLOOR, end=_TOP)
    models = list(dict.fromkeys(run.model_name for run, _ in measured))
    colours = colours or colours_of(models)
    gap = (_RIGHT - _LEFT) / (len(measured) - 1)
    points = [
        Point(
            run=run,
            value=value,
            x=round(_LEFT + place * gap, 2),
            y=axis.at(value),
            low_y=axis.at(min(spans[run.pk])),
            high_y=axis.at(max(spans[run.pk])),
            low=min(spans[run.pk]),
            high=max(spans[run.pk]),
            repeats=len(spans[run.pk]) - 1,
            colour=colours[run.model_name],
            hardware=hardware_of(run.fingerprint),
        )
        for place, (run, value) in enumerate(measured)
    ]
    lines, marks = _between(points)
    return Trend(
        metric=metric,
        axis=axis,
        points=points,
        lines=lines,
        marks=marks,
        models=[(colours[name], name) for name in models],
        dates=[(point.x, point.run) for point in _some(points)],
    )


def _between(points: Sequence[Point]) -> tuple[list[Line], list[Mark]]:
    """Join each point with the last of its model, and tell what changed between the two."""
    lines: list[Line] = []
    marks: list[Mark] = []
    last: dict[str, Point] = {}
    for point in points:
        before = last.get(point.run.model_name)
        last[point.run.model_name] = point
        if before is None:
            continue
        changes = differences(before.run.fingerprint, point.run.fingerprint)
        if before.hardware == point.hardware:
            lines.append(
                Line(x1=before.x, y1=before.y, x2=point.x, y2=point.y, colour=point.colour)
            )
        else:
            old, new = (one.hardware or "not known" for one in (before, point))
            changes.insert(0, Difference("hardware", "hardware", old, new))
        if changes:
            marks.append(Mark(number=len(marks) + 1, x=point.x, run=point.run, changes=changes))
    return lines, marks


def _some(points: Sequence[Point]) -> list[Point]:
    """Return the points under which a date stands: the ends, and some between them."""
    count = min(_DATES, len(points))
    last = len(points) - 1
    return [points[round(place * last / (count - 1))] for place in range(count)]
