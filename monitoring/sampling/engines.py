"""Sampling the engines of this host."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from jobs.engines.figures import EngineFigures, NoFigures, scrape
from jobs.models import Lane
from jobs.states import EngineState
from monitoring.quantities import SeriesKind
from monitoring.services.samples import Reading, store_readings

SCRAPE_TIMEOUT_S = 2.0
_MEANS = ("ttft_s", "itl_s", "e2e_s")


@dataclass(frozen=True, kw_only=True)
class _Scrape:
    at: float
    generation: int
    figures: EngineFigures


class EngineSampler:
    """Asks each engine that is ready; what happens is the difference of two scrapes."""

    def __init__(self, *, worker_id: int) -> None:
        self._worker_id = worker_id
        self._last: dict[int, _Scrape] = {}

    def step(self) -> None:
        lanes = list(
            Lane.objects.filter(
                worker=self._worker_id, active=True, engine_state=EngineState.READY
            ).select_related("engine_model")
        )
        self._last = {lane.pk: self._last[lane.pk] for lane in lanes if lane.pk in self._last}
        store_readings(kind=SeriesKind.ENGINE, readings=asyncio.run(self._read_all(lanes)))

    async def _read_all(self, lanes: list[Lane]) -> list[Reading]:
        return list(await asyncio.gather(*[self._read(lane) for lane in lanes]))

    async def _read(self, lane: Lane) -> Reading:
        try:
            figures = await scrape(lane.engine_socket, timeout_s=SCRAPE_TIMEOUT_S)
        except NoFigures as error:
            return Reading(subject_id=lane.pk, error=str(error))
        present = _Scrape(at=time.monotonic(), generation=lane.generation, figures=figures)
        before = self._last.get(lane.pk)
        self._last[lane.pk] = present
        if before is not None and before.generation != lane.generation:
            before = None
        return Reading(
            subject_id=lane.pk,
            latest={**figures.gauges, **_changes(before, present)},
            detail={
                "generation": lane.generation,
                "model": lane.engine_model.name if lane.engine_model else "",
                **_as_json(figures),
                # Whoever sees that something has begun since then knows what was before it.
                "before": _as_json(before.figures) if before is not None else None,
            },
        )


def _as_json(figures: EngineFigures) -> dict[str, Any]:
    return {
        "counters": figures.counters,
        "histograms": {name: histogram.as_json() for name, histogram in figures.histograms.items()},
    }


def _changes(before: _Scrape | None, present: _Scrape) -> dict[str, float | None]:
    """Return rates and means of what happened between two scrapes; None where nothing did."""
    if before is None:
        return {}
    span_s = present.at - before.at

    def gained(name: str) -> float:
        now, then = present.figures.counters, before.figures.counters
        return max(0.0, now.get(name, 0.0) - then.get(name, 0.0))

    asked = gained("prefix_cache_queries")
    changes: dict[str, float | None] = {
        "prompt_tokens_per_s": gained("prompt_tokens") / span_s,
        "generation_tokens_per_s": gained("generation_tokens") / span_s,
        "prefix_hit_percent": gained("prefix_cache_hits") / asked * 100 if asked else None,
    }
    for name in _MEANS:
        now, then = present.figures.histograms.get(name), before.figures.histograms.get(name)
        count = now.count - then.count if now and then else 0.0
        changes[name] = (now.total - then.total) / count if now and then and count > 0 else None
    return changes
