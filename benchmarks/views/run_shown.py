"""How runs are shown: the badges of their states and verdicts, and how far those at work are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.fingerprints import hardware_of
from benchmarks.models import Run, RunPart, RunState
from benchmarks.standing import IS_BASELINE, UNLIKE, Standing, standings
from jobs.models import Batch
from jobs.views import shown
from jobs.views.shown import Badge

BADGES = {
    RunState.QUEUED: shown.QUEUED,
    RunState.RUNNING: shown.RUNNING,
    RunState.SCORING: Badge("scoring", "file-search", "azure"),
    RunState.COMPLETED: shown.DONE,
    RunState.FAILED: shown.FAILED,
    RunState.CANCELLED: shown.CANCELLED,
}
VERDICTS = {
    "regressed": Badge("regressed", "alert-triangle", "orange"),
    "improved": Badge("improved", "circle-check", "green"),
    "noise": Badge("noise", "activity", "secondary"),
    "too few": Badge("too few repeats", "info-circle", "secondary"),
    IS_BASELINE: Badge("baseline", "pin", "blue"),
    UNLIKE: Badge("not alike", "info-circle", "secondary"),
}


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a run is at: which repeat, 0 is the warm-up, and the batch of it once that is made."""

    repeat: int
    repeats: int
    batch: Batch | None


@dataclass(frozen=True, kw_only=True)
class ShownRun:
    """What a list says of a run beyond its columns."""

    badge: Badge
    progress: Progress | None
    standing: Standing | None
    verdict: Badge | None
    hardware: str


def show_runs(runs: Sequence[Run]) -> dict[int, ShownRun]:
    """Return what to show of each run, by its primary key.

    The number of queries does not grow with the number of runs.
    """
    at = _progress([run for run in runs if run.is_live])
    stands = standings(runs)
    found = {}
    for run in runs:
        standing = stands.get(run.pk)
        found[run.pk] = ShownRun(
            badge=BADGES[RunState(run.state)],
            progress=at.get(run.pk),
            standing=standing,
            verdict=VERDICTS[standing.name] if standing else None,
            hardware=hardware_of(run.fingerprint),
        )
    return found


def _progress(live: Sequence[Run]) -> dict[int, Progress]:
    if not live:
        return {}
    parts = RunPart.objects.filter(run__in=live, measured_at=None).select_related("batch")
    repeats = {run.pk: run.repeats for run in live}
    found: dict[int, Progress] = {}
    for part in parts.order_by("run", "repeat"):
        if part.run_id not in found:
            found[part.run_id] = Progress(
                repeat=part.repeat, repeats=repeats[part.run_id], batch=part.batch
            )
    return found
