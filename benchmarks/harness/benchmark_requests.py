"""The requests of the published list that read runs and what was measured of batches."""

from __future__ import annotations

from benchmarks.models import Run, RunState
from jobs.models import Project


def benchmarks() -> dict[str, tuple[str, int]]:
    """The pages of runs and of finished batches in their views, and the routes beside them."""
    return {
        "Benchmarks": ("/benchmarks", 11),
        "Benchmarks, live": ("/benchmarks/live", 8),
        "Benchmarks, deep page": ("/benchmarks?before={deep_run}", 12),
        "Benchmarks, one workload": ("/benchmarks?workload={workload}", 14),
        "Benchmarks, one model, done": ("/benchmarks?model={run_model}&state=done", 10),
        "Benchmarks, failed": ("/benchmarks?state=failed", 8),
        "Finished batches": ("/benchmarks/batches", 9),
        "Finished batches, one model": ("/benchmarks/batches?model={model}", 9),
        "Finished batches, last 30 days": ("/benchmarks/batches?since=30d", 9),
        "Finished batches, deep page": ("/benchmarks/batches?before={deep}", 9),
        "Run": ("/benchmarks/{run}", 10),
        "Run, live": ("/benchmarks/{run}/live", 10),
        "Compare runs": ("/benchmarks/compare?runs={older_run},{run}", 5),
        "Compare runs, to choose": ("/benchmarks/compare?runs={run}", 6),
        "New run": ("/benchmarks/new", 7),
        "/api/benchmarks": ("/api/benchmarks", 4),
        "/api/benchmarks/{id}": ("/api/benchmarks/{run}", 5),
        "/api/workloads": ("/api/workloads", 4),
    }


def find_runs(project: Project) -> dict[str, str]:
    """Return what the requests ask about: a run that has an older one of its like."""
    done = Run.objects.filter(project=project, state=RunState.COMPLETED, workload__isnull=False)
    run = done.select_related("workload").order_by("-pk").first()
    assert run is not None and run.workload is not None, "The list needs runs in this project."
    older = done.filter(workload=run.workload, model_name=run.model_name, pk__lt=run.pk)
    return {
        "run": run.public_id,
        "older_run": (older.order_by("pk").first() or run).public_id,
        "run_model": run.model_name,
        "workload": run.workload.public_id,
        "deep_run": str(max(1, run.pk // 4)),
    }
