"""The objects of the API: what a client sees of a file, a batch, a model, a list."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypedDict

from jobs.jsonl import Finding
from jobs.models import Batch, ServedModel, StoredFile, Upload, UploadPart
from jobs.services.files import file_size
from jobs.services.uploads import state_of
from jobs.states import UploadState


class FileObject(TypedDict):
    id: str
    object: str
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: str
    status_details: str | None


class UploadPartObject(TypedDict):
    id: str
    object: str
    created_at: int
    upload_id: str
    bytes: int
    sha256: str


class UploadObject(TypedDict):
    id: str
    object: str
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: str
    file: FileObject | None
    parts: list[UploadPartObject]


class FindingList(TypedDict):
    object: str
    data: list[Finding]


class BatchObject(TypedDict):
    id: str
    object: str
    endpoint: str
    model: str | None
    errors: FindingList | None
    input_file_id: str
    completion_window: str
    status: str
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: dict[str, int]
    usage: dict[str, Any]
    savings: dict[str, int]
    metadata: dict[str, str] | None
    priority: int
    request_order: str
    reuse_answers: bool
    waiting_for: str | None
    paused_at: int | None
    parent_batch_id: str | None
    webhook_url: str | None


class ModelObject(TypedDict):
    id: str
    object: str
    created: int
    owned_by: str


class ListObject(TypedDict):
    object: str
    data: list[Any]
    first_id: str | None
    last_id: str | None
    has_more: bool


def file_object(stored: StoredFile) -> FileObject:
    return {
        "id": stored.public_id,
        "object": "file",
        "bytes": file_size(stored),
        "created_at": _seconds(stored.created_at),
        "expires_at": _seconds_or_none(stored.expires_at),
        "filename": stored.filename,
        "purpose": stored.purpose,
        "status": "processed",
        "status_details": None,
    }


def upload_object(upload: Upload) -> UploadObject:
    """Show an upload; its parts as long as they wait to become a file."""
    status = state_of(upload)
    stored = upload.file
    parts = upload.parts.order_by("pk") if status == UploadState.PENDING else ()
    return {
        "id": upload.public_id,
        "object": "upload",
        "bytes": upload.bytes,
        "created_at": _seconds(upload.created_at),
        "expires_at": _seconds(upload.expires_at),
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": status,
        "file": None if stored is None or stored.is_hidden else file_object(stored),
        "parts": [upload_part_object(part, upload) for part in parts],
    }


def upload_part_object(part: UploadPart, upload: Upload) -> UploadPartObject:
    return {
        "id": part.public_id,
        "object": "upload.part",
        "created_at": _seconds(part.created_at),
        "upload_id": upload.public_id,
        "bytes": part.bytes,
        "sha256": part.sha256,
    }


def batch_object(batch: Batch, *, waiting_for: str | None) -> BatchObject:
    """Show a batch; `output_file` and `error_file` should have been selected with it."""
    errors: FindingList | None = None
    if batch.findings:
        errors = {"object": "list", "data": batch.findings}
    return {
        "id": batch.public_id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model_name or None,
        "errors": errors,
        "input_file_id": batch.input_file_public_id,
        "completion_window": batch.completion_window,
        "status": batch.state,
        "output_file_id": batch.output_file.public_id if batch.output_file else None,
        "error_file_id": batch.error_file.public_id if batch.error_file else None,
        "created_at": _seconds(batch.created_at),
        "in_progress_at": _seconds_or_none(batch.in_progress_at),
        "expires_at": _seconds(batch.expires_at),
        "finalizing_at": _seconds_or_none(batch.finalizing_at),
        "completed_at": _seconds_or_none(batch.completed_at),
        "failed_at": _seconds_or_none(batch.failed_at),
        "expired_at": _seconds_or_none(batch.expired_at),
        "cancelling_at": _seconds_or_none(batch.cancelling_at),
        "cancelled_at": _seconds_or_none(batch.cancelled_at),
        "request_counts": {
            "total": batch.total,
            "completed": batch.completed,
            "failed": batch.failed,
        },
        "usage": {
            "input_tokens": batch.input_tokens,
            "input_tokens_details": {"cached_tokens": batch.cached_tokens},
            "output_tokens": batch.output_tokens,
            "output_tokens_details": {"reasoning_tokens": batch.reasoning_tokens},
            "total_tokens": batch.input_tokens + batch.output_tokens,
        },
        "savings": {
            "requests": batch.reused,
            "input_tokens": batch.reused_input_tokens,
            "output_tokens": batch.reused_output_tokens,
        },
        "metadata": batch.metadata,
        "priority": batch.priority,
        "request_order": batch.request_order,
        "reuse_answers": batch.reuse_answers,
        "waiting_for": waiting_for,
        "paused_at": _seconds_or_none(batch.paused_at),
        "parent_batch_id": batch.parent.public_id if batch.parent else None,
        "webhook_url": batch.webhook_url or None,
    }


def model_object(model: ServedModel, name: str) -> ModelObject:
    return {
        "id": name,
        "object": "model",
        "created": _seconds(model.created_at),
        "owned_by": "vbatch",
    }


def list_object(data: Sequence[Any], *, has_more: bool = False) -> ListObject:
    return {
        "object": "list",
        "data": list(data),
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _seconds_or_none(moment: datetime | None) -> int | None:
    return None if moment is None else _seconds(moment)
