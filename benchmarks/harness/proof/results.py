"""A measured figure with its goal, and how many of them come together to one with a range."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

RESAMPLES = 10_000


@dataclass(frozen=True, kw_only=True)
class Result:
    """One row of the table: what was measured, what came out, what was to come out.

    `low` and `high` are the range of the repeats, or the interval where `note` says so. `sign`
    and `goal` are the limit, such as ">=" and 1.5; without a goal the figure only tells. A
    `detail` is what another row rests on.
    """

    part: str
    what: str
    value: float
    unit: str = ""
    low: float | None = None
    high: float | None = None
    repeats: int = 1
    sign: str = ""
    goal: float | None = None
    note: str = ""
    detail: bool = False

    @property
    def held(self) -> bool | None:
        """Tell whether the goal is met; None where there is none."""
        if self.goal is None:
            return None
        return _SIGNS[self.sign](self.value, self.goal)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "held": self.held}


_SIGNS: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda value, goal: value >= goal,
    "<=": lambda value, goal: value <= goal,
}


def ratio(
    part: str,
    what: str,
    above: Sequence[float],
    below: Sequence[float],
    *,
    goal: float | None = None,
    note: str = "",
    detail: bool = False,
) -> Result:
    """Return the median of `above` over that of `below`.

    Its range is that of the pairs, taken in turn, where there are as many of both; else that of
    the most unlike values. ValueError where there is nothing to divide.
    """
    if not above or not below:
        raise ValueError(f"{what}: nothing was measured")
    if len(above) == len(below):
        pairs = [one / other for one, other in zip(above, below, strict=True)]
        low, high = min(pairs), max(pairs)
    else:
        low, high = min(above) / max(below), max(above) / min(below)
    return Result(
        part=part,
        what=what,
        value=statistics.median(above) / statistics.median(below),
        unit="times",
        low=low,
        high=high,
        repeats=min(len(above), len(below)),
        sign="" if goal is None else ">=",
        goal=goal,
        note=note,
        detail=detail,
    )


def median(
    part: str,
    what: str,
    values: Sequence[float],
    *,
    unit: str,
    sign: str = "",
    goal: float | None = None,
    note: str = "",
    detail: bool = False,
) -> Result:
    """Return the median of repeats, with their range; ValueError where there are none."""
    if not values:
        raise ValueError(f"{what}: nothing was measured")
    many = len(values) > 1
    return Result(
        part=part,
        what=what,
        value=statistics.median(values),
        unit=unit,
        low=min(values) if many else None,
        high=max(values) if many else None,
        repeats=len(values),
        sign=sign,
        goal=goal,
        note=note,
        detail=detail,
    )


def interval_of_median(
    values: Sequence[float], *, share: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the median, the same at each call."""
    draw = random.Random(seed)
    medians = sorted(
        statistics.median(draw.choices(values, k=len(values))) for _ in range(RESAMPLES)
    )
    cut = int(RESAMPLES * (1 - share) / 2)
    return medians[cut], medians[-1 - cut]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of all do not exceed; ValueError where none are."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]
