"""Samples of the batches that are at work: how far they are, at which moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models import Batch, Chunk
from jobs.services.lanes import loading_models
from jobs.states import LIVE_STATES, BatchState, ChunkState
from monitoring.models import Sample, Series
from monitoring.quantities import (
    PHASE_LOADING,
    PHASE_PAUSED,
    PHASE_QUEUED,
    PHASE_RUNNING,
    QUANTITIES,
    STALE_AFTER_S,
    SeriesKind,
    Step,
)
from monitoring.services.lane_uses import note_lane_uses

# A batch of which nothing changes gets a sample now and then, so that a gap in time is one.
UNCHANGED_EVERY_S = 30.0
# From here on every second sample goes: a chart is not wider.
THIN_ABOVE = 600
_ENDED_LATELY = timedelta(minutes=10)
_NAMES = [quantity.name for quantity in QUANTITIES[SeriesKind.BATCH]]

_THIN = """
DELETE FROM monitoring_sample WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (PARTITION BY series_id ORDER BY at DESC) AS place,
            count(*) OVER (PARTITION BY series_id) AS count
        FROM monitoring_sample WHERE step_s = %s AND series_id = ANY(%s)
    ) AS numbered WHERE count > %s AND place %% 2 = 0)
"""


def sample_batches() -> int:
    """Note how far each batch in progress is, and the last word of those that ended just now.

    Returns how many samples were written. What has not changed is not written again.
    """
    now = _database_now()
    batches = list(
        Batch.objects.filter(
            Q(state__in=(BatchState.IN_PROGRESS, BatchState.FINALIZING, BatchState.CANCELLING))
            | Q(ended_at__gt=now - _ENDED_LATELY, in_progress_at__isnull=False, imported_at=None)
        )
        .select_related("model")
        .defer("findings", "metadata")
    )
    known = Series.objects.filter(kind=SeriesKind.BATCH, batch__in=batches)
    missing = {batch.pk for batch in batches} - set(known.values_list("batch_id", flat=True))
    Series.objects.bulk_create(
        [Series(kind=SeriesKind.BATCH, batch_id=pk) for pk in sorted(missing)],
        ignore_conflicts=True,
    )
    fleet = _Fleet.read(batches)
    note_lane_uses(batches=batches, claimed=fleet.lanes, now=now)
    by_id = {batch.pk: batch for batch in batches}
    changed, seen = [], []
    for series in known.all():
        assert series.batch_id is not None  # By the constraint on the kinds of series.
        batch = by_id[series.batch_id]
        latest = fleet.read_batch(batch)
        # Waiting, it is where it was; at work, its figures are only as good as they are young.
        is_at_work = batch.is_live and latest["phase"] in (PHASE_LOADING, PHASE_RUNNING)
        quiet_s = now.timestamp() - series.detail.get("sampled_at", 0)
        if latest != series.latest or (is_at_work and quiet_s >= UNCHANGED_EVERY_S):
            series.latest, series.read_at = latest, now
            series.detail = {"sampled_at": now.timestamp()}
            changed.append(series)
        elif is_at_work:
            seen.append(series.pk)
    Sample.objects.bulk_create(
        [
            Sample(
                series=series,
                step_s=Step.THINNED,
                at=now,
                values=[series.latest[name] for name in _NAMES],
            )
            for series in changed
        ],
        ignore_conflicts=True,
    )
    Series.objects.bulk_update(changed, ["latest", "detail", "read_at"], batch_size=500)
    Series.objects.filter(pk__in=seen).update(read_at=now)
    return len(changed)


def _database_now() -> datetime:
    """Return the time by the clock that all hosts share."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def thin_batch_samples() -> int:
    """Halve the samples of batches that have too many; return how many went."""
    recent = Series.objects.filter(
        Q(batch__state__in=LIVE_STATES) | Q(batch__ended_at__gt=timezone.now() - 6 * _ENDED_LATELY),
        kind=SeriesKind.BATCH,
    )
    with connection.cursor() as cursor:
        cursor.execute(_THIN, [Step.THINNED, list(recent.values_list("pk", flat=True)), THIN_ABOVE])
        gone: int = cursor.rowcount
    return gone


@dataclass(frozen=True, kw_only=True)
class _Fleet:
    """Which lanes work on which batch, what their engines hold, and which models are loading."""

    lanes: dict[int, list[int]]
    engines: dict[int, dict[str, float | None]]
    loading: set[int | None]

    @classmethod
    def read(cls, batches: Sequence[Batch]) -> _Fleet:
        claimed = Chunk.objects.filter(
            batch__in=[batch.pk for batch in batches if batch.is_live],
            state=ChunkState.CLAIMED,
            lease_until__gt=Now(),
            owner__isnull=False,
        )
        lanes: dict[int, list[int]] = {}
        for batch_id, lane_id in claimed.values_list("batch_id", "owner_id").distinct():
            lanes.setdefault(batch_id, []).append(lane_id)
        engines = Series.objects.filter(
            kind=SeriesKind.ENGINE, read_at__gte=Now() - timedelta(seconds=STALE_AFTER_S)
        )
        return cls(
            lanes=lanes,
            engines=dict(engines.values_list("lane_id", "latest")),
            loading=loading_models(),
        )

    def read_batch(self, batch: Batch) -> dict[str, Any]:
        """Return the latest figures of a batch, by the names of its quantities.

        Tokens are those that engines read and wrote for it, not those of answers it took over.
        """
        lanes = self.lanes.get(batch.pk, [])
        return {
            "completed": batch.completed,
            "failed": batch.failed,
            "input_tokens": batch.input_tokens - batch.reused_input_tokens,
            "output_tokens": batch.output_tokens - batch.reused_output_tokens,
            "requests_running": self._sum("requests_running", lanes),
            "requests_waiting": self._sum("requests_waiting", lanes),
            "phase": self._phase(batch, lanes),
        }

    def _sum(self, name: str, lanes: Sequence[int]) -> float | None:
        found = [self.engines[lane].get(name) for lane in lanes if lane in self.engines]
        known = [value for value in found if value is not None]
        return sum(known) if known else None

    def _phase(self, batch: Batch, lanes: Sequence[int]) -> int:
        if batch.is_live and batch.paused_at is not None:
            return PHASE_PAUSED
        if lanes or not batch.is_live:
            return PHASE_RUNNING
        return PHASE_LOADING if batch.model_id in self.loading else PHASE_QUEUED
