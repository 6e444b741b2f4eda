"""The cast of the pages' tests: people, and batches as the services leave them."""

from __future__ import annotations

import os
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
