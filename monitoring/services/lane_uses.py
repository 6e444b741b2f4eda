"""Who worked on which batch: what its engine and GPUs said before, and what they said after."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jobs.models import Batch, BatchResponse, Gpu, Lane
from jobs.states import LaneKind
from monitoring.models import LaneUse, Series
from monitoring.quantities import SeriesKind

# An engine that was not read for so long after the end will not be: what is known stays.
CLOSE_AFTER = timedelta(seconds=30)
# Of an engine that was started for the batch.
_NOTHING_YET: dict[str, Any] = {"counters": {}, "histograms": {}}


@dataclass(frozen=True, kw_only=True)
class _Engine:
    """The latest reading of a lane's engine."""

    read_at: datetime | None
    generation: int | None
    figures: dict[str, Any] | None
    before: dict[str, Any] | None


_UNREAD = _Engine(read_at=None, generation=None, figures=None, before=None)


def note_lane_uses(
    *, batches: Sequence[Batch], claimed: Mapping[int, Collection[int]], now: datetime
) -> None:
    """Keep what is said of the lanes that work on these batches, and of those that did.

    `claimed` maps the key of a batch to the lanes that hold lines of it. What a lane had counted
    before a batch is its latest reading, if that is older than the batch's start, else the one
    before: samples are taken as often as this is called, so it is older than the first claim.
    """
    by_id = {batch.pk: batch for batch in batches}
    uses = list(LaneUse.objects.filter(batch__in=list(by_id), closed_at=None))
    held = {(batch, lane) for batch, lanes in claimed.items() for lane in lanes}
    held |= _missed([by_id[pk] for pk in by_id if pk not in claimed], now)
    lane_ids = {lane for _, lane in held} | {use.lane_id for use in uses if use.lane_id}
    if not lane_ids:
        return
    fleet = _Fleet(lane_ids)
    known = {(use.batch_id, use.lane_id, use.generation) for use in uses}
    shared = {lane for lane in lane_ids if sum(lane in lanes for lanes in claimed.values()) > 1}
    made = []
    for batch_id, lane_id in sorted(held):
        lane = fleet.lanes.get(lane_id)
        if lane is None or (batch_id, lane_id, lane.generation) in known:
            continue
        use = fleet.begin(by_id[batch_id], lane, now, is_missed=batch_id not in claimed)
        use.shared = lane_id in shared
        made.append(use)
    LaneUse.objects.bulk_create(made, ignore_conflicts=True)
    for use in uses:
        fleet.go_on(use, by_id[use.batch_id], now)
        use.shared = use.shared or use.lane_id in shared
    LaneUse.objects.bulk_update(uses, ["after", "energy", "seen_at", "closed_at", "shared"])


def _missed(batches: Sequence[Batch], now: datetime) -> set[tuple[int, int]]:
    """Return batches that ended between two looks, each with the lanes that answered it."""
    short = [
        batch.pk
        for batch in batches
        if batch.ended_at is not None and now - batch.ended_at < CLOSE_AFTER and batch.answered
    ]
    if not short:
        return set()
    short = list(
        set(short) - set(LaneUse.objects.filter(batch__in=short).values_list("batch_id", flat=True))
    )
    answered = BatchResponse.objects.filter(batch__in=short, lane__isnull=False)
    return set(answered.values_list("batch_id", "lane_id").distinct())


