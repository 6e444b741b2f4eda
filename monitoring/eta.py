"""How long work will take: a band, and what it rests on; never a bare figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from django.db.models import F, Max, QuerySet, Sum

from jobs.models import Batch, Lane, LaneModel
from jobs.models.batches import PACE_FROM_LINES
from jobs.services.fleet import alive_since, any_worker_alive
from jobs.states import BatchState, EngineState
from jobs.templatetags.figures import rounded
from monitoring.batch_points import Point
from monitoring.quantities import PHASE_RUNNING

# The present rate is that of the last minutes, told from so many pieces of them.
LOOK_BACK = timedelta(minutes=5)
PIECES = 8
LEAST_ANSWERS = PACE_FROM_LINES
LEAST_S = 10.0
PAST_BATCHES = 5
# No estimate is better than this, however even the rate was.
LEAST_SPREAD = 0.1
# From one earlier batch alone nothing is known of how batches differ.
ONE_PAST_SPREAD = 0.3


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """From `low_s` to `high_s` seconds from now; `basis` says in words from what."""

    low_s: float
    high_s: float
    basis: str


@dataclass(frozen=True, kw_only=True)
class _Rate:
    """Requests a second, from the least to the most that is likely."""

    low: float
    high: float
    basis: str


def estimate_batch(batch: Batch, points: Sequence[Point]) -> Estimate | None:
    """Estimate the time until every line of a batch is answered; None where nothing tells.

    `points` are the batch's own, by time; those of its last minutes count.

    While it runs, from its own last minutes; before, from earlier batches of the same model,
    with what comes before it and the time to load the model.
    """
    if batch.state != BatchState.IN_PROGRESS or batch.paused_at is not None:
        return None
    left = batch.total - batch.answered
    own = _rate_of(_latest(points))
    if own is not None:
        return _time_for(left, own)
    past = _past_rate(batch.model_name)
    # Nobody knows when a worker will come.
    if past is None or not any_worker_alive():
        return None
    before = Batch.objects.filter(
        state=BatchState.IN_PROGRESS, model=batch.model_id, paused_at=None, pk__lt=batch.pk
    )
    return _with_load(
        _time_for(left + _lines_left(before), past), batch.model_id, waits=batch.answered == 0
    )


def estimate_work(*, model_name: str, requests: int, tokens: int) -> Estimate | None:
    """Estimate the time for requests that are no batch yet, those that wait before included.

    `tokens` are of their prompts; earlier batches with longer or shorter prompts tell less, and
    the basis says so.
    """
    past = _past_rate(model_name, prompt_tokens=tokens / requests if requests else None)
    if past is None or not requests:
        return None
    before = Batch.objects.filter(
        state=BatchState.IN_PROGRESS, model_name=model_name, paused_at=None
    )
    # The first one would be looked for along the primary key, through all batches that ended.
    model_id = before.aggregate(model=Max("model_id"))["model"]
    return _with_load(_time_for(requests + _lines_left(before), past), model_id, waits=True)


def estimate_from(batch: Batch, points: Sequence[Point]) -> Estimate | None:
    """Estimate the time until every line is answered from a batch's own last minutes alone."""
    own = _rate_of(points)
    return None if own is None else _time_for(batch.total - batch.answered, own)


def _latest(points: Sequence[Point]) -> list[Point]:
    # Counted from the last one: by the clock that wrote them.
    return [one for one in points if points[-1].at - one.at <= LOOK_BACK.total_seconds()]


def _rate_of(found: Sequence[Point]) -> _Rate | None:
    points = [(point.at, point.answered) for point in found if point.phase == PHASE_RUNNING]
    if len(points) < 3:
        return None
    span_s = points[-1][0] - points[0][0]
    answers = points[-1][1] - points[0][1]
    if span_s < LEAST_S or answers < LEAST_ANSWERS:
        return None
    rate = answers / span_s
    spread = max(LEAST_SPREAD, _spread(points, rate))
    minutes = max(1, round(span_s / 60))
    words = "minute" if minutes == 1 else f"{minutes} minutes"
    return _Rate(
        low=rate / (1 + spread), high=rate * (1 + spread), basis=f"this batch's last {words}"
    )


def _spread(points: Sequence[tuple[float, float]], rate: float) -> float:
    """Return the uncertainty of a mean rate, as a share of it: two standard errors."""
    edges = [points[round(i * (len(points) - 1) / PIECES)] for i in range(PIECES + 1)]
    rates = [
        (after[1] - before[1]) / (after[0] - before[0])
        for before, after in pairwise(edges)
        if after[0] > before[0]
    ]
    if len(rates) < 2:
        return ONE_PAST_SPREAD
    variance = sum((one - rate) ** 2 for one in rates) / (len(rates) - 1)
    return min(1.0, 2 * math.sqrt(variance / len(rates)) / rate)


def _past_rate(model_name: str, *, prompt_tokens: float | None = None) -> _Rate | None:
    ended = Batch.objects.filter(
        state=BatchState.COMPLETED,
        model_name=model_name,
        imported_at=None,
        last_response_at__gt=F("first_response_at"),
        # What was taken over from equal lines says nothing of how fast the next ones are.
        completed__gte=F("reused") + LEAST_ANSWERS,
        # Says no more, but lets the index of batches that are large enough be used.
        total__gte=LEAST_ANSWERS,
    )
    columns = (
        "completed",
        "failed",
        "input_tokens",
        "first_response_at",
        "last_response_at",
        "reused",
    )
    rows = list(ended.order_by("-pk").values_list(*columns)[:PAST_BATCHES])
    if not rows:
        return None
    rates = [
        (done + failed - reused) / (last - first).total_seconds()
        for done, failed, _, first, last, reused in rows
    ]
    low, high = min(rates), max(rates)
    if high < low * (1 + LEAST_SPREAD) or len(rates) == 1:
        low, high = low / (1 + ONE_PAST_SPREAD), high * (1 + ONE_PAST_SPREAD)
    words = "batch" if len(rows) == 1 else f"{len(rows)} batches"
    basis = f"the last {words} of this model"
    mean = sum(row[2] for row in rows) / sum(row[0] for row in rows)
    if prompt_tokens and mean and not 0.5 < prompt_tokens / mean < 2:
        basis += f", whose prompts had {rounded(round(mean))} tokens each"
    return _Rate(low=low, high=high, basis=basis)


def _time_for(requests: int, rate: _Rate) -> Estimate:
    return Estimate(low_s=requests / rate.high, high_s=requests / rate.low, basis=rate.basis)


def _with_load(estimate: Estimate, model_id: int | None, *, waits: bool) -> Estimate:
    """Add the time to load the model, where it is known and no lane holds it."""
    if model_id is None or not waits:
        return estimate
    lanes = Lane.objects.filter(
        active=True,
        worker__heartbeat_at__gte=alive_since(),
        engine_model=model_id,
        engine_state=EngineState.READY,
    )
    load_s = (
        LaneModel.objects.filter(model=model_id, load_s__isnull=False)
        .order_by("-load_s")
        .values_list("load_s", flat=True)
        .first()
    )
    if not load_s or lanes.exists():
        return estimate
    return Estimate(
        low_s=estimate.low_s + load_s,
        high_s=estimate.high_s + load_s,
        basis=f"{estimate.basis}, and loading it",
    )


def _lines_left(batches: QuerySet[Batch]) -> int:
    left = batches.aggregate(left=Sum(F("total") - F("completed") - F("failed")))["left"]
    return int(left or 0)
