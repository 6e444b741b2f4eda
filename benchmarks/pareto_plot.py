"""Speed against quality, laid out: the latest run of each model on like hardware."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.comparing import METRICS, Metric
from benchmarks.fingerprints import hardware_of
from benchmarks.models import Run
from benchmarks.pareto import front
from benchmarks.plot import Axis, axis_from_zero, colours_of
from benchmarks.summary import figure

HEIGHT = 260
_TOP, _FLOOR = 16, HEIGHT - 40
_LEFT, _RIGHT = 1.0, 94.0


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A model: `x` in per cent, `y` in pixels; `best` where none is both faster and better."""

    run: Run
    speed: float
    share: float
    scored: int
    x: float
    y: float
    colour: int
    best: bool
    # Its name stands on the side on which there is room.
    is_right: bool


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Models by speed and quality; `steps` joins those of the front as pairs of corners."""

    metric: Metric
    score: str
    hardware: str
    across: Axis
    up: Axis
    dots: list[Dot]
    steps: list[tuple[float, float, float, float]]
    left_out: int
    height: int = HEIGHT
    top: int = _TOP
    floor: int = _FLOOR


def scores_of(runs: Sequence[Run]) -> list[str]:
    """Return the checks that any of these runs has a score of, in their words."""
    found = [score["words"] for run in runs for score in run.scores if _share(score) is not None]
    return list(dict.fromkeys(found))


def lay_out_pareto(
    runs: Sequence[Run], score: str, colours: Mapping[str, int] | None = None
) -> Plot | None:
    """Lay out runs of one workload, newest first; None where fewer than two models have both.

    The hardware is that of the newest run with a score; runs on other hardware are left out.
    """
    latest: dict[str, tuple[Run, dict[str, Any]]] = {}
    hardware, other = None, set()
    for run in runs:
        found = next((one for one in run.scores if one["words"] == score), None)
        if found is None or _share(found) is None:
            continue
        own = hardware_of(run.fingerprint)
        hardware = own if hardware is None else hardware
        if own != hardware:
            other.add(run.model_name)
        else:
            latest.setdefault(run.model_name, (run, found))
    chosen = list(latest.values())
    metric = next(
        (m for m in METRICS if all(figure(run.figures, m.path) for run, _ in chosen)), None
    )
    if len(chosen) < 2 or metric is None:
        return None
    values = [(figure(run.figures, metric.path) or 0.0, one["share"]) for run, one in chosen]
    across = axis_from_zero(max(speed for speed, _ in values), start=_LEFT, end=_RIGHT)
    up = axis_from_zero(100.0, start=_FLOOR, end=_TOP)
    best = set(front(values))
    colours = colours or colours_of(run.model_name for run, _ in chosen)
    dots = [
        Dot(
            run=run,
            speed=speed,
            share=share,
            scored=one["scored"],
            x=across.at(speed),
            y=up.at(share * 100),
            colour=colours[run.model_name],
            best=place in best,
            is_right=across.at(speed) < 55,
        )
        for place, ((run, one), (speed, share)) in enumerate(zip(chosen, values, strict=True))
    ]
    return Plot(
        metric=metric,
        score=score,
        hardware=hardware or "not known",
        across=across,
        up=up,
        dots=sorted(dots, key=lambda dot: -dot.speed),
        steps=_steps([dot for dot in dots if dot.best]),
        left_out=len(other - set(latest)),
    )


def _share(score: dict[str, Any]) -> float | None:
    share: float | None = score.get("share")
    return share


def _steps(best: Sequence[Dot]) -> list[tuple[float, float, float, float]]:
    """Return the lines of the front: whoever stands below and left of them is beaten."""
    ranked = sorted(best, key=lambda dot: dot.x)
    lines = []
    for one, other in zip(ranked, ranked[1:], strict=False):
        lines += [(one.x, one.y, one.x, other.y), (one.x, other.y, other.x, other.y)]
    return lines