class _Fleet:
    """The lanes that are asked about, with the latest readings of their engines and GPUs."""

    def __init__(self, lane_ids: Collection[int]) -> None:
        lanes = Lane.objects.filter(pk__in=lane_ids).select_related("worker", "engine_model")
        self.lanes = {lane.pk: lane for lane in lanes}
        self._engines = {
            lane_id: _Engine(
                read_at=read_at,
                generation=detail.get("generation"),
                figures=_figures(detail),
                before=_figures(detail.get("before")),
            )
            for lane_id, read_at, detail in Series.objects.filter(
                kind=SeriesKind.ENGINE, lane__in=lane_ids
            ).values_list("lane_id", "read_at", "detail")
        }
        workers = {lane.worker_id for lane in self.lanes.values()}
        self._gpus: dict[tuple[int, int], Gpu] = {
            (gpu.worker_id, gpu.index): gpu for gpu in Gpu.objects.filter(worker__in=workers)
        }
        self._hosts: dict[int | None, dict[str, Any]] = dict(
            Series.objects.filter(kind=SeriesKind.HOST, worker__in=workers).values_list(
                "worker_id", "detail"
            )
        )

    def begin(self, batch: Batch, lane: Lane, now: datetime, *, is_missed: bool) -> LaneUse:
        """Return the record of a lane that was first seen at work on a batch now."""
        engine = self._engine(lane)
        began = batch.in_progress_at or batch.created_at
        if lane.engine_started_at is not None and lane.engine_started_at >= began:
            before: dict[str, Any] | None = _NOTHING_YET
        elif is_missed:
            # Of a batch that came and went between two looks, nothing says what was before it.
            before = None
        else:
            is_older = engine.read_at is not None and engine.read_at <= began
            before = engine.figures if is_older else engine.before
        return LaneUse(
            batch=batch,
            lane=lane,
            generation=lane.generation,
            began_at=now,
            seen_at=now,
            closed_at=now if is_missed else None,
            before=before,
            after=None if is_missed else engine.figures,
            energy=[
                {"uuid": gpu.uuid, "from_j": gpu.energy_j, "to_j": gpu.energy_j}
                for gpu in self._gpus_of(lane)
            ],
            fingerprint=self._fingerprint(batch, lane),
        )

    def go_on(self, use: LaneUse, batch: Batch, now: datetime) -> None:
        """Bring a record up to the latest reading; close it once that is of after the end."""
        lane = self.lanes.get(use.lane_id or 0)
        engine = self._engine(lane) if lane and lane.generation == use.generation else _UNREAD
        ended_at = batch.ended_at
        if engine.figures is not None:
            use.after = engine.figures
            is_after = ended_at and engine.read_at and engine.read_at >= ended_at
        else:
            is_after = None
        if lane is not None:
            joules = {gpu.uuid: gpu.energy_j for gpu in self._gpus_of(lane)}
            for one in use.energy:
                one["to_j"] = joules.get(one["uuid"], one["to_j"])
        use.seen_at = now
        if ended_at is not None and (is_after or now - ended_at > CLOSE_AFTER):
            use.closed_at = now

    def _engine(self, lane: Lane) -> _Engine:
        found = self._engines.get(lane.pk, _UNREAD)
        return found if found.generation == lane.generation else _UNREAD

    def _gpus_of(self, lane: Lane) -> list[Gpu]:
        found = [self._gpus.get((lane.worker_id, index)) for index in lane.gpus]
        return [gpu for gpu in found if gpu is not None]

    def _fingerprint(self, batch: Batch, lane: Lane) -> dict[str, Any]:
        """Return on what the batch runs; empty is not known."""
        model = batch.model
        host = self._hosts.get(lane.worker_id, {})
        started, ready = lane.engine_started_at, lane.engine_ready_at
        is_ours = lane.kind != LaneKind.UPSTREAM
        return {
            "worker": lane.worker.name,
            "lane": lane.name,
            "gpus": [
                {
                    "name": gpu.name,
                    "driver": gpu.driver,
                    "memory_bytes": gpu.memory_total_bytes,
                    "power_limit_w": gpu.power_limit_w,
                }
                for gpu in self._gpus_of(lane)
            ],
            "cpu": host.get("cpu", ""),
            "cores": host.get("cores"),
            "vbatch": lane.worker.version,
            "vllm": lane.engine_version if is_ours else "",
            "model": batch.model_name,
            "source": (model.source or model.upstream_url) if model else "",
            "engine_args": lane.engine_args if is_ours else "",
            "revision": lane.engine_revision if is_ours else "",
            "max_num_seqs": lane.engine_max_num_seqs if is_ours else None,
            "engine_start_s": (ready - started).total_seconds()
            if is_ours and started and ready and ready > started
            else None,
        }


def _figures(detail: dict[str, Any] | None) -> dict[str, Any] | None:
    if not detail or "counters" not in detail:
        return None
    return {"counters": detail["counters"], "histograms": detail["histograms"]}
