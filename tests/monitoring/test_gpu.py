"""`GET /api/gpu`: what is read, how old it is, and whose batches run."""

from __future__ import annotations

from jobs.services.projects import get_project
from monitoring.quantities import SeriesKind
from tests.cast import make_batch, make_gpu, make_series, make_worker


def test_without_key_or_login_nothing_is_told(client, db):
    assert client.get("/api/gpu").status_code == 401


def test_gpus_with_processes_hosts_and_progress(ask, project):
    worker, _ = make_worker()
    make_gpu(worker, temperature_c=71.0)
    make_series(SeriesKind.HOST, worker, cpu_percent=12.0)
    batch = make_batch(project=project, texts=["a"], errors=["b"], open_lines=2)
    make_batch(project=get_project(name="theirs"), open_lines=1)
    make_batch(project=project, texts=["a"], state="completed")
    answer = ask("/api/gpu").json()
    (gpu,) = answer["gpus"]
    assert (gpu["worker"], gpu["index"], gpu["temperature"]) == ("host", 0, 71.0)
    assert gpu["stale"] is False and gpu["age_s"] < 5 and gpu["error"] is None
    (process,) = answer["processes"]
    assert (process["gpu"], process["pid"]) == (0, 4_242)
    assert answer["hosts"][0]["cpu_percent"] == 12.0
    assert answer["progress"] == {
        batch.public_id: {
            "model": "small",
            "status": "in_progress",
            "completed": 1,
            "failed": 1,
            "total": 4,
            "percent": 50.0,
        }
    }


def test_old_figures_are_none(ask):
    worker, _ = make_worker()
    make_gpu(worker, age_s=7)
    make_series(SeriesKind.HOST, worker, age_s=7)
    answer = ask("/api/gpu").json()
    (gpu,) = answer["gpus"]
    assert gpu["stale"] is True and gpu["age_s"] >= 7
    assert gpu["temperature"] is None and gpu["memory_used"] is None
    assert gpu["memory_total"] == 80 * 2**30
    assert answer["processes"] == []
    (host,) = answer["hosts"]
    assert host["stale"] is True and host["cpu_percent"] is None


def test_a_host_without_gpus_says_what_it_runs_on(ask):
    worker, _ = make_worker()
    worker.gpu_note = "No NVIDIA driver on this host."
    worker.save()
    (host,) = ask("/api/gpu").json()["hosts"]
    assert host["note"] == "CPU engine: No NVIDIA driver on this host."
    assert host["stale"] is True and host["age_s"] is None
