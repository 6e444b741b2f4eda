"""The samples of a batch, as points in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from monitoring.models import Sample, Series
from monitoring.quantities import QUANTITIES, SeriesKind, Step

_NAMES = [quantity.name for quantity in QUANTITIES[SeriesKind.BATCH]]


@dataclass(frozen=True, kw_only=True)
class Point:
    """How far a batch was at a moment: `at` in seconds since 1970, the rest its counters."""

    at: float
    answered: float
    input_tokens: float
    output_tokens: float
    phase: int


def read_points(series: Series, *, look_back: timedelta | None = None) -> list[Point]:
    """Return the points of a batch's series, of the last `look_back` or all."""
    return read_points_of_each([series], look_back=look_back).get(series.batch_id or 0, [])


def read_points_of_each(
    each: Sequence[Series], *, look_back: timedelta | None = None
) -> dict[int, list[Point]]:
    """Return by id of the batch the points of these series, in one query.

    What does not change is not sampled again, so that the last point may stand for a longer
    time: then it is repeated at the moment of the last look.
    """
    points: dict[int, list[Point]] = {}
    by_id = {series.pk: series for series in each}
    rows = Sample.objects.filter(series__in=list(by_id), step_s=Step.THINNED)
    if look_back is not None:
        rows = rows.filter(at__gte=Now() - look_back)
    for series_id, at, values in rows.order_by("at").values_list("series_id", "at", "values"):
        points.setdefault(by_id[series_id].batch_id or 0, []).append(_point(at, values))
    for series in each:
        found = points.get(series.batch_id or 0, [])
        if found and series.read_at and series.read_at.timestamp() > found[-1].at:
            found.append(replace(found[-1], at=series.read_at.timestamp()))
    return points


def _point(at: Any, values: list[float | None]) -> Point:
    known = {name: value or 0.0 for name, value in zip(_NAMES, values, strict=False)}
    return Point(
        at=at.timestamp(),
        answered=known["completed"] + known["failed"],
        input_tokens=known["input_tokens"],
        output_tokens=known["output_tokens"],
        phase=int(known["phase"]),
    )
