"""`/api/benchmarks`: runs are made, listed, read, cancelled, imported; and batches are measured."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from django.conf import settings
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from benchmarks.api.rendering import csv_of, render_batch, render_run, row_of
from benchmarks.at_work import part_at_work, waits_for
from benchmarks.measured import fingerprint_of, measure_batch
from benchmarks.models import Run, RunKind, RunState
from benchmarks.planning import plan
from benchmarks.services.imports import BYTES_MAX, import_results
from benchmarks.services.runs import REPEATS_MAX, CannotRun, cancel_run, create_run
from benchmarks.services.workloads import InvalidWorkload, find_workload
from benchmarks.vllm_results import UnreadableResults
from curation.api.receiving import receive
from curation.api.view import CurationView
from jobs.api.errors import ApiError, conflict
from jobs.api.paging import ID_MAX, find, read_paging
from jobs.api.parameters import Parameters
from jobs.api.parsing import json_body
from jobs.api.rendering import AnyNegotiation
from jobs.models import Batch

_NAME_MAX = 200
_FORMATS = ("json", "csv")
_FILTERS = ("workload", "model", "kind", "status")
_NEW = (
    "workload",
    "requests",
    "model",
    "repeats",
    "checks",
    "price_per_gpu_hour",
    "note",
    "project",
)


class BenchmarkView(CurationView):
    """A route that is about one run."""

    def run(self, run_id: str, *, param: str = "id") -> Run:
        runs = Run.objects.filter(project__in=self.projects)
        return find(
            runs.select_related("workload", "project"), run_id, kind="benchmark", param=param
        )


class RunsView(BenchmarkView):
    content_negotiation_class = AnyNegotiation

    def get(self, request: Request) -> HttpResponseBase:
        query = self.query()
        query.refuse_unknown(("limit", "after", "format", *_FILTERS))
        everything = Run.objects.filter(project__in=self.projects)
        wanted = _filtered(query, everything).select_related("workload")
        if query.choice("format", _FORMATS) == "csv":
            runs = wanted.order_by("-pk").iterator(chunk_size=200)
            return _table(row_of(run, run.figures) for run in runs)
        paging = read_paging(query, default=20, high=100)
        runs, more = paging.cut(wanted, everything=everything, kind="benchmark")
        data = [render_run(run) for run in runs]
        return Response(
            {
                "object": "list",
                "data": data,
                "first_id": data[0]["id"] if data else None,
                "last_id": data[-1]["id"] if data else None,
                "has_more": more,
            }
        )

    def post(self, request: Request) -> Response:
        body = json_body(request)
        body.refuse_unknown(_NEW)
        project = self.project_named(body.text("project", max_length=_NAME_MAX))
        self.check_may_change(project.pk)
        name = body.text("workload", max_length=_NAME_MAX, required=True) or ""
        repeats = body.integer("repeats", low=1, high=REPEATS_MAX)
        checks = body.values.get("checks") or []
        if not isinstance(checks, list) or not all(isinstance(one, dict) for one in checks):
            raise body.wrong_type("checks", "a list of objects", checks)
        try:
            run = create_run(
                project=project,
                workload=find_workload(
                    project=project,
                    name=name,
                    requests=body.integer("requests", low=1, high=settings.MAX_LINES),
                ),
                model_name=body.text("model", max_length=_NAME_MAX, required=True) or "",
                repeats=1 if repeats is None else repeats,
                checks=checks,
                price_per_gpu_hour=_price(body),
                note=body.text("note", max_length=500) or "",
            )
        except InvalidWorkload as error:
            raise ApiError(str(error), param="workload", code="invalid_value") from error
        except CannotRun as error:
            raise ApiError(str(error), param=error.param, code="cannot_run") from error
        return Response(render_run(run, run.parts.order_by("repeat")))


class RunView(BenchmarkView):
    content_negotiation_class = AnyNegotiation

    def get(self, request: Request, run_id: str) -> HttpResponseBase:
        query = self.query()
        query.refuse_unknown(("format",))
        wants_csv = query.choice("format", _FORMATS) == "csv"
        if run_id.startswith("batch_"):
            return Response(self._batch(run_id))
        run = self.run(run_id)
        parts = list(run.parts.order_by("repeat"))
        if not wants_csv:
            shown = render_run(run, parts)
            if run.is_live:
                shown["waiting_for"] = waits_for(run, part_at_work(run))
            return Response(shown)
        rows = [row_of(run, part.figures, repeat=part.repeat) for part in parts if part.repeat]
        return _table([*rows, row_of(run, run.figures)])

    def _batch(self, batch_id: str) -> dict[str, Any]:
        batches = Batch.objects.filter(project__in=self.projects)
        batch = find(batches, batch_id, kind="batch")
        if batch.is_live:
            raise conflict(
                "This batch is still at work: it is measured once it has ended. GET "
                "/api/running-jobs tells how far it is.",
                code="not_ended",
            )
        return render_batch(batch, measure_batch(batch), fingerprint_of(batch))


class PlanView(BenchmarkView):
    def get(self, request: Request, run_id: str) -> Response:
        query = self.query()
        query.refuse_unknown(("requests", "factor"))
        run = self.run(run_id)
        requests = query.integer("requests", low=1, high=10**12, required=True) or 0
        factor = query.integer("factor", low=1, high=100_000)
        found = plan(run.figures, requests=requests, factor=factor or 1)
        if found is None:
            raise conflict("This run has no rate to plan with.", code="not_measured")
        return Response(
            {
                "object": "benchmark.plan",
                "estimate": True,
                "rests_on": run.public_id,
                "requests": found.requests,
                "factor": found.factor,
                "seconds": found.seconds,
                "gpu_seconds": found.gpu_seconds,
                "cost": found.cost,
            }
        )


class CancelView(BenchmarkView):
    def post(self, request: Request, run_id: str) -> Response:
        run = self.run(run_id)
        self.check_may_change(run.project_id)
        if not cancel_run(run=run):
            run.refresh_from_db()
            raise conflict(f"The run is {run.state} already.", code="has_ended")
        run.refresh_from_db()
        return Response(render_run(run, run.parts.order_by("repeat")))


class ImportView(BenchmarkView):
    def post(self, request: Request) -> Response:
        query = self.query()
        query.refuse_unknown(("project", "note"))
        project = self.project_named(query.text("project", max_length=_NAME_MAX))
        self.check_may_change(project.pk)
        with receive(
            request._request,
            limit=BYTES_MAX,
            what="a result file of `vllm bench`",
            media_type="application/json",
        ) as file:
            content = file.read()
        try:
            run = import_results(
                project=project, content=content, note=query.text("note", max_length=500) or ""
            )
        except UnreadableResults as error:
            raise ApiError(str(error), code="invalid_file") from error
        return Response(render_run(run))


def _filtered(query: Parameters, runs: Any) -> Any:
    workload = query.text("workload", max_length=ID_MAX)
    model = query.text("model", max_length=_NAME_MAX)
    kind = query.choice("kind", RunKind.values)
    status = query.choice("status", RunState.values)
    if workload:
        by_id = runs.filter(workload__public_id=workload)
        runs = by_id if workload.startswith("workload_") else runs.filter(workload__name=workload)
    if model:
        runs = runs.filter(model_name=model)
    if kind:
        runs = runs.filter(kind=kind)
    return runs.filter(state=status) if status else runs


def _price(body: Parameters) -> Decimal | None:
    value = body.values.get("price_per_gpu_hour")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise body.wrong_type("price_per_gpu_hour", "a number", value)
    try:
        price = Decimal(str(value))
    except InvalidOperation as error:
        raise body.invalid("price_per_gpu_hour", "it is no number") from error
    if not price.is_finite():
        raise body.invalid("price_per_gpu_hour", "it is no number")
    return price


def _table(rows: Any) -> HttpResponseBase:
    content: Iterator[bytes] = csv_of(rows)
    return StreamingHttpResponse(content, content_type="text/csv; charset=utf-8")
