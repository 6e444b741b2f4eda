"""How long more work would take, and what it would cost: an estimate, and from which run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.summary import figure


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An estimate, never kept: `seconds` of work without the start of the engine.

    `gpus` are as many as the run had, times `factor`; that more of them scale in proportion is
    supposed, not measured.
    """

    requests: int
    factor: float
    seconds: float
    gpu_seconds: float | None
    cost: float | None


def plan(figures: Mapping[str, Any], *, requests: int, factor: float = 1.0) -> Plan | None:
    """Return what so many requests like those of a run would take; None where it has no rate.

    The rate of the steady part counts where there is one: a long batch is steady nearly all of
    its time.
    """
    rate = figure(figures, "steady.requests_per_s") or figure(figures, "requests_per_s")
    if not rate:
        return None
    seconds = requests / (rate * factor)
    spent, cost, duration = (
        figure(figures, "gpu_seconds"),
        figure(figures, "cost"),
        figure(figures, "duration_s"),
    )
    share = seconds * factor / duration if duration else None
    return Plan(
        requests=requests,
        factor=factor,
        seconds=seconds,
        gpu_seconds=spent * share if spent is not None and share is not None else None,
        cost=cost * share if cost is not None and share is not None else None,
    )
