"""One batch: its progress, its story, its lines, and its end by a person's hand."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from jobs.jsonl import MORE_ERRORS
from jobs.models import Batch, StoredFile
from jobs.services.batches import CannotCancel, cancel_batch
from jobs.services.deleting import StillLive, delete_batch
from jobs.services.files import visible_files
from jobs.states import CANCELLABLE_STATES
from jobs.views.access import access_batch, may_change
from jobs.views.answers import answer_page
from jobs.views.live import live_fragment
from jobs.views.shown import show_batches


@require_GET
@login_required
def batch_detail(request: HttpRequest, public_id: str) -> HttpResponse:
    return render(request, "jobs/batch_detail.html", _context(request, public_id))


@require_GET
@login_required
def batch_detail_live(request: HttpRequest, public_id: str) -> HttpResponse:
    return live_fragment(request, "jobs/_batch_detail.html", _context(request, public_id))


@require_POST
@login_required
def batch_cancel(request: HttpRequest, public_id: str) -> HttpResponse:
    batch = access_batch(request.user, public_id)
    if not may_change(request.user, batch):
        raise PermissionDenied("Viewers of a project cannot cancel its batches.")
    try:
        cancel_batch(batch=batch, reason=f"by {request.user.get_username()}")
    except CannotCancel as error:
        messages.warning(request, f"Nothing was cancelled: the batch is {error.state}.")
    return redirect("batch-detail", public_id=public_id)


@require_POST
@login_required
def batch_delete(request: HttpRequest, public_id: str) -> HttpResponse:
    batch = access_batch(request.user, public_id)
    if not may_change(request.user, batch):
        raise PermissionDenied("Viewers of a project cannot delete its batches.")
    try:
        delete_batch(batch=batch)
    except StillLive as error:
        messages.warning(request, f"Nothing was deleted: the batch is {error.state}.")
        return redirect("batch-detail", public_id=public_id)
    messages.success(request, f"{public_id} is deleted, with its answers and result files.")
    return redirect("batch-list")


def _context(request: HttpRequest, public_id: str) -> dict[str, Any]:
    batch = access_batch(request.user, public_id)
    can_change = may_change(request.user, batch)
    return {
        "batch": batch,
        "shown": show_batches([batch])[batch.pk],
        "remaining": batch.total - batch.answered,
        "total_tokens": batch.input_tokens + batch.output_tokens,
        **_findings(batch),
        "events": list(batch.events.order_by("pk")),
        "files": _files(batch),
        "can_cancel": batch.state in CANCELLABLE_STATES and can_change,
        "can_delete": can_change and not batch.is_live,
        "answers": answer_page(
            batch,
            start=request.GET.get("from", ""),
            only_errors=request.GET.get("only") == "errors",
        ),
    }


def _findings(batch: Batch) -> dict[str, Any]:
    """Return what was found in the input, and the sentence on what is not listed of it."""
    unlisted = [one["message"] for one in batch.findings if one["code"] == MORE_ERRORS]
    return {
        "findings": [one for one in batch.findings if one["code"] != MORE_ERRORS],
        "unlisted": " ".join(unlisted),
    }


def _files(batch: Batch) -> list[dict[str, Any]]:
    """Return the files of the batch that can still be read, with their sizes in bytes."""
    named = (
        ("input", batch.input_file, None),
        ("output", batch.output_file, batch.output_bytes),
        ("error", batch.error_file, batch.error_bytes),
    )
    ids = [file.pk for _, file, _ in named if file is not None]
    readable = set(visible_files(batch.project).filter(pk__in=ids).values_list("pk", flat=True))
    return [
        _file(kind, file, size, readable=file.pk in readable)
        for kind, file, size in named
        if file is not None
    ]


def _file(kind: str, file: StoredFile, size: int | None, *, readable: bool) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": file.filename,
        "bytes": file.bytes if size is None else size,
        "readable": readable,
        "expires_at": file.expires_at,
    }
