"""Workers: their heartbeats, and whether one is alive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models import Gpu, Lane, Worker
from jobs.states import EngineState, LaneKind

HEARTBEAT_S = 1.0
# A worker whose last heartbeat is older than this is not counted on.
STALE_AFTER_S = 10.0


@dataclass(frozen=True, kw_only=True)
class LaneSpec:
    """A lane as `runworker` was asked to make it; `gpus` are indices of this host."""

    name: str
    kind: LaneKind
    gpus: tuple[int, ...] = ()


def alive_since() -> datetime:
    """Return the moment since which a heartbeat counts as alive."""
    return timezone.now() - timedelta(seconds=STALE_AFTER_S)


def any_worker_alive() -> bool:
    return Worker.objects.filter(heartbeat_at__gte=alive_since(), stopped_at=None).exists()


def register_worker(
    *, name: str, pid: int, version: str, lanes: Sequence[LaneSpec]
) -> tuple[Worker, list[Lane]]:
    """Enter a worker and its lanes, as they are now; lanes of an earlier life become inactive.

    A lane keeps its row by name, and with it what it knows of its models.
    """
    with transaction.atomic():
        worker, _ = Worker.objects.update_or_create(
            name=name,
            defaults={
                "pid": pid,
                "version": version,
                "started_at": Now(),
                "heartbeat_at": Now(),
                "draining": False,
                "stopped_at": None,
            },
        )
        Lane.objects.filter(worker=worker).update(active=False)
        made = []
        for spec in lanes:
            lane, _ = Lane.objects.update_or_create(
                worker=worker,
                name=spec.name,
                defaults={
                    "kind": spec.kind,
                    "gpus": list(spec.gpus),
                    "queue": f"{name}-{spec.name}",
                    "active": True,
                    "kicked_at": None,
                    "task_seen_at": None,
                    "task_token": "",
                    "wanted_model": None,
                    "engine_model": None,
                    "engine_state": EngineState.STOPPED,
                    "engine_progress": "",
                    "engine_error": "",
                    "engine_socket": "",
                    "engine_pid": None,
                },
            )
            made.append(lane)
    return worker, made


def beat(*, worker_id: int) -> None:
    Worker.objects.filter(pk=worker_id).update(heartbeat_at=Now())


def drain_worker(*, worker_id: int) -> None:
    """Ask the worker's lanes to hand in what they have and to stop."""
    Worker.objects.filter(pk=worker_id).update(draining=True)


def stop_worker(*, worker_id: int) -> None:
    Worker.objects.filter(pk=worker_id).update(stopped_at=Now())


def note_gpus(*, worker_id: int, note: str, readings: Sequence[dict[str, Any]]) -> None:
    """Keep the latest reading of each GPU; `note` says why there is none, or which driver.

    A reading holds the columns of `Gpu` but for worker and time.
    """
    with transaction.atomic():
        Worker.objects.filter(pk=worker_id).update(gpu_note=note[:500], sampled_at=Now())
        for reading in readings:
            Gpu.objects.update_or_create(
                worker_id=worker_id,
                index=reading["index"],
                defaults={**reading, "read_at": timezone.now()},
            )
