"""A comparison laid out: of each metric its change with its interval, on one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.comparing import SMALLEST_EFFECT, MetricVerdict
from benchmarks.plot import Axis, axis_between

_LEFT, _RIGHT = 1.0, 99.0
# Changes beyond it are drawn at the end: one wild metric does not flatten the others.
_FURTHEST = 1.0


@dataclass(frozen=True, kw_only=True)
class IntervalBar:
    """Where the change and its bounds are, in per cent of the width; None is not known."""

    found: MetricVerdict
    at: float | None
    low: float | None
    high: float | None
    cut: bool

    @property
    def width(self) -> float:
        return 0.0 if self.low is None or self.high is None else round(self.high - self.low, 2)


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """The bars, the place of no change, and those of the smallest effect to either side."""

    bars: list[IntervalBar]
    axis: Axis
    zero: float
    effect_low: float
    effect_width: float
    effect: float = SMALLEST_EFFECT


def lay_out_intervals(verdicts: Sequence[MetricVerdict]) -> Intervals:
    known = [
        value
        for one in verdicts
        for value in (one.verdict.change, one.verdict.low, one.verdict.high)
        if value is not None
    ]
    most = min(max([SMALLEST_EFFECT * 2, *(abs(value) for value in known)]), _FURTHEST)
    axis = axis_between(-most * 100, most * 100, start=_LEFT, end=_RIGHT, ticks=4)
    effect_low, effect_high = (axis.at(sign * SMALLEST_EFFECT * 100) for sign in (-1, 1))
    return Intervals(
        bars=[_bar(one, axis) for one in verdicts],
        axis=axis,
        zero=axis.at(0.0),
        effect_low=effect_low,
        effect_width=round(effect_high - effect_low, 2),
    )


def _bar(one: MetricVerdict, axis: Axis) -> IntervalBar:
    def at(change: float | None) -> float | None:
        if change is None:
            return None
        return axis.at(min(max(change * 100, axis.low), axis.high))

    found = one.verdict
    ends = [value for value in (found.change, found.low, found.high) if value is not None]
    return IntervalBar(
        found=one,
        at=at(found.change),
        low=at(found.low),
        high=at(found.high),
        cut=any(not axis.low <= value * 100 <= axis.high for value in ends),
    )
