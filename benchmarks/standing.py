"""How runs stand against the baselines of their workloads, for many runs at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Prefetch, prefetch_related_objects

from benchmarks.comparing import deciding_verdict, why_unlike
from benchmarks.models import Baseline, Run, RunPart, RunState

IS_BASELINE = "baseline"
UNLIKE = "not alike"
# What is read of the repeats of many runs: their figures, not on what each ran.
REPEATS = Prefetch("parts", RunPart.objects.defer("fingerprint"))


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is said of a run beside its baseline.

    `name` is a verdict, `baseline` where it is that itself, or `not alike` with the reasons.
    """

    name: str
    baseline: Run
    metric: str = ""
    change: float | None = None
    low: float | None = None
    high: float | None = None
    reasons: tuple[str, ...] = ()


def standings(runs: Sequence[Run]) -> dict[int, Standing]:
    """Return how completed runs stand, by their primary keys; without a baseline left out.

    The number of queries does not grow with the number of runs.
    """
    completed = [run for run in runs if run.state == RunState.COMPLETED and run.workload_id]
    if not completed:
        return {}
    pinned = {
        (one.project_id, one.workload_id, one.model_name): one.run
        for one in Baseline.objects.filter(
            workload__in={run.workload_id for run in completed}
        ).select_related("run__workload")
    }
    pairs = [
        (run, base)
        for run in completed
        if (base := pinned.get((run.project_id, run.workload_id or 0, run.model_name)))
    ]
    prefetch_related_objects([one for pair in pairs for one in pair], REPEATS)
    return {run.pk: _stand(run, base) for run, base in pairs}


def _stand(run: Run, base: Run) -> Standing:
    if run.pk == base.pk:
        return Standing(name=IS_BASELINE, baseline=base)
    reasons = why_unlike(base, run)
    if reasons:
        return Standing(name=UNLIKE, baseline=base, reasons=tuple(reasons))
    found = deciding_verdict(base, run)
    if found is None:
        return Standing(name=UNLIKE, baseline=base, reasons=("They share no figure.",))
    return Standing(
        name=found.verdict.name,
        baseline=base,
        metric=found.metric.title,
        change=found.verdict.change,
        low=found.verdict.low,
        high=found.verdict.high,
    )
