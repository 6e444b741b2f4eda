"""The figures of a run, and a comparison, as a terminal shows them."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from benchmarks.comparing import METRICS, Comparison, Metric
from benchmarks.models import Run
from benchmarks.summary import figure

_ALSO = (
    Metric("input_tokens_per_s", "Input tokens", "tokens/s", True),
    Metric("output_tokens_per_s_per_gpu", "Output tokens per GPU", "tokens/s", True),
    Metric("latency_ms.e2el.p90", "Latency, p90", "ms", False),
    Metric("latency_ms.ttft.p99", "Time to first token, p99", "ms", False),
    Metric("engine_start_s", "Engine start", "s", False),
    Metric("gpu_seconds", "GPU time", "s", False),
    Metric("cost_per_million_output_tokens", "Price of a million output tokens", "", False),
)


def show_run(run: Run, console: Console) -> None:
    """Print what was measured of a run, and how its answers were scored."""
    table = Table("figure", "", "unit")
    for metric in (*METRICS, *_ALSO):
        value = figure(run.figures, metric.path)
        if value is not None:
            table.add_row(metric.title, number(value), metric.unit)
    console.print(table)
    if run.figures.get("energy_valid") is False:
        console.print(f"The energy is not only this run's: {run.figures.get('energy_note')}.")
    for score in run.scores:
        told = (
            f"mean {score['mean']:.2f}"
            if "mean" in score
            else f"{score['passed']:,} of {score['scored']:,} passed"
        )
        console.print(f"{score['words']}: {told}", markup=False)


def show_comparison(found: Comparison, baseline: Run, console: Console) -> None:
    """Print why two runs are not alike, or what each metric became."""
    if found.unlike:
        console.print(f"{baseline.public_id} is no run to compare this one with:", markup=False)
        for reason in found.unlike:
            console.print(f"  {reason}", markup=False)
        return
    table = Table("figure", f"{baseline.public_id[:14]}…", "this run", "change", "95 %", "verdict")
    for one in found.verdicts:
        verdict = one.verdict
        change = "" if verdict.change is None else f"{verdict.change:+.1%}"
        span = (
            ""
            if verdict.low is None or verdict.high is None
            else f"{verdict.low:+.1%} to {verdict.high:+.1%}"
        )
        table.add_row(
            one.metric.title,
            number(one.baseline),
            number(one.candidate),
            change,
            span,
            verdict.name,
        )
    console.print(table)
    for difference in found.differences:
        console.print(
            f"Differs in {difference.title}: {difference.before}, now {difference.after}",
            markup=False,
        )


def show_beside(run: Run, rival: Run, console: Console) -> None:
    """Print a run and that of another tool on the same requests, and the ratio of the two."""
    table = Table("figure", "vbatch", rival.tool, "ratio", "unit")
    for metric in (*METRICS, *_ALSO):
        ours, theirs = figure(run.figures, metric.path), figure(rival.figures, metric.path)
        if ours is not None and theirs:
            ratio = f"{ours / theirs:.2f}"
            table.add_row(metric.title, number(ours), number(theirs), ratio, metric.unit)
    console.print(table)


def number(value: float) -> str:
    """Return a figure with as many digits as say something."""
    if value == 0 or abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"
