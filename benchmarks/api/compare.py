"""Holding a run against another one, and pinning the one that others are held against."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from benchmarks.api.rendering import render_comparison
from benchmarks.api.runs import BenchmarkView
from benchmarks.comparing import compare
from benchmarks.services.baselines import CannotPin, baseline_of, pin_baseline, unpin_baseline
from jobs.api.errors import ApiError, conflict
from jobs.api.paging import ID_MAX


class CompareView(BenchmarkView):
    def get(self, request: Request, run_id: str) -> Response:
        query = self.query()
        query.refuse_unknown(("baseline",))
        run = self.run(run_id)
        named = query.text("baseline", max_length=ID_MAX)
        baseline = self.run(named, param="baseline") if named else baseline_of(run)
        if baseline is None:
            raise ApiError(
                "No baseline is pinned for this workload and model: name a run in 'baseline', or "
                "pin one.",
                param="baseline",
                code="no_baseline",
            )
        return Response(render_comparison(baseline, run, compare(baseline, run)))


class BaselineView(BenchmarkView):
    def post(self, request: Request, run_id: str) -> Response:
        run = self.run(run_id)
        self.check_may_change(run.project_id)
        try:
            pin_baseline(run=run)
        except CannotPin as error:
            raise conflict(str(error), code="cannot_pin") from error
        return Response({"id": run.public_id, "object": "benchmark.baseline", "pinned": True})

    def delete(self, request: Request, run_id: str) -> Response:
        run = self.run(run_id)
        self.check_may_change(run.project_id)
        unpin_baseline(run=run)
        return Response({"id": run.public_id, "object": "benchmark.baseline", "pinned": False})
