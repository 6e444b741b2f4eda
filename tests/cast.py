"""The cast of the pages' tests: people, and batches as the services leave them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from jobs.models import (
    Batch,
    BatchEvent,
    BatchRequest,
    BatchResponse,
    Chunk,
    Gpu,
    Lane,
    Membership,
    Project,
    Role,
    ServedModel,
    Worker,
)
from jobs.result_lines import result_line
from jobs.services.fleet import LaneSpec, register_worker
from jobs.services.projects import get_project
from jobs.services.result_files import create_result_files
from jobs.states import ENTERED_AT_FIELD, BatchState, ChunkState, LaneKind
from monitoring.models import Sample, Series
from monitoring.quantities import QUANTITIES, SUBJECTS, Quantity, SeriesKind, Step


def make_person(name: str, *, project: Project | None = None, role: str = Role.MEMBER) -> User:
    person = User.objects.create_user(name, password=f"{name}-password")
    if project is not None:
        Membership.objects.create(project=project, user=person, role=role)
    return person


def make_worker(name: str = "host", *, silent_s: float = 0.0) -> tuple[Worker, Lane]:
    worker, lanes = register_worker(
        name=name,
        pid=1,
        version="test",
        lanes=[LaneSpec(name="gpu0", kind=LaneKind.GPU, gpus=(0,))],
    )
    if silent_s:
        at = timezone.now() - timedelta(seconds=silent_s)
        Worker.objects.filter(pk=worker.pk).update(heartbeat_at=at)
    worker.refresh_from_db()
    return worker, lanes[0]


def get_model() -> ServedModel:
    return ServedModel.objects.get_or_create(name="small", defaults={"source": "/models/small"})[0]


def make_batch(
    *,
    project: Project | None = None,
    state: str = BatchState.IN_PROGRESS,
    texts: list[str] | None = None,
    errors: list[str] | None = None,
    open_lines: int = 0,
    **fields: Any,
) -> Batch:
    """Make a batch with a line for each text (answered), each error, and each open line."""
    texts, errors = texts or [], errors or []
    now = timezone.now()
    model = get_model()
    total = len(texts) + len(errors) + open_lines
    entered = ENTERED_AT_FIELD.get(BatchState(state))
    values = {
        "project": project or get_project(),
        "state": state,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "input_file_public_id": "file-0",
        "model": model,
        "model_name": model.name,
        "created_at": now,
        "expires_at": now + timedelta(hours=24),
        "create_digest": os.urandom(32),
        "total": total,
        "last_seq": len(texts) + len(errors),
        "completed": len(texts),
        "failed": len(errors),
        "input_tokens": 10 * len(texts),
        "output_tokens": 1_000 * len(texts),
        **({entered: now} if entered else {}),
        **fields,
    }
    batch = Batch.objects.create(**values)
    BatchEvent.objects.create(batch=batch, new_state="validating", created_at=now)
    if state != BatchState.VALIDATING:
        BatchEvent.objects.create(
            batch=batch, old_state="validating", new_state=state, created_at=now
        )
    for position in range(total):
        answer_line(batch, position, texts=texts, errors=errors)
    if texts or errors:
        batch.output_bytes, batch.error_bytes = _size(batch, ok=True), _size(batch, ok=False)
        create_result_files(batch=batch, has_output=bool(texts), has_errors=bool(errors))
        batch.save()
    return batch


def _size(batch: Batch, *, ok: bool) -> int:
    rows = BatchResponse.objects.filter(batch=batch, ok=ok).select_related("request")
    return sum(
        len(
            result_line(
                batch_public_id=batch.public_id,
                position=row.request.position,
                custom_id=row.request.custom_id,
                status_code=row.status_code,
                body=bytes(row.body),
                error_code=row.error_code,
                error_message=row.error_message,
            )
        )
        for row in rows
    )


def answer_line(batch: Batch, position: int, *, texts: list[str], errors: list[str]) -> None:
    request = BatchRequest.objects.create(
        batch=batch,
        line=position + 1,
        position=position,
        custom_id=f"line-{position}",
        body=b'{"model":"small"}',
        prompt_text=f"prompt of {position}",
        prompt_sha256=b"0" * 32,
    )
    if position >= len(texts) + len(errors):
        return
    ok = position < len(texts)
    BatchResponse.objects.create(
        request=request,
        batch=batch,
        seq=position + 1,
        ok=ok,
        status_code=200 if ok else 400,
        body=b'{"choices":[]}',
        text=texts[position] if ok else "",
        input_tokens=10 if ok else 0,
        output_tokens=1_000 if ok else 0,
        error_code="" if ok else "BadRequestError",
        error_message="" if ok else errors[position - len(texts)],
        created_at=timezone.now(),
    )


def make_gpu(worker: Worker, index: int = 0, *, age_s: float = 0.0, **fields: Any) -> Gpu:
    """Make a GPU that is at work; with `error`, one that is lost."""
    read = {
        "driver": "580.95.05",
        "utilization_percent": 87.0,
        "memory_used_bytes": 61 * 2**30,
        "memory_total_bytes": 80 * 2**30,
        "temperature_c": 64.0,
        "power_w": 512.0,
        "power_limit_w": 700.0,
        "clock_sm_mhz": 1_755.0,
        "clock_memory_mhz": 2_619.0,
        "throttle_reasons": [],
        "processes": [{"pid": 4_242, "name": "VLLM::EngineCore", "memory_bytes": 60 * 2**30}],
    }
    figures = dict.fromkeys(read) if fields.get("error") else read
    return Gpu.objects.create(
        worker=worker,
        index=index,
        read_at=timezone.now() - timedelta(seconds=age_s),
        **{"name": "NVIDIA H100 80GB HBM3", **figures, "driver": read["driver"], **fields},
    )


# What `make_series` makes of a quantity that a test does not name: a plausible height.
_HEIGHTS = {
    "%": 60.0,
    "B": 48.0 * 2**30,
    "°C": 64.0,
    "W": 500.0,
    "MHz": 1_800.0,
    "tokens/s": 1_900.0,
    "tokens": 9_000.0,
    "s": 0.4,
}


def make_series(
    kind: SeriesKind,
    subject: Worker | Gpu | Lane | Batch,
    *,
    minutes: float = 1.0,
    step: Step = Step.FINE,
    age_s: float = 0.0,
    hole: tuple[float, float] | None = None,
    **values: float | Callable[[float], float | None] | None,
) -> Series:
    """Make the series of a host, GPU, lane or batch with samples up to `age_s` seconds ago.

    A quantity is a number, or a function of the seconds since the first sample; the others wave
    about a plausible height. Between the two `minutes` of `hole`, counted from the first sample,
    nothing was sampled.
    """
    now = timezone.now() - timedelta(seconds=age_s)
    every_s = int(step) or 2
    series = Series.objects.create(kind=kind, read_at=now, **{SUBJECTS[kind]: subject})
    samples = []
    count = int(minutes * 60 / every_s)
    for number in range(count + 1):
        second = float(number * every_s)
        if hole is not None and hole[0] * 60 < second < hole[1] * 60:
            continue
        found = [_value(one, second, values) for one in QUANTITIES[kind]]
        at = now - timedelta(seconds=(count - number) * every_s)
        samples.append(Sample(series=series, step_s=step, at=at, values=found))
    Sample.objects.bulk_create(samples)
    series.latest = dict(
        zip((one.name for one in QUANTITIES[kind]), samples[-1].values, strict=True)
    )
    series.save()
    return series


def _value(quantity: Quantity, second: float, given: dict[str, Any]) -> float | None:
    if quantity.name in given:
        value = given[quantity.name]
        return value(second) if callable(value) else value
    if quantity.name.endswith("total_bytes"):
        return 80.0 * 2**30
    if quantity.name == "power_limit_w":
        return 700.0
    height = _HEIGHTS.get(quantity.unit, 4.0)
    return height * (1 + 0.25 * math.sin(second / 40 + len(quantity.name)))


def claim(batch: Batch, lane: Lane, *, lease_s: float = 60.0) -> Chunk:
    return Chunk.objects.create(
        batch=batch,
        first_position=0,
        last_position=max(0, batch.total - 1),
        state=ChunkState.CLAIMED,
        owner=lane,
        lease_until=timezone.now() + timedelta(seconds=lease_s),
        attempt=1,
    )
