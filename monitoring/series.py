"""The answer of `/api/series`: what charts draw, and only what is new to them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from jobs.models import Batch
from jobs.states import LIVE_STATES
from monitoring.quantities import (
    KEEP_S,
    PHASE_PAUSED,
    PHASE_QUEUED,
    QUANTITIES,
    STALE_AFTER_S,
    SUBJECTS,
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
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

# Written by hand: asked for every two seconds by every chart, and Django would take longer to
# write it anew each time than PostgreSQL to answer.
_SERIES = """
SELECT series.id, series.kind, extract(epoch FROM series.read_at)::float8,
    extract(epoch FROM statement_timestamp() - series.read_at)::float8,
    series.error, series.latest::text, worker.name, lane.name, gpu.index,
    batch.public_id, batch.total, batch.state
FROM monitoring_series AS series
LEFT JOIN jobs_gpu AS gpu ON gpu.id = series.gpu_id
LEFT JOIN jobs_lane AS lane ON lane.id = series.lane_id
LEFT JOIN jobs_worker AS worker
    ON worker.id = coalesce(series.worker_id, gpu.worker_id, lane.worker_id)
LEFT JOIN jobs_batch AS batch ON batch.id = series.batch_id
WHERE {where}
ORDER BY series.id LIMIT %s
"""
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
    """What is asked for: series, the step of their samples, since when, and what is known.

    The series are those of which all of `conditions`, each with its parameters, hold.
    """

    conditions: Mapping[str, Sequence[Any]]
    step: Step
    minutes: int
    known: Mapping[int, _Known]


@dataclass(frozen=True, kw_only=True)
class _Known:
    """How far the asker has read a series, in milliseconds, and whether it was stale."""

    at_ms: int
    stale: bool


class _Row(NamedTuple):
    """A series with whom it is of, as `_SERIES` selects it; times in seconds."""

    id: int
    kind: str
    read_at: float | None
    age_s: float | None
    error: str
    latest: str
    worker: str | None
    lane: str | None
    gpu: int | None
    batch: str | None
    total: int | None
    state: str | None


def read_query(params: Mapping[str, str], batches: QuerySet[Batch]) -> SeriesQuery:
    """Read the parameters; `batches` are those that the asker may see. Raises BadQuery."""
    known = _read_cursor(params.get("since", ""))
    if "batch" in params:
        named = batches.filter(public_id=params["batch"][:64].replace("\0", ""))
        batch_id = named.values_list("pk", flat=True).first()
        if batch_id is None:
            raise BadQuery("batch", f"No batch found with id '{params['batch'][:64]}'.")
        of_batch = {"series.batch_id = %s": [batch_id]}
        return SeriesQuery(conditions=of_batch, step=Step.THINNED, minutes=MAX_MINUTES, known=known)
    kind = params.get("kind", "")
    if kind not in (SeriesKind.HOST, SeriesKind.GPU, SeriesKind.ENGINE):
        raise BadQuery("kind", "Give 'batch', or 'kind' as one of host, gpu, engine.")
    # Each kind has its own subject, and an index of that: none of the kind.
    conditions: dict[str, Sequence[Any]] = {
        f"series.{SUBJECTS[SeriesKind(kind)]}_id IS NOT NULL": []
    }
    if params.get("worker"):
        conditions["worker.name = %s"] = [params["worker"].replace("\0", "")]
    if params.get("lane"):
        conditions["lane.name = %s"] = [params["lane"].replace("\0", "")]
    if params.get("gpu"):
        conditions["gpu.index = %s"] = [_number(params, "gpu", 0, 10_000)]
    minutes = DEFAULT_MINUTES
    if params.get("minutes"):
        minutes = _number(params, "minutes", 1, MAX_MINUTES)
    return SeriesQuery(conditions=conditions, step=_step_for(minutes), minutes=minutes, known=known)


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
    rows = _series(query)
    if len(rows) > MAX_SERIES:
        raise BadQuery("worker", f"More than {MAX_SERIES} series: name a worker.")
    samples = _samples(query, rows)
    parts = [_part(row, samples.get(row.id, [])) for row in rows]
    reached = {part["id"]: _reached(part, query.known.get(part["id"])) for part in parts}
    if query.known and reached == query.known:
        return None
    return {
        "now": timezone.now().timestamp(),
        "step_s": int(query.step),
        "cursor": "~".join(f"{pk}.{to.at_ms}.{int(to.stale)}" for pk, to in reached.items()),
        "series": parts,
    }


def _series(query: SeriesQuery) -> list[_Row]:
    where = " AND ".join(query.conditions)
    params = [param for of_one in query.conditions.values() for param in of_one]
    with connection.cursor() as cursor:
        cursor.execute(_SERIES.format(where=where), [*params, MAX_SERIES + 1])
        return [_Row(*row) for row in cursor.fetchall()]


def _samples(
    query: SeriesQuery, rows: Sequence[_Row]
) -> dict[int, list[tuple[float, list[float | None]]]]:
    start = timezone.now() - timedelta(minutes=query.minutes)
    after = []
    for row in rows:
        known = query.known.get(row.id)
        # A reader that was away for longer than its window needs the window alone.
        after.append(max(start, _moment(known.at_ms)) if known else start)
    found: dict[int, list[tuple[float, list[float | None]]]] = {}
    if not rows:
        return found
    with connection.cursor() as cursor:
        cursor.execute(_SAMPLES, [[row.id for row in rows], after, int(query.step)])
        for series_id, at, values in cursor.fetchall():
            found.setdefault(series_id, []).append((at, values))
    return found


def _part(row: _Row, samples: list[tuple[float, list[float | None]]]) -> dict[str, Any]:
    kind = SeriesKind(row.kind)
    latest = json.loads(row.latest)
    age_s = None if row.age_s is None else max(0.0, row.age_s)
    stale = (age_s is None or age_s > STALE_AFTER_S) and not _stands_still(row, latest)
    names = [quantity.name for quantity in QUANTITIES[kind]]
    return {
        "id": row.id,
        "kind": row.kind,
        "worker": row.worker,
        "lane": row.lane,
        "gpu": row.gpu,
        "batch": row.batch,
        "total": row.total,
        "label": _label(row),
        "read_at": row.read_at,
        "age_s": None if age_s is None else round(age_s, 1),
        "stale": stale,
        "error": row.error,
        "quantities": [quantity._asdict() for quantity in QUANTITIES[kind]],
        "latest": {name: None if stale else latest.get(name) for name in names},
        "at": [at for at, _ in samples],
        "values": {
            name: [_short(values[i]) if i < len(values) else None for _, values in samples]
            for i, name in enumerate(names)
        },
    }


def _stands_still(row: _Row, latest: Mapping[str, Any]) -> bool:
    """Say whether the last word on a batch holds until something happens to it."""
    if row.batch is None:
        return False
    return row.state not in LIVE_STATES or latest.get("phase") in (PHASE_QUEUED, PHASE_PAUSED)


def _label(row: _Row) -> str:
    if row.gpu is not None:
        return f"{row.worker} GPU {row.gpu}"
    if row.lane is not None:
        return f"{row.worker}/{row.lane}"
    return str(row.worker or row.batch)


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
