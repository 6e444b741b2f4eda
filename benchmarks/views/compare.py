"""Two runs held against each other, or why they cannot be."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from benchmarks.comparing import compare
from benchmarks.fingerprints import hardware_of
from benchmarks.interval_bars import lay_out_intervals
from benchmarks.models import Run, RunKind, RunState
from benchmarks.standing import REPEATS
from benchmarks.views.access import visible_runs
from benchmarks.views.run_shown import VERDICTS

CHOICES_MAX = 100
NAMED_MAX = 10


@require_GET
@login_required
def compare_runs(request: HttpRequest) -> HttpResponse:
    wanted, has_order = _named(request)
    known = visible_runs(request.user).prefetch_related(REPEATS)
    runs = known.in_bulk(wanted, field_name="public_id")
    found = [runs[one] for one in wanted if one in runs]
    if not has_order:
        found.sort(key=lambda run: run.pk)
    context: dict[str, Any] = {
        "runs": found,
        "missing": [one for one in wanted if one not in runs],
    }
    if len(found) == 2 and not context["missing"]:
        context |= _compared(*found)
    else:
        context |= _to_choose(request.user, found)
    return render(request, "benchmarks/compare.html", context)


def _named(request: HttpRequest) -> tuple[list[str], bool]:
    """Return the ids that are named, and whether the first is the one to be held against.

    Ticked boxes have no order: there the older run is the one that was there before.
    """
    given = {
        name: request.GET.get(name, "").replace("\0", "")
        for name in ("runs", "before", "after", "ids")
    }
    ordered = [*given["runs"].split(","), given["before"], given["after"]]
    wanted = [one.strip() for one in [*ordered, *given["ids"].split()] if one.strip()]
    return list(dict.fromkeys(wanted))[:NAMED_MAX], not given["ids"]


def _compared(baseline: Run, candidate: Run) -> dict[str, Any]:
    comparison = compare(baseline, candidate)
    return {
        "baseline": baseline,
        "candidate": candidate,
        "comparison": comparison,
        "intervals": lay_out_intervals(comparison.verdicts),
        "badge": VERDICTS.get(comparison.verdict),
        "verdict_badges": VERDICTS,
        "sides": [
            ("Before", baseline, hardware_of(baseline.fingerprint)),
            ("After", candidate, hardware_of(candidate.fingerprint)),
        ],
    }


def _to_choose(user: Any, found: list[Run]) -> dict[str, Any]:
    """Return completed runs to choose from: of the workload of the one that is there, if any."""
    runs = visible_runs(user).filter(state=RunState.COMPLETED)
    if len(found) == 1 and found[0].workload_id:
        runs = runs.filter(workload=found[0].workload_id)
    choices = list(runs.exclude(kind=RunKind.IMPORTED).order_by("-pk")[:CHOICES_MAX])
    after = found[0] if found else next(iter(choices), None)
    if after is None:
        return {"choices": []}
    like = [one for one in choices if (one.workload_id, one.model_name) == _like(after)]
    older = [one for one in like if one.pk < after.pk]
    newer = [one for one in like if one.pk > after.pk]
    pair = (older[0], after) if older else (after, newer[0]) if newer else (after, after)
    return {"choices": choices, "first": pair[0].pk, "second": pair[1].pk}


def _like(run: Run) -> tuple[int | None, str]:
    return run.workload_id, run.model_name
