"""The answer of `/api/series`: what charts draw, and only what is new to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import DurationField, ExpressionWrapper, F, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models import Batch
from monitoring.models import Series
from monitoring.quantities import (
    KEEP_S,
    PHASE_PAUSED,
    PHASE_QUEUED,
    QUANTITIES,
    STALE_AFTER_S,
    SeriesKind,
    Step,
)

DEFAULT_MINUTES = 15
# A year, the longest that anything is kept.
MAX_MINUTES = KEEP_S[Step.FOUR_HOURS] // 60
# So many GPUs of eight hosts fit on a page; more must be asked for by worker.
MAX_SERIES = 64
# The widest window that each step is taken for: some two thousand samples of a series at most,
# which is more than a chart has pixels. Beyond them comes the coarsest.
_UP_TO_MINUTES = {Step.FINE: 60, Step.MINUTE: 1_440, Step.QUARTER: 14 * 1_440}
_SHOWN = (
    *("kind", "read_at", "error", "latest"),
    *("worker__name", "gpu__index", "gpu__worker__name", "lane__name", "lane__worker__name"),
    *("batch__public_id", "batch__total", "batch__state"),
)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

_SAMPLES = """
SELECT sample.series_id, extract(epoch FROM sample.at)::float8, sample.values
FROM unnest(%s::bigint[], %s::timestamptz[]) AS wanted(id, after)
JOIN monitoring_sample AS sample
    ON sample.series_id = wanted.id AND sample.step_s = %s AND sample.at > wanted.after
ORDER BY sample.series_id, sample.at
"""


class BadQuery(Exception):
    """A question that cannot be answered; the message says what to ask instead."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, kw_only=True)
class SeriesQuery:
    """What is asked for: series, the step of their samples, since when, and what is known."""

    series: QuerySet[Series]
    step: Step
    minutes: int
    known: Mapping[int, _Known]


@dataclass(frozen=True, kw_only=True)
class _Known:
    """How far the asker has read a series, in milliseconds, and whether it was stale."""

    at_ms: int
    stale: bool


def read_query(params: Mapping[str, str], batches: QuerySet[Batch]) -> SeriesQuery:
    """Read the parameters; `batches` are those that the asker may see. Raises BadQuery."""
    known = _read_cursor(params.get("since", ""))
    if "batch" in params:
        named = batches.filter(public_id=params["batch"][:64].replace("\0", ""))
        batch_id = named.values_list("pk", flat=True).first()
        if batch_id is None:
            raise BadQuery("batch", f"No batch found with id '{params['batch'][:64]}'.")
        # By its id: with a sub-select in its place the whole table of batches was joined.
        found = Series.objects.filter(kind=SeriesKind.BATCH, batch=batch_id)
        return SeriesQuery(series=found, step=Step.THINNED, minutes=MAX_MINUTES, known=known)
    kind = params.get("kind", "")
    if kind not in (SeriesKind.HOST, SeriesKind.GPU, SeriesKind.ENGINE):
        raise BadQuery("kind", "Give 'batch', or 'kind' as one of host, gpu, engine.")
    found = Series.objects.filter(kind=kind)
    if params.get("worker"):
        path = {"host": "worker", "gpu": "gpu__worker", "engine": "lane__worker"}[kind]
        found = found.filter(**{f"{path}__name": params["worker"].replace("\0", "")})
    if params.get("lane"):
        found = found.filter(lane__name=params["lane"].replace("\0", ""))
    if params.get("gpu"):
        found = found.filter(gpu__index=_number(params, "gpu", 0, 10_000))
    minutes = DEFAULT_MINUTES
    if params.get("minutes"):
        minutes = _number(params, "minutes", 1, MAX_MINUTES)
    return SeriesQuery(series=found, step=_step_for(minutes), minutes=minutes, known=known)


def _step_for(minutes: int) -> Step:
    fitting = (step for step, most in _UP_TO_MINUTES.items() if minutes <= most)
    return next(fitting, Step.FOUR_HOURS)


def _number(params: Mapping[str, str], name: str, least: int, most: int) -> int:
    text = params[name]
    if not (text.isascii() and text.isdigit() and least <= int(text[:9]) <= most):
        raise BadQuery(name, f"'{name}' must be a whole number from {least} to {most}.")
    return int(text)


