"""Runs as the services leave them, for the tests of pages."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from benchmarks.models import Run, RunKind, RunPart, RunState, Workload
from benchmarks.summary import medians
from jobs.models import Batch, Project

H100 = {"name": "NVIDIA H100 80GB HBM3", "driver": "580.95.05", "memory_bytes": 80 * 2**30}
FINGERPRINT = {
    "gpus": [H100],
    "cpu": "AMD EPYC 9654",
    "cores": 96,
    "vbatch": "1.0.0",
    "vllm": "0.32.0",
    "model": "small",
    "source": "/models/small",
    "revision": "d0c5",
    "engine_args": "--max-model-len 4096",
    "workers": ["host"],
}


def make_workload(project: Project, name: str = "short-chat", **fields: Any) -> Workload:
    values = {
        "version": 1,
        "endpoint": "/v1/chat/completions",
        "requests": 512,
        "sha256": hashlib.sha256(name.encode()).digest(),
        **fields,
    }
    return Workload.objects.get_or_create(project=project, name=name, defaults=values)[0]


def figures_at(rate: float, *, gpus: int = 1) -> dict[str, Any]:
    """Return the figures of a repeat with so many output tokens a second."""
    seconds = 512 * 64 / rate
    latency = {"mean": 1_100_000 / rate, "median": 10**6 / rate, "p90": 1_500_000 / rate}
    found: dict[str, Any] = {
        "requests": 512,
        "completed": 510,
        "failed": 2,
        "success_rate": 510 / 512,
        "input_tokens": 51_200,
        "output_tokens": 512 * 64,
        "duration_s": seconds,
        "requests_per_s": rate / 64,
        "input_tokens_per_s": rate * 1.5,
        "output_tokens_per_s": rate,
        "total_tokens_per_s": rate * 2.5,
        "steady": {
            "seconds": seconds * 0.8,
            "requests_per_s": rate / 60,
            "output_tokens_per_s": rate * 1.06,
            "total_tokens_per_s": rate * 2.6,
        },
        "latency_ms": {
            "e2el": {**latency, "p99": 2 * 10**6 / rate},
            "ttft": {name: value / 10 for name, value in latency.items()},
        },
        "engine_covers": 1.0,
        "prefix_cache_hit_rate": 0.42,
        "phases": {
            "validation_s": 0.4,
            "load_s": 0.0,
            "waiting_s": 0.6,
            "warm_up_s": seconds * 0.1,
            "steady_s": seconds * 0.8,
            "tail_s": seconds * 0.1,
        },
    }
    if gpus:
        found |= {
            "gpus": gpus,
            "gpu_seconds": gpus * seconds,
            "output_tokens_per_s_per_gpu": rate / gpus,
            "total_tokens_per_s_per_gpu": rate * 2.5 / gpus,
            "requests_per_s_per_gpu": rate / 64 / gpus,
            "energy_j": 400 * seconds,
            "energy_valid": True,
            "energy_note": "",
            "joules_per_output_token": 400 / rate,
            "joules_per_token": 160 / rate,
        }
    return found


def make_run(
    project: Project,
    rates: Sequence[float] = (1_000, 1_010, 990, 1_005, 995),
    *,
    batches: Sequence[Batch | None] = (),
    age_h: float = 0.0,
    **fields: Any,
) -> Run:
    """Make a completed run with a repeat for each rate; other states by `state`."""
    fingerprint = fields.pop("fingerprint", FINGERPRINT)
    is_done = fields.get("state", RunState.COMPLETED) == RunState.COMPLETED
    gpus = len(fingerprint.get("gpus", []))
    each = [figures_at(rate, gpus=gpus) for rate in rates] if is_done else []
    values = {
        "project": project,
        "workload": fields.pop("workload", None) or make_workload(project),
        "model_name": "small",
        "state": RunState.COMPLETED,
        "repeats": max(1, len(rates)),
        "figures": medians(each),
        "fingerprint": fingerprint if is_done else {},
        "created_by_name": "member",
        **fields,
    }
    run = Run.objects.create(**values)
    at = timezone.now() - timedelta(hours=age_h)
    Run.objects.filter(pk=run.pk).update(created_at=at, ended_at=at if is_done else None)
    given = [*batches, *[None] * (len(rates) + 1)]
    RunPart.objects.bulk_create(
        [
            RunPart(
                run=run,
                repeat=repeat,
                batch=given[repeat],
                batch_public_id=given[repeat].public_id if given[repeat] else "",
                figures=each[repeat - 1] if is_done and repeat else ({} if is_done else None),
                fingerprint=run.fingerprint,
                measured_at=at if is_done else None,
            )
            for repeat in range(len(rates) + 1)
        ]
    )
    run.refresh_from_db()
    return run


def make_import(project: Project, **fields: Any) -> Run:
    """Make a run that was taken over from a result file."""
    figures = {"output_tokens_per_s": 812.5, "requests_per_s": 12.5, "duration_s": 41.0}
    values = {
        "kind": RunKind.IMPORTED,
        "state": RunState.COMPLETED,
        "model_name": "small",
        "figures": figures,
        "tool": "vllm bench serve",
        "imported": {"backend": "vllm", "num_prompts": 512},
        "created_by_name": "member",
        **fields,
    }
    return Run.objects.create(project=project, **values)
