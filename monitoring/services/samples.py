"""Readings and their samples: stored as they come, rolled up as they age, and pruned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from django.db import connection
from psycopg.types.json import Jsonb

from monitoring.quantities import KEEP_S, QUANTITIES, SUBJECTS, SeriesKind, Step

# So many old samples go at once; a thousand series make half as many in a minute.
PRUNE_ROWS = 5_000

_ENTER = """
INSERT INTO monitoring_series (kind, {subject}, error, latest, detail)
SELECT %(kind)s, subject, '', '{{}}', '{{}}' FROM unnest(%(subjects)s::bigint[]) AS given(subject)
WHERE NOT EXISTS (SELECT FROM monitoring_series WHERE {subject} = subject)
ON CONFLICT DO NOTHING
"""
# Both are by one clock: what was read, and the sample that is drawn of it.
_STORE = """
WITH given AS MATERIALIZED (
    SELECT *, clock_timestamp() AS at FROM unnest(
        %(subjects)s::bigint[], %(latest)s::jsonb[], %(details)s::jsonb[], %(errors)s::text[]
    ) AS given(subject, latest, detail, error)
), failed AS (
    UPDATE monitoring_series AS series SET error = given.error
    FROM given WHERE series.{subject} = given.subject AND given.error <> ''
), stored AS (
    UPDATE monitoring_series AS series
    SET latest = given.latest, detail = given.detail, error = '', read_at = given.at
    FROM given WHERE series.{subject} = given.subject AND given.error = ''
    RETURNING series.id, series.latest, series.read_at
)
INSERT INTO monitoring_sample (series_id, step_s, at, values)
SELECT id, %(step)s, read_at, ARRAY(
    SELECT (latest ->> name)::float8
    FROM unnest(%(names)s::text[]) WITH ORDINALITY AS one(name, place) ORDER BY place
)
FROM stored
ON CONFLICT (series_id, step_s, at) DO NOTHING
"""
_ROLL_UP = """
INSERT INTO monitoring_sample (series_id, step_s, at, values)
SELECT series_id, %(step)s, bucket, array_agg(mean ORDER BY place)
FROM (
    SELECT fine.series_id, bucket, place, avg(value) AS mean
    FROM unnest(%(series)s::bigint[]) AS wanted(id)
    CROSS JOIN LATERAL (
        SELECT coalesce(max(at) + make_interval(secs => %(step)s), '-infinity') AS start
        FROM monitoring_sample WHERE series_id = wanted.id AND step_s = %(step)s
    ) AS rolled
    JOIN monitoring_sample AS fine ON fine.series_id = wanted.id AND fine.step_s = %(from)s
        AND fine.at >= rolled.start
    CROSS JOIN LATERAL date_bin(make_interval(secs => %(step)s), fine.at, 'epoch') AS bucket
    CROSS JOIN LATERAL unnest(fine.values) WITH ORDINALITY AS one(value, place)
    WHERE bucket + make_interval(secs => %(step)s) <= clock_timestamp()
    GROUP BY fine.series_id, bucket, place
) AS means
GROUP BY series_id, bucket
ON CONFLICT (series_id, step_s, at) DO NOTHING
"""
_PRUNE = """
DELETE FROM monitoring_sample WHERE id IN (
    SELECT id FROM monitoring_sample
    WHERE step_s = %s AND at < clock_timestamp() - make_interval(secs => %s)
    ORDER BY at LIMIT %s)
"""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What was read of one subject (the key of its worker, GPU or lane), or why nothing was."""

    subject_id: int
    latest: dict[str, float | None] = field(default_factory=dict)
    detail: dict[str, Any] = field(default_factory=dict)
    error: str = ""


def store_readings(*, kind: SeriesKind, readings: Sequence[Reading]) -> None:
    """Keep the latest reading of each subject and add a sample; of a failed one only why.

    A failed reading leaves `read_at` as it is, so that what was read before it grows old.
    """
    if not readings:
        return
    subject = f"{SUBJECTS[kind]}_id"
    given: dict[str, Any] = {
        "kind": kind,
        "subjects": [reading.subject_id for reading in readings],
        "latest": [Jsonb(reading.latest) for reading in readings],
        "details": [Jsonb(reading.detail) for reading in readings],
        "errors": [reading.error[:500] for reading in readings],
        "names": [quantity.name for quantity in QUANTITIES[kind]],
        "step": int(Step.FINE),
    }
    with connection.cursor() as cursor:
        cursor.execute(_ENTER.format(subject=subject), given)
        cursor.execute(_STORE.format(subject=subject), given)


def roll_up(*, series_ids: Sequence[int]) -> int:
    """Add the means of the minutes and longer steps that are over; return how many were added.

    Goes on where it stopped, however long ago, as far as finer samples are still there.
    """
    added = 0
    for finer, step in pairwise(KEEP_S):
        with connection.cursor() as cursor:
            cursor.execute(
                _ROLL_UP, {"series": list(series_ids), "step": int(step), "from": int(finer)}
            )
            added += cursor.rowcount
    return added


def prune_samples() -> int:
    """Delete a slice of the samples that have been kept for long enough; return how many went."""
    gone = 0
    for step, keep_s in KEEP_S.items():
        with connection.cursor() as cursor:
            cursor.execute(_PRUNE, [int(step), keep_s, PRUNE_ROWS])
            gone += cursor.rowcount
    return gone
