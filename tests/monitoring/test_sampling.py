"""What the sampler makes of what it reads."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from jobs.engines.figures import EngineFigures, Histogram, NoFigures
from jobs.models import Gpu, Lane, Worker
from jobs.nvml import NoGpu
from monitoring.models import Series
from monitoring.quantities import SeriesKind
from monitoring.sampling import batches, engines, gpus
from monitoring.sampling.batches import BatchSampler
from monitoring.sampling.engines import EngineSampler
from monitoring.sampling.gpus import GpuSampler
from monitoring.sampling.host import HostSampler
from monitoring.sampling.loop import CRASHED, Loop
from monitoring.sampling.old_samples import OldSamples
from tests.cast import get_model, make_worker

ROOT = Path(__file__).parent.parent.parent
READING: dict[str, Any] = {
    "index": 0,
    "name": "NVIDIA H100",
    "driver": "580",
    "error": "",
    "temperature_c": 60,
    "power_w": None,
    "throttle_reasons": ["heat"],
    "processes": [],
}


# --- GPUs and host -----------------------------------------------------------------------------
@pytest.mark.django_db
def test_a_gpu_is_read_and_once_lost_keeps_its_name_and_grows_old(monkeypatch):
    worker, _ = make_worker()
    sampler = GpuSampler(worker_id=worker.pk)
    monkeypatch.setattr(gpus, "read_gpus", lambda: [READING])
    sampler.step()
    gpu = Gpu.objects.get()
    latest = Series.objects.get(gpu=gpu).latest
    assert latest == {"temperature_c": 60.0, "throttled": 1.0}
    lost = {"index": 0, "driver": "580", "error": "GPU is lost", "temperature_c": None}
    monkeypatch.setattr(gpus, "read_gpus", lambda: [lost])
    sampler.step()
    after = Gpu.objects.get()
    assert (after.name, after.error, after.read_at) == ("NVIDIA H100", "GPU is lost", gpu.read_at)
    assert Series.objects.get(gpu=gpu).error == "GPU is lost"
    assert Series.objects.get(gpu=gpu).samples.count() == 1


@pytest.mark.django_db
def test_without_a_driver_the_host_says_so_and_asks_again_only_later(monkeypatch):
    worker, _ = make_worker()
    asked = []

    def read() -> list[dict[str, Any]]:
        asked.append(1)
        raise NoGpu("No NVIDIA driver on this host.")

    monkeypatch.setattr(gpus, "read_gpus", read)
    sampler = GpuSampler(worker_id=worker.pk)
    sampler.step()
    sampler.step()
    assert len(asked) == 1
    assert Worker.objects.get().gpu_note == "No NVIDIA driver on this host."
    monkeypatch.setattr(gpus, "NO_GPU_EVERY_S", 0.0)
    sampler._look_at = 0.0
    sampler.step()
    assert len(asked) == 2


@pytest.mark.django_db
def test_the_host_is_read_and_the_sampler_shows_that_it_lives():
    worker, _ = make_worker()
    HostSampler(worker_id=worker.pk).step()
    latest = Series.objects.get(worker=worker).latest
    assert 0 < latest["memory_used_bytes"] < latest["memory_total_bytes"]
    assert 0 <= latest["cpu_percent"] <= 100
    assert Worker.objects.get().sampled_at is not None


# --- Engines -----------------------------------------------------------------------------------
def _figures(tokens: float, *, ttft: tuple[float, float] = (0, 0)) -> EngineFigures:
    counters = {
        "prompt_tokens": tokens * 2,
        "generation_tokens": tokens,
        "prefix_cache_queries": tokens,
        "prefix_cache_hits": tokens / 4,
    }
    histogram = Histogram(
        buckets={1.0: ttft[1], float("inf"): ttft[1]}, total=ttft[0], count=ttft[1]
    )
    return EngineFigures(
        gauges={"requests_running": 7.0, "kv_cache_percent": 25.0},
        counters=counters,
        histograms={"ttft_s": histogram},
    )


@pytest.fixture
def engine(db, monkeypatch):
    """A ready engine; call it with what it shall say, and get the latest that was stored."""
    worker, lane = make_worker()
    Lane.objects.update(engine_state="ready", engine_model=get_model(), engine_socket="/x.sock")
    clock = iter(range(0, 1_000, 2))
    # Of this module alone: the event loop must not see it.
    monkeypatch.setattr(engines, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    sampler = EngineSampler(worker_id=worker.pk)

    def step(found: EngineFigures | Exception) -> Series:
        async def scrape(socket: str, *, timeout_s: float) -> EngineFigures:
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr(engines, "scrape", scrape)
        sampler.step()
        return Series.objects.get(lane=lane)

    return step


def test_rates_are_the_difference_of_two_looks(engine):
    first = engine(_figures(100))
    assert first.latest == {"requests_running": 7.0, "kv_cache_percent": 25.0}
    second = engine(_figures(300, ttft=(6.0, 3)))
    assert second.latest == {
        "requests_running": 7.0,
        "kv_cache_percent": 25.0,
        "prompt_tokens_per_s": 200.0,
        "generation_tokens_per_s": 100.0,
        "prefix_hit_percent": 25.0,
        "ttft_s": 2.0,
        "itl_s": None,
        "e2e_s": None,
    }
    assert second.detail["counters"]["generation_tokens"] == 300
    assert second.detail["histograms"]["ttft_s"] == {
        "buckets": [[1.0, 3], [None, 3]],
        "sum": 6.0,
        "count": 3,
    }
    idle = engine(_figures(300, ttft=(6.0, 3)))
    assert idle.latest["generation_tokens_per_s"] == 0
    assert idle.latest["prefix_hit_percent"] is None and idle.latest["ttft_s"] is None


def test_a_new_engine_begins_anew_and_nothing_runs_backwards(engine):
    engine(_figures(1_000))
    Lane.objects.update(generation=5)
    fresh = engine(_figures(10))
    assert "generation_tokens_per_s" not in fresh.latest
    assert engine(_figures(5)).latest["generation_tokens_per_s"] == 0


def test_an_engine_that_does_not_answer_leaves_what_was_read_to_grow_old(engine):
    before = engine(_figures(100))
    after = engine(NoFigures("/metrics did not answer within 2 s"))
    assert (after.read_at, after.error) == (before.read_at, "/metrics did not answer within 2 s")


def test_an_engine_that_is_not_ready_is_not_asked(engine):
    engine(_figures(100))
    Lane.objects.update(engine_state="starting")
    assert engine(AssertionError("asked")).error == ""


# --- Batches and old samples -------------------------------------------------------------------
@pytest.mark.django_db
def test_only_the_host_that_leads_looks_at_the_batches(monkeypatch):
    first, _ = make_worker("a")
    second, _ = make_worker("b")
    looked: list[str] = []
    monkeypatch.setattr(batches, "sample_batches", lambda: looked.append("sample"))
    monkeypatch.setattr(batches, "thin_batch_samples", lambda: looked.append("thin"))
    left = iter([5, 0, 0])
    every: list[bool] = []

    def update(*, every: bool, seen: list[bool] = every) -> int:
        seen.append(every)
        return next(left)

    monkeypatch.setattr(batches, "update_summaries", update)
    BatchSampler(worker_id=second.pk).step()
    assert looked == []
    sampler = BatchSampler(worker_id=first.pk)
    for _ in range(3):
        sampler.step()
    assert looked == ["sample", "thin", "sample", "sample"]
    # The pass over all goes on until nothing is left, and then rests.
    assert every == [True, True, False]


@pytest.mark.django_db
def test_each_host_rolls_up_what_is_its_own(monkeypatch):
    worker, lane = make_worker("a")
    other, _ = make_worker("b")
    gpu = Gpu.objects.create(worker=worker, index=0, read_at=worker.heartbeat_at)
    own = [
        Series.objects.create(kind=SeriesKind.HOST, worker=worker),
        Series.objects.create(kind=SeriesKind.GPU, gpu=gpu),
        Series.objects.create(kind=SeriesKind.ENGINE, lane=lane),
    ]
    Series.objects.create(kind=SeriesKind.HOST, worker=other)
    found: list[int] = []
    monkeypatch.setattr(
        "monitoring.sampling.old_samples.roll_up", lambda *, series_ids: found.extend(series_ids)
    )
    OldSamples(worker_id=worker.pk).step()
    assert sorted(found) == [series.pk for series in own]


# --- The loop ----------------------------------------------------------------------------------
def test_a_database_that_is_away_costs_readings_and_no_more(monkeypatch):
    tries, again = [], threading.Event()

    def step() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise OperationalError("the server closed the connection")
        again.set()

    monkeypatch.setattr("monitoring.sampling.loop.connection.close", lambda: None)
    Loop(name="test", every_s=0.0, step=step).start()
    assert again.wait(10)


_CRASH = """
import django, time
django.setup()
from monitoring.sampling.loop import Loop
Loop(name="test", every_s=0.0, step=lambda: 1 / 0).start()
time.sleep(30)
"""
_HANG = """
import django, threading
django.setup()
from monitoring.sampling import run
class Idle:
    def __init__(self, *, worker_id): pass
    def step(self): pass
class Hung(Idle):
    def step(self): threading.Event().wait()
run.GPU_HANGS_AFTER_S = 1.0
run.GpuSampler = Hung
run.HostSampler = run.EngineSampler = run.BatchSampler = run.OldSamples = Idle
run.sample_forever(1)
"""


@pytest.mark.parametrize(("script", "status"), [(_CRASH, CRASHED), (_HANG, 75)])
def test_a_fault_or_a_driver_that_hangs_ends_the_process(script, status):
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=25, capture_output=True)
    assert done.returncode == status, done.stderr
