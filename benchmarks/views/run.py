"""The page of one run: all that was measured, on what, how good it was, beside its baseline."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import prefetch_related_objects
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from benchmarks.at_work import waits_for
from benchmarks.comparing import compare
from benchmarks.disturbances import disturbances_of
from benchmarks.fingerprints import drivers_of, hardware_of
from benchmarks.interval_bars import lay_out_intervals
from benchmarks.models import Run, RunKind, RunState
from benchmarks.planning import plan
from benchmarks.run_figures import latencies_of, phases_of, repeats_beside, scores_with_examples
from benchmarks.views.access import access_run, may_start
from benchmarks.views.run_shown import VERDICTS, show_runs
from curation.views.form_values import read_number
from jobs.views.live import live_fragment

FACTOR_MAX = 100_000


@require_GET
@login_required
def run(request: HttpRequest, public_id: str) -> HttpResponse:
    found = access_run(request.user, public_id)
    context = {**_context(request, found), **_plan(request, found)}
    return render(request, "benchmarks/run.html", context)


@require_GET
@login_required
def run_live(request: HttpRequest, public_id: str) -> HttpResponse:
    context = _context(request, access_run(request.user, public_id))
    return live_fragment(request, "benchmarks/_run.html", context)


def _context(request: HttpRequest, found: Run) -> dict[str, Any]:
    prefetch_related_objects([found], "parts__batch")
    parts = sorted(found.parts.all(), key=lambda part: part.repeat)
    measured = [part for part in parts if part.repeat]
    may_change = may_start(request.user, found.project_id)
    is_done = found.state == RunState.COMPLETED
    shown = show_runs([found])[found.pk]
    context = {
        "run": found,
        "shown": shown,
        "parts": measured,
        "warm_up": next((part for part in parts if not part.repeat), None),
        "latencies": latencies_of(found.figures),
        "phases": phases_of(found.figures),
        "repeats": repeats_beside(found) if is_done else [],
        "scores": scores_with_examples(found, measured),
        "hardware": hardware_of(found.fingerprint),
        "drivers": drivers_of(found.fingerprint),
        "rivals": list(found.rivals.order_by("-pk")[:20]),
        "disturbances": disturbances_of(found),
        "may_change": may_change,
        "may_pin": may_change and is_done and found.kind != RunKind.IMPORTED,
        "imported": sorted((found.imported or {}).items()),
    }
    if found.is_live:
        at_work = next((part for part in parts if part.measured_at is None), None)
        context["waits_for"] = waits_for(found, at_work)
    baseline = shown.standing.baseline if shown.standing else None
    if baseline is not None and baseline.pk != found.pk:
        comparison = compare(baseline, found)
        context |= {
            "baseline": baseline,
            "comparison": comparison,
            "intervals": lay_out_intervals(comparison.verdicts),
            "verdict_badges": VERDICTS,
        }
    return context


def _plan(request: HttpRequest, found: Run) -> dict[str, Any]:
    """Return what more requests like those of the run would take: `?requests=` and `&factor=`."""
    requests = read_number(request.GET.get("requests", ""))
    factor = read_number(request.GET.get("factor", "")) or 1
    return {
        "can_plan": found.state == RunState.COMPLETED and plan(found.figures, requests=1),
        "requests": requests,
        "factor": min(factor, FACTOR_MAX),
        "plan": plan(found.figures, requests=requests, factor=min(factor, FACTOR_MAX))
        if requests
        else None,
    }