def read_series(query: SeriesQuery) -> dict[str, Any] | None:
    """Return the series with their samples; None where the asker knows all of it already.

    Times are seconds since 1970, values those of `monitoring.quantities`. A stale series has
    its age, and no latest values: an old figure must not be taken for a present one.
    """
    rows = list(
        query.series.annotate(
            age=ExpressionWrapper(Now() - F("read_at"), output_field=DurationField())
        )
        .select_related("worker", "gpu__worker", "lane__worker", "batch")
        # Asked for every two seconds by every chart: whole rows of five tables are dear.
        .only(*_SHOWN)
        .order_by("pk")[: MAX_SERIES + 1]
    )
    if len(rows) > MAX_SERIES:
        raise BadQuery("worker", f"More than {MAX_SERIES} series: name a worker.")
    samples = _samples(query, rows)
    parts = [_part(row, samples.get(row.pk, [])) for row in rows]
    reached = {part["id"]: _reached(part, query.known.get(part["id"])) for part in parts}
    if query.known and reached == query.known:
        return None
    return {
        "now": timezone.now().timestamp(),
        "step_s": int(query.step),
        "cursor": "~".join(f"{pk}.{to.at_ms}.{int(to.stale)}" for pk, to in reached.items()),
        "series": parts,
    }


def _samples(
    query: SeriesQuery, rows: Sequence[Series]
) -> dict[int, list[tuple[float, list[float | None]]]]:
    start = timezone.now() - timedelta(minutes=query.minutes)
    after = []
    for row in rows:
        known = query.known.get(row.pk)
        # A reader that was away for longer than its window needs the window alone.
        after.append(max(start, _moment(known.at_ms)) if known else start)
    found: dict[int, list[tuple[float, list[float | None]]]] = {}
    if not rows:
        return found
    with connection.cursor() as cursor:
        cursor.execute(_SAMPLES, [[row.pk for row in rows], after, int(query.step)])
        for series_id, at, values in cursor.fetchall():
            found.setdefault(series_id, []).append((at, values))
    return found


def _part(row: Series, samples: list[tuple[float, list[float | None]]]) -> dict[str, Any]:
    kind = SeriesKind(row.kind)
    age_s = None if row.age is None else max(0.0, row.age.total_seconds())  # type: ignore[attr-defined]
    stale = (age_s is None or age_s > STALE_AFTER_S) and not _stands_still(row)
    names = [quantity.name for quantity in QUANTITIES[kind]]
    owner = row.worker or (row.gpu.worker if row.gpu else row.lane.worker if row.lane else None)
    return {
        "id": row.pk,
        "kind": row.kind,
        "worker": owner.name if owner else None,
        "lane": row.lane.name if row.lane else None,
        "gpu": row.gpu.index if row.gpu else None,
        "batch": row.batch.public_id if row.batch else None,
        "total": row.batch.total if row.batch else None,
        "label": _label(row),
        "read_at": row.read_at.timestamp() if row.read_at else None,
        "age_s": None if age_s is None else round(age_s, 1),
        "stale": stale,
        "error": row.error,
        "quantities": [quantity._asdict() for quantity in QUANTITIES[kind]],
        "latest": {name: None if stale else row.latest.get(name) for name in names},
        "at": [at for at, _ in samples],
        "values": {
            name: [_short(values[i]) if i < len(values) else None for _, values in samples]
            for i, name in enumerate(names)
        },
    }


def _stands_still(row: Series) -> bool:
    """Say whether the last word on a batch holds until something happens to it."""
    if row.batch is None:
        return False
    return not row.batch.is_live or row.latest.get("phase") in (PHASE_QUEUED, PHASE_PAUSED)


def _label(row: Series) -> str:
    if row.gpu:
        return f"{row.gpu.worker.name} GPU {row.gpu.index}"
    if row.lane:
        return f"{row.lane.worker.name}/{row.lane.name}"
    return str(row.worker.name if row.worker else row.batch)


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _reached(part: dict[str, Any], known: _Known | None) -> _Known:
    at_ms = round(part["at"][-1] * 1000) if part["at"] else known.at_ms if known else 0
    return _Known(at_ms=at_ms, stale=part["stale"])


def _read_cursor(text: str) -> dict[int, _Known]:
    """Read a cursor of ours; of anything else, nothing is known, and the answer is whole."""
    known = {}
    for part in text[:4_000].split("~") if text else []:
        fields = part.split(".")
        if len(fields) != 3 or not all(f.isascii() and f.isdigit() and len(f) < 16 for f in fields):
            return {}
        known[int(fields[0])] = _Known(at_ms=int(fields[1]), stale=fields[2] == "1")
    return known


def _moment(at_ms: int) -> datetime:
    # Rounded up past the sample's own microseconds, or it would come again and again.
    return _LONG_AGO + timedelta(milliseconds=at_ms + 1)
