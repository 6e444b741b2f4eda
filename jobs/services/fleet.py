"""Workers: their names, their heartbeats, and whether one is alive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Now

from jobs.models import Gpu, Lane, Worker
from jobs.prepared import Prepared
from jobs.states import EngineState, LaneKind

HEARTBEAT_S = 1.0
# A worker whose last heartbeat is older than this is not counted on.
STALE_AFTER_S = 10.0
# A reading that is older says nothing of now: three of the sampler's intervals.
READING_STALE_AFTER_S = 6.0
_REGISTER_LOCK = 0x76627267
OTHER_NAME = "Give this one a name of its own with VBATCH_WORKER_NAME or `runworker --name`."


@dataclass(frozen=True, kw_only=True)
class LaneSpec:
    """A lane as `runworker` was asked to make it; `gpus` are indices of this host."""

    name: str
    kind: LaneKind
    gpus: tuple[int, ...] = ()


class HostRefused(Exception):
    """A worker that may not work beside the others; the message says why and what to do."""


def alive_since() -> CombinedExpression:
    """Return the moment since which a heartbeat counts as alive, for use in a query.

    By the database's clock, in which heartbeats are written: a host whose own is ahead would
    take all others for dead.
    """
    return Now() - timedelta(seconds=STALE_AFTER_S)


def alive_workers() -> QuerySet[Worker]:
    return Worker.objects.filter(heartbeat_at__gte=alive_since(), stopped_at=None)


def any_worker_alive() -> bool:
    return bool(_ONE_ALIVE.fetch())


_ONE_ALIVE = Prepared(lambda: alive_workers().values_list("pk", flat=True).order_by()[:1])


def version_skew(*, name: str, version: str) -> str | None:
    """Say which workers that are alive run another version than `version`; None if none does."""
    others = alive_workers().exclude(name=name).exclude(version=version).order_by("name")
    found = [f"'{other.name}' runs {other.version or 'an unknown version'}" for other in others]
    return f"This host runs vbatch {version}; worker {', '.join(found)}." if found else None


def register_worker(
    *, name: str, instance: str = "", pid: int, version: str, lanes: Sequence[LaneSpec]
) -> tuple[Worker, list[Lane]]:
    """Enter a worker and its lanes, as they are now; lanes of an earlier life become inactive.

    A lane keeps its row by name, and with it what it knows of its models. Raises HostRefused if
    a worker of this name is alive that belongs to another data folder, or if others that are
    alive run another version; the same folder may enter again at once, after a crash.
    """
    with transaction.atomic():
        # One after the other: of two that start at the same moment, the second sees the first.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_REGISTER_LOCK])
        if alive_workers().filter(name=name).exclude(instance__in=("", instance)).exists():
            raise HostRefused(
                f"Another worker named '{name}' is alive, from another data folder. {OTHER_NAME}"
            )
        skew = version_skew(name=name, version=version)
        if skew:
            raise HostRefused(f"{skew} All must run the same.")
        worker, _ = Worker.objects.update_or_create(
            name=name,
            defaults={
                "instance": instance,
                "pid": pid,
                "version": version,
                "started_at": Now(),
                "heartbeat_at": Now(),
                "draining": False,
                "stopped_at": None,
            },
        )
        worker.refresh_from_db()
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
                    "start_held_back": "",
                    "engine_socket": "",
                    "engine_pid": None,
                },
            )
            made.append(lane)
    return worker, made


def beat(worker: Worker) -> bool:
    """Say that the worker is alive; False if its row is another life's by now, or is gone."""
    return bool(_same_life(worker).update(heartbeat_at=Now()))


def drain_worker(worker: Worker) -> None:
    """Ask the worker's lanes to hand in what they have and to stop."""
    _same_life(worker).update(draining=True)


def stop_worker(worker: Worker) -> None:
    _same_life(worker).update(stopped_at=Now())


def leads(worker: Worker) -> bool:
    """True for one of the workers that are alive: it rings for what belongs to no host.

    While one has just died there may be none, and two for a moment after one came: what is
    rung for may come twice or late.
    """
    first = alive_workers().filter(draining=False).order_by("pk").first()
    return first is not None and first.pk == worker.pk


def _same_life(worker: Worker) -> QuerySet[Worker]:
    """The worker's row, as long as no other life of that name has entered.

    A host that was cut off longer than a heartbeat may last can lose its name to another one.
    """
    return Worker.objects.filter(
        pk=worker.pk, instance=worker.instance, started_at=worker.started_at
    )


def note_sampler(*, worker_id: int) -> None:
    """Say that the worker's sampler is at work."""
    Worker.objects.filter(pk=worker_id).update(sampled_at=Now())


def note_gpus(*, worker_id: int, note: str, readings: Sequence[dict[str, Any]]) -> list[int]:
    """Keep the latest reading of each GPU; return their keys, in the order of the readings.

    `note` says why there is none, or which driver. A reading holds the columns of `Gpu` but for
    worker and time; one that failed leaves the time of the last that did not.
    """
    keys = []
    with transaction.atomic():
        Worker.objects.filter(pk=worker_id).exclude(gpu_note=note[:500]).update(gpu_note=note[:500])
        for reading in readings:
            read_at = {} if reading["error"] else {"read_at": Now()}
            gpu, _ = Gpu.objects.update_or_create(
                worker_id=worker_id,
                index=reading["index"],
                defaults={**reading, **read_at},
                create_defaults={**reading, "read_at": Now()},
            )
            keys.append(gpu.pk)
    return keys
