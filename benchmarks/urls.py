"""The addresses of benchmarks."""

from __future__ import annotations

from django.urls import include, path, re_path

from benchmarks.views.batches import finished_batches
from benchmarks.views.compare import compare_runs
from benchmarks.views.importing import import_file
from benchmarks.views.new_run import new_run
from benchmarks.views.new_workload import new_workload
from benchmarks.views.run import run, run_live
from benchmarks.views.run_deeds import run_cancel, run_pin, run_unpin
from benchmarks.views.run_estimate import run_estimate
from benchmarks.views.runs import runs, runs_live
from jobs.urls import BATCH

_RUN = r"^benchmarks/(?P<public_id>bench_[0-9a-f]{32})"

urlpatterns = [
    path("benchmarks", runs, name="benchmarks"),
    path("benchmarks/live", runs_live, name="benchmarks-live"),
    path("benchmarks/batches", finished_batches, name="benchmark-batches"),
    path("benchmarks/new", new_run, name="benchmark-new"),
    path("benchmarks/new/estimate", run_estimate, name="benchmark-estimate"),
    path("benchmarks/import", import_file, name="benchmark-import"),
    path("benchmarks/compare", compare_runs, name="benchmark-compare"),
    re_path(rf"{_RUN}$", run, name="benchmark"),
    re_path(rf"{_RUN}/live$", run_live, name="benchmark-live"),
    re_path(rf"{_RUN}/cancel$", run_cancel, name="benchmark-cancel"),
    re_path(rf"{_RUN}/pin$", run_pin, name="benchmark-pin"),
    re_path(rf"{_RUN}/unpin$", run_unpin, name="benchmark-unpin"),
    re_path(rf"{BATCH}/workload$", new_workload, name="workload-new"),
    path("api/", include("benchmarks.api.urls")),
]
