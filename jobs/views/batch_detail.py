"""One batch: its progress, its story, its lines, its family."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET

from jobs.jsonl import MORE_ERRORS
from jobs.models import Batch, StoredFile
from jobs.services.files import visible_files
from jobs.states import BatchState
from jobs.views.access import access_batch, may_change
from jobs.views.answers import answer_page
from jobs.views.lines import SHOW, find_line
from jobs.views.live import live_fragment
from jobs.views.shown import deeds_for, show_batches

RETRIES_SHOWN = 10


@require_GET
@login_required
def batch_detail(request: HttpRequest, public_id: str) -> HttpResponse:
    context = _context(request, public_id)
    if context["find"] and (found := find_line(context["batch"], context["find"])) is not None:
        return redirect("line", public_id, found)
    return render(request, "jobs/batch_detail.html", context)


@require_GET
@login_required
def batch_detail_live(request: HttpRequest, public_id: str) -> HttpResponse:
    return live_fragment(request, "jobs/_batch_detail.html", _context(request, public_id))


def _context(request: HttpRequest, public_id: str) -> dict[str, Any]:
    batch = access_batch(request.user, public_id)
    return {
        "batch": batch,
        "shown": show_batches([batch])[batch.pk],
        "unanswered": batch.total - batch.completed,
        "remaining": batch.total - batch.answered,
        "total_tokens": batch.input_tokens + batch.output_tokens,
        "saved_tokens": batch.reused_input_tokens + batch.reused_output_tokens,
        **_findings(batch),
        "events": _story(batch),
        "deliveries": [] if batch.is_live else list(batch.deliveries.order_by("pk")),
        "files": _files(batch),
        "deeds": deeds_for(batch, may_change=may_change(request.user, batch)),
        "retries": [_retry(made) for made in _retries(batch)],
        "answers": answer_page(
            batch,
            start=request.GET.get("from", ""),
            show=request.GET.get("show", ""),
        ),
        "show_chips": [(name, words) for name, (words, _) in SHOW.items()],
        "find": request.GET.get("find", ""),
    }


def _story(batch: Batch) -> list[dict[str, Any]]:
    """Return the events of a batch, each with the seconds until the next one."""
    events = list(batch.events.order_by("pk"))
    return [
        {
            "event": event,
            "lasted_s": (after.created_at - event.created_at).total_seconds() if after else None,
        }
        for event, after in zip(events, [*events[1:], None], strict=True)
    ]


def _findings(batch: Batch) -> dict[str, Any]:
    """Return what was found in the input, and the sentence on what is not listed of it."""
    unlisted = [one["message"] for one in batch.findings if one["code"] == MORE_ERRORS]
    return {
        "findings": [one for one in batch.findings if one["code"] != MORE_ERRORS],
        "unlisted": " ".join(unlisted),
    }


def _retries(batch: Batch) -> QuerySet[Batch]:
    """Return the batches that took up lines of this one or run them anew, the latest first."""
    return (
        batch.retries.filter(deleted_at=None)
        .select_related("parent")
        # As many as they need: a page that is open asks every two seconds.
        .only(
            *("public_id", "state", "failed", "input_file_public_id"),
            "parent__input_file_public_id",
        )
        .order_by("-pk")[:RETRIES_SHOWN]
    )


def _retry(made: Batch) -> dict[str, Any]:
    state = (
        made.state
        if made.state != BatchState.COMPLETED
        else ("done with errors" if made.failed else "done")
    )
    return {"public_id": made.public_id, "state": state, "is_rerun": made.is_rerun}


def _files(batch: Batch) -> list[dict[str, Any]]:
    """Return the files of the batch that can still be read, with their sizes in bytes."""
    named = (
        ("input", batch.input_file_id, None),
        ("output", batch.output_file_id, batch.output_bytes),
        ("error", batch.error_file_id, batch.error_bytes),
    )
    visible = visible_files(batch.project).filter(pk=OuterRef("pk"))
    found = {
        file.pk: file
        for file in StoredFile.objects.filter(pk__in=[pk for _, pk, _ in named if pk])
        .annotate(readable=Exists(visible))
        .only("filename", "bytes", "expires_at")
    }
    return [_file(kind, found[pk], size) for kind, pk, size in named if pk in found]


def _file(kind: str, file: Any, size: int | None) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": file.filename,
        "bytes": file.bytes if size is None else size,
        "readable": file.readable,
        "expires_at": file.expires_at,
    }
