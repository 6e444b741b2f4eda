"""A database in which every metric has something to tell."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from jobs.models import Batch, Gpu, Lane, LaneModel, WebhookDelivery, Worker
from jobs.services.fleet import LaneSpec, register_worker
from jobs.states import EngineState, LaneKind
from monitoring.models import Series
from monitoring.services.summaries import update_summaries
from tests.cast import claim, get_model, make_batch

HISTOGRAM = {"buckets": [[0.5, 3.0], [1.0, 4.0], [None, 5.0]], "sum": 4.5, "count": 5.0}
COUNTERS = {
    "prompt_tokens": 1_000.0,
    "generation_tokens": 400.0,
    "prefix_cache_queries": 1_000.0,
    "prefix_cache_hits": 250.0,
    "preemptions": 2.0,
    "requests_stop": 9.0,
    "requests_length": 1.0,
}
FIGURES = {"requests_running": 7.0, "requests_waiting": 2.0, "kv_cache_percent": 45.0}


def fill() -> tuple[Worker, Lane, Gpu]:
    """Make a worker at work, with a GPU, an engine, batches, tallies and webhooks."""
    worker, lane = _make_fleet()
    gpu = make_gpu(worker)
    make_engine(lane)
    Series.objects.create(
        kind="host",
        worker=worker,
        read_at=timezone.now(),
        latest={
            "cpu_percent": 50.0,
            "memory_used_bytes": 2.0e9,
            "memory_total_bytes": 8.0e9,
            "load_1m": 1.5,
        },
    )
    running = make_batch(texts=["a", "b"], errors=["c"], open_lines=4)
    claim(running, lane)
    make_batch(open_lines=6, paused_at=timezone.now())
    _make_webhooks(running)
    update_summaries()
    # One answer more than is counted.
    Batch.objects.filter(pk=running.pk).update(last_seq=4)
    return worker, lane, gpu


def make_gpu(worker: Worker, **fields: Any) -> Gpu:
    values = {
        "worker": worker,
        "index": 0,
        "name": "H100",
        "driver": "550.1",
        "utilization_percent": 93.0,
        "memory_used_bytes": 60_000_000_000,
        "memory_total_bytes": 80_000_000_000,
        "temperature_c": 71.0,
        "power_w": 350.0,
        "power_limit_w": 700.0,
        "clock_sm_mhz": 1_980.0,
        "clock_memory_mhz": 2_619.0,
        "throttle_reasons": ["heat"],
        "energy_j": 5_000.0,
        "read_at": timezone.now(),
        **fields,
    }
    return Gpu.objects.create(**values)


def make_engine(lane: Lane, *, model: str = "small", **fields: Any) -> Series:
    values = {
        "kind": "engine",
        "lane": lane,
        "read_at": timezone.now(),
        "latest": FIGURES,
        "detail": {
            "generation": lane.generation,
            "model": model,
            "counters": COUNTERS,
            "histograms": dict.fromkeys(("ttft_s", "itl_s", "e2e_s", "queue_s"), HISTOGRAM),
        },
        **fields,
    }
    return Series.objects.create(**values)


def _make_fleet() -> tuple[Worker, Lane]:
    worker, lanes = register_worker(
        name="host",
        pid=1,
        version="test",
        lanes=[
            LaneSpec(name="gpu0", kind=LaneKind.GPU, gpus=(0,)),
            LaneSpec(name="upstream", kind=LaneKind.UPSTREAM),
        ],
    )
    Worker.objects.filter(pk=worker.pk).update(sampled_at=timezone.now())
    Lane.objects.filter(pk=lanes[0].pk).update(
        engine_state=EngineState.READY,
        engine_model=get_model(),
        engine_ready_at=timezone.now(),
        generation=3,
    )
    lanes[0].refresh_from_db()
    LaneModel.objects.create(lane=lanes[1], model=get_model(), failures=2, last_error="away")
    return worker, lanes[0]


def _make_webhooks(batch: Batch) -> None:
    now = timezone.now()
    event = batch.events.earliest("pk")
    for number, state in enumerate(("pending", "dead", "delivered")):
        WebhookDelivery.objects.create(
            batch=batch,
            event=event,
            type="batch.completed",
            url=f"https://h.example/{number}",
            payload=b"{}",
            state=state,
            next_at=now - timedelta(seconds=30),
            created_at=now - timedelta(seconds=90),
        )
