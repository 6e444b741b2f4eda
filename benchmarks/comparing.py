"""Which runs may be compared, in what they differ, and what is found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from benchmarks.fingerprints import Difference, gpus_of, processor_of
from benchmarks.fingerprints import differences as differences_of
from benchmarks.models import Run, RunKind, RunState
from benchmarks.summary import figure
from benchmarks.verdicts import Verdict, verdict

SMALLEST_EFFECT = 0.05


class Metric(NamedTuple):
    """A figure by its path in `Run.figures`, and how it is to be read."""

    path: str
    title: str
    unit: str
    higher_is_better: bool


# What was answered well; less of it is a regression, however fast the refusals were.
GOOD = Metric("success_rate", "Answered well", "share", True)
# But for that, the first that both runs have decides; the others are shown beside it.
METRICS = (
    Metric("output_tokens_per_s", "Output tokens", "tokens/s", True),
    Metric("total_tokens_per_s", "All tokens", "tokens/s", True),
    Metric("requests_per_s", "Requests", "requests/s", True),
    Metric("steady.output_tokens_per_s", "Output tokens, steady part", "tokens/s", True),
    Metric("latency_ms.e2el.median", "Latency, median", "ms", False),
    Metric("latency_ms.e2el.p99", "Latency, p99", "ms", False),
    Metric("latency_ms.ttft.median", "Time to first token, median", "ms", False),
    Metric("latency_ms.tpot.median", "Time per output token, median", "ms", False),
    Metric("latency_ms.itl.median", "Inter-token latency, median", "ms", False),
    Metric("prefix_cache_hit_rate", "Prefix-cache hits", "share", True),
    Metric("joules_per_output_token", "Energy", "J/output token", False),
    Metric("cost_per_million_output_tokens", "Cost of a million output tokens", "", False),
    GOOD,
)


@dataclass(frozen=True, kw_only=True)
class MetricVerdict:
    """A metric of both runs, the median of their repeats, and what its change is worth."""

    metric: Metric
    baseline: float
    candidate: float
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`unlike` says why the runs cannot be compared; then nothing else is told.

    `verdict` is that of the metric that decides: regressed, improved, noise or too few; empty
    where the runs are unlike or share no metric.
    """

    unlike: list[str]
    differences: list[Difference]
    verdicts: list[MetricVerdict]
    deciding: MetricVerdict | None = None

    @property
    def verdict(self) -> str:
        return self.deciding.verdict.name if self.deciding is not None else ""


def compare(baseline: Run, candidate: Run) -> Comparison:
    """Hold a run against another one of its like."""
    unlike = why_unlike(baseline, candidate)
    return Comparison(
        unlike=unlike,
        differences=differences(baseline, candidate),
        verdicts=[] if unlike else _verdicts(baseline, candidate),
        deciding=None if unlike else deciding_verdict(baseline, candidate),
    )


def deciding_verdict(baseline: Run, candidate: Run) -> MetricVerdict | None:
    """Return what decides: fewer good answers, else the first metric; None where there is none."""
    good = verdict_on(GOOD, baseline, candidate)
    if good is not None and good.verdict.name == "regressed":
        return good
    found = (verdict_on(metric, baseline, candidate) for metric in METRICS)
    return next((one for one in found if one is not None), None)


def why_unlike(one: Run, other: Run, *, same_model: bool = True) -> list[str]:
    """Say why two runs cannot be compared; empty if they can.

    They must have sent the same requests to the same model, on the same kind of GPUs or
    processor, and have been measured in the same way. With `same_model` off the models may
    differ, as where models are chosen between.
    """
    reasons = []
    for run in (one, other):
        if run.state != RunState.COMPLETED:
            reasons.append(f"{run.public_id} is {run.state}: only a completed run has figures.")
    if reasons:
        # What it ran on and what was measured is not known yet.
        return reasons
    if one.kind != other.kind or one.tool != other.tool:
        reasons.append(f"They were measured by {_measured_by(one)} and {_measured_by(other)}.")
    if one.kind == RunKind.IMPORTED or other.kind == RunKind.IMPORTED:
        reasons.append("A result file says neither its requests nor on what it was measured.")
    elif one.workload is None or other.workload is None:
        reasons.append("One has no workload.")
    elif bytes(one.workload.sha256) != bytes(other.workload.sha256):
        reasons.append(
            f"They sent other requests: {one.workload.title}, and {other.workload.title}."
        )
    if same_model and one.model_name != other.model_name:
        reasons.append(
            f"They asked other models: {one.model_name}, and {other.model_name}. Models are held "
            "against each other on Benchmarks, with the workload chosen, by speed and quality."
        )
    for title, read in (("GPUs", gpus_of), ("processors", processor_of)):
        if read(one.fingerprint) != read(other.fingerprint):
            reasons.append(
                f"They ran on other {title}: {read(one.fingerprint)}, and "
                f"{read(other.fingerprint)}."
            )
    return reasons


def differences(before: Run, after: Run) -> list[Difference]:
    """Return what differs in the fingerprints of two runs and may well be the cause."""
    return differences_of(before.fingerprint, after.fingerprint)


def repeats_of(run: Run, metric: Metric) -> list[float]:
    """Return a metric of each measured repeat, in their order."""
    if run.kind != RunKind.MEASURED:
        return [float(value) for value in run.figures.get("repeats", {}).get(metric.path, [])]
    # In Python, so that parts that were fetched with many runs are not asked for again.
    parts = sorted(run.parts.all(), key=lambda part: part.repeat)
    measured = [part.figures or {} for part in parts if part.repeat]
    # A repeat whose engine was lost in the middle is no measure of its speed.
    values = [figure(one, metric.path) for one in measured if not one.get("interrupted")]
    return [value for value in values if value is not None]


def verdict_on(metric: Metric, baseline: Run, candidate: Run) -> MetricVerdict | None:
    """Say what the change of a metric is worth; None where it is not known of both runs."""
    old, new = figure(baseline.figures, metric.path), figure(candidate.figures, metric.path)
    before, after = repeats_of(baseline, metric), repeats_of(candidate, metric)
    # Of nothing there is no change that could be told.
    if not old or new is None or (before and not any(before)) or min((0, *before, *after)) < 0:
        return None
    found = _verdict(tuple(before), tuple(after), metric.higher_is_better)
    return MetricVerdict(metric=metric, baseline=old, candidate=new, verdict=found)


def _verdicts(baseline: Run, candidate: Run) -> list[MetricVerdict]:
    found = (verdict_on(metric, baseline, candidate) for metric in METRICS)
    return [one for one in found if one is not None]


# Pages ask for the same ones again and again, and a bootstrap takes a moment.
@lru_cache(maxsize=4_096)
def _verdict(
    before: tuple[float, ...], after: tuple[float, ...], higher_is_better: bool
) -> Verdict:
    return verdict(
        before, after, higher_is_better=higher_is_better, smallest_effect=SMALLEST_EFFECT
    )


def _measured_by(run: Run) -> str:
    return run.tool or "vbatch"
