"""Whether an engine may start on its GPUs now: not where it is too hot, or where it cannot fit."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db.models import DurationField, ExpressionWrapper, F
from django.db.models.functions import Now

from jobs.models import Gpu
from jobs.services.fleet import READING_STALE_AFTER_S

# What vLLM takes of a GPU unless it is told another share.
_DEFAULT_SHARE = 0.92
_SHARE = "--gpu-memory-utilization"
_GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class GpuState:
    """What the gate looks at: a GPU's latest reading and its age in seconds."""

    name: str
    age_s: float
    error: str
    temperature_c: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    users: str


def why_held_back(
    gpus: Sequence[GpuState], *, wanted: int, share: float, max_temperature_c: float
) -> str | None:
    """Say why no engine may start on these GPUs now; None if it may.

    `wanted` is how many there must be, `share` the part of each one's memory that the engine
    takes at its start; a limit of 0 °C is none.
    """
    if len(gpus) < wanted:
        return "a first reading of its GPUs"
    for gpu in gpus:
        if gpu.error:
            return f"{gpu.name}, which cannot be read: {gpu.error}"
        if gpu.age_s > READING_STALE_AFTER_S:
            return f"a reading of {gpu.name}: the last one is {gpu.age_s:.0f} s old"
        if max_temperature_c and (gpu.temperature_c or 0) > max_temperature_c:
            return (
                f"{gpu.name} to cool down: it has {gpu.temperature_c:.0f} °C, and no engine "
                f"starts above {max_temperature_c:.0f}"
            )
        if gpu.memory_used_bytes is None or not gpu.memory_total_bytes:
            continue
        needed = share * gpu.memory_total_bytes
        free = gpu.memory_total_bytes - gpu.memory_used_bytes
        if free < needed:
            users = f" ({gpu.users})" if gpu.users else ""
            return (
                f"memory on {gpu.name}: {_gib(free)} of {_gib(gpu.memory_total_bytes)} are free, "
                f"the engine takes {_gib(needed)}; others hold {_gib(gpu.memory_used_bytes)}{users}"
            )
    return None


def check_gate(*, worker_id: int, gpus: Sequence[int], engine_args: str) -> str | None:
    """Say why no engine may start on these GPUs of a worker now; None if it may."""
    if not settings.GPU_GATE:
        return None
    rows = (
        Gpu.objects.filter(worker_id=worker_id, index__in=gpus)
        .select_related("worker")
        .annotate(age=ExpressionWrapper(Now() - F("read_at"), output_field=DurationField()))
        .order_by("index")
    )
    return why_held_back(
        [_state(gpu, gpu.age.total_seconds()) for gpu in rows],
        wanted=len(set(gpus)),
        share=memory_share(engine_args),
        max_temperature_c=settings.GPU_MAX_TEMPERATURE_C,
    )


def memory_share(engine_args: str) -> float:
    """Return the share of a GPU's memory that vLLM demands to be free when it starts."""
    args = shlex.split(engine_args)
    for index, arg in enumerate(args):
        name, _, value = arg.partition("=")
        if name.replace("_", "-") == _SHARE:
            try:
                return float(value or args[index + 1])
            except (ValueError, IndexError):
                break  # vLLM itself refuses it, with words of its own.
    return _DEFAULT_SHARE


def _state(gpu: Gpu, age_s: float) -> GpuState:
    users = [
        f"{one.get('name') or 'process'} {one['pid']}: {_gib(one['memory_bytes'])}"
        for one in gpu.processes or []
        if one.get("memory_bytes")
    ]
    return GpuState(
        name=f"GPU {gpu.index} of {gpu.worker.name}",
        age_s=age_s,
        error=gpu.error,
        temperature_c=gpu.temperature_c,
        memory_used_bytes=gpu.memory_used_bytes,
        memory_total_bytes=gpu.memory_total_bytes,
        users=", ".join(users[:3]),
    )


def _gib(size: float) -> str:
    return f"{size / _GIB:.1f} GiB"
