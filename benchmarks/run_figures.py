"""The figures of a run as its page lays them out: phases, repeats, latencies, scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.comparing import METRICS, Metric, repeats_of
from benchmarks.models import Run, RunPart
from benchmarks.plot import Axis, axis_between
from benchmarks.summary import figure

_HISTOGRAM = "the engine's histogram: percentiles ≈, drawn within its buckets"
LATENCIES = (
    ("e2el", "Whole request", "each request, as its lane saw it: sent to answered"),
    ("ttft", "Time to first token", _HISTOGRAM),
    ("tpot", "Time per output token", _HISTOGRAM),
    ("itl", "Inter-token latency", _HISTOGRAM),
)
_PHASES = (
    ("validation_s", "validation", "queued"),
    ("load_s", "engine start", "loading-model"),
    ("waiting_s", "waiting", "paused"),
    # Where the parts of the work cannot be told apart.
    ("work_s", "answering", "steady"),
    ("warm_up_s", "warm-up", "warm-up"),
    ("steady_s", "steady", "steady"),
    ("tail_s", "tail", "tail"),
)
# Repeats of these stand beside each other.
_DOTTED = (
    "output_tokens_per_s",
    "total_tokens_per_s",
    "requests_per_s",
    "latency_ms.e2el.median",
    "latency_ms.e2el.p99",
    "latency_ms.ttft.median",
)


@dataclass(frozen=True, kw_only=True)
class PhaseBar:
    """A phase in the strip: `start` and `width` in per cent of the whole."""

    name: str
    css: str
    start: float
    width: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Latency:
    """A row of the table of latencies, in milliseconds; None is not measured."""

    title: str
    source: str
    mean: float | None
    median: float | None
    p90: float | None
    p99: float | None


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """A metric of each repeat, as dots on one axis; places are in per cent."""

    metric: Metric
    median: float
    median_at: float
    dots: list[tuple[float, float]]
    axis: Axis
    spread: float


def phases_of(figures: Mapping[str, Any]) -> list[PhaseBar]:
    known = [
        (name, css, seconds)
        for path, name, css in _PHASES
        if (seconds := figure(figures, f"phases.{path}"))
    ]
    whole = sum(seconds for _, _, seconds in known)
    bars, start = [], 0.0
    for name, css, seconds in known:
        width = seconds / whole * 100
        bars.append(
            PhaseBar(
                name=name, css=css, start=round(start, 2), width=round(width, 2), seconds=seconds
            )
        )
        start += width
    return bars


def latencies_of(figures: Mapping[str, Any]) -> list[Latency]:
    """Return a row for each kind of latency of which anything was measured."""
    rows = []
    for name, title, source in LATENCIES:
        values = {
            which: figure(figures, f"latency_ms.{name}.{which}")
            for which in ("mean", "median", "p90", "p99")
        }
        if any(value is not None for value in values.values()):
            rows.append(Latency(title=title, source=source, **values))
    return rows


def repeats_beside(run: Run) -> list[Repeats]:
    """Return the metrics of which there are several repeats, each with its dots."""
    rows = []
    for metric in METRICS:
        values = repeats_of(run, metric) if metric.path in _DOTTED else []
        median = figure(run.figures, metric.path)
        if len(values) < 2 or median is None:
            continue
        low, high = min(values), max(values)
        # Wide enough that noise looks like noise: at least a tenth of the figure to either side.
        axis = axis_between(
            max(0.0, min(low, median * 0.9)), max(high, median * 1.1), start=2.0, end=98.0, ticks=3
        )
        rows.append(
            Repeats(
                metric=metric,
                median=median,
                median_at=axis.at(median),
                dots=[(axis.at(value), value) for value in values],
                axis=axis,
                spread=(high - low) / median if median else 0.0,
            )
        )
    return rows


def scores_with_examples(run: Run, parts: Sequence[RunPart]) -> list[dict[str, Any]]:
    """Return the scores, their examples as lines of the batch that was scored, the last."""
    batch = parts[-1].batch if parts else None
    return [{**score, "batch": batch} for score in run.scores]
