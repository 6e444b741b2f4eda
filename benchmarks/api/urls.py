"""The addresses of benchmarks under /api; none ends in a slash."""

from __future__ import annotations

from django.urls import path

from benchmarks.api import compare, runs, workloads

urlpatterns = [
    path("benchmarks", runs.RunsView.as_view(), name="api-benchmarks"),
    path("benchmarks/import", runs.ImportView.as_view(), name="api-benchmark-import"),
    path("benchmarks/<str:run_id>", runs.RunView.as_view(), name="api-benchmark"),
    path("benchmarks/<str:run_id>/cancel", runs.CancelView.as_view(), name="api-benchmark-cancel"),
    path(
        "benchmarks/<str:run_id>/baseline",
        compare.BaselineView.as_view(),
        name="api-benchmark-baseline",
    ),
    path(
        "benchmarks/<str:run_id>/compare",
        compare.CompareView.as_view(),
        name="api-benchmark-compare",
    ),
    path("benchmarks/<str:run_id>/plan", runs.PlanView.as_view(), name="api-benchmark-plan"),
    path("workloads", workloads.WorkloadsView.as_view(), name="api-workloads"),
]
