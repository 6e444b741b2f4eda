"""The figures of a run, and a comparison, as a terminal shows them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.comparing import METRICS, Comparison, Metric, repeats_of
from benchmarks.disturbances import disturbances_of
from benchmarks.models import Run
from benchmarks.summary import figure

_ALSO = (
    Metric("input_tokens_per_s", "Input tokens", "tokens/s", True),
    Metric("output_tokens_per_s_per_gpu", "Output tokens per GPU", "tokens/s", True),
    Metric("latency_ms.e2el.p90", "Latency, p90", "ms", False),
    Metric("latency_ms.ttft.p99", "Time to first token, p99", "ms", False),
    Metric("duration_s", "Took", "s", False),
    Metric("engine_start_s", "Engine start, not in it", "s", False),
    Metric("gpu_seconds", "GPU time", "s", False),
)


def show_run(run: Run, console: Console) -> None:
    """Print what was measured of a run, and how its answers were scored."""
    many = run.repeats > 1
    table = Table(
        "figure", "median" if many else "measured", *(["repeats"] if many else []), "unit"
    )
    for metric in (*METRICS, *_ALSO):
        value = figure(run.figures, metric.path)
        if value is not None:
            spread = [_span(repeats_of(run, metric))] if many else []
            table.add_row(metric.title, number(value), *spread, metric.unit)
    console.print(table)
    if run.price_per_gpu_hour is not None:
        whose = "GPU" if run.figures.get("gpus") else "machine"
        console.print(f"Cost: at {run.price_per_gpu_hour.normalize():f} an hour of a {whose}.")
    for words in disturbances_of(run):
        console.print(f"Note: {words}", markup=False)
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
    title = f"{baseline.public_id[:14]}…"
    table = Table("figure", title, "this run", "unit", "change", "95 %", "verdict")
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
            one.metric.unit,
            change,
            span,
            verdict.name,
        )
    console.print(table)
    console.print(
        "The figures are medians; the change, as its interval, is that of the repeats' geometric "
        "means. The interval knows the spread within the two runs: what else the host was at, "
        "between one and the other, it does not know."
    )
    for difference in found.differences:
        console.print(
            f"Differs in {difference.title}: {difference.before}, now {difference.after}",
            markup=False,
        )


def show_beside(run: Run, rival: Run, console: Console) -> None:
    """Print a run and that of another tool on the same requests, and the ratio of the two."""
    table = Table("figure", "vbatch", "repeats", rival.tool, "repeats", "ratio", "unit")
    for metric in (*METRICS, *_ALSO):
        ours, theirs = figure(run.figures, metric.path), figure(rival.figures, metric.path)
        if ours is not None and theirs:
            spans = [_span(repeats_of(one, metric)) for one in (run, rival)]
            table.add_row(
                metric.title,
                number(ours),
                spans[0],
                number(theirs),
                spans[1],
                f"{ours / theirs:.2f}",
                metric.unit,
            )
    console.print(table)
    console.print(
        f"{rival.tool} is counted from the moment when its engine is up to its file, vbatch from "
        "the first request to the last committed answer. vbatch's engine had answered a warm-up; "
        f"each {rival.tool} starts an engine of its own. Kept as {rival.public_id}.",
        markup=False,
    )


def _span(values: Sequence[float]) -> str:
    """Return the least and the most of the repeats; empty where there is one."""
    if len(values) < 2:
        return ""
    return f"{number(min(values))} to {number(max(values))}"


def number(value: float) -> str:
    """Return a figure with as many digits as say something."""
    if value == 0 or abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"
