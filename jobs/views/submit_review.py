"""Looking at a stored input file before there is a batch of it: confirm it, or discard it.

The file is read within the request: a task would need a living worker, and a place for what it
found. Reading is bounded by the limit on the size of files; 200 MB take little more than a second.
"""

from __future__ import annotations

from typing import Any

import structlog
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from jobs.jsonl import MORE_ERRORS
from jobs.models import Batch, StoredFile
from jobs.services.batches import completion_windows, create_batch
from jobs.services.creating_once import IdempotencyConflict
from jobs.services.files import delete_file
from jobs.services.input_reading import read_input
from jobs.services.limits import TooManyLiveBatches
from jobs.views.access import access_input
from jobs.views.submit_forms import PRIORITIES, OrderForm, new_token, problems_of

BATCHES_SHOWN = 5

log = structlog.get_logger()


@require_GET
@login_required
def submit_review(request: HttpRequest, file_id: str) -> HttpResponse:
    return _show(request, access_input(request.user, file_id))


@require_POST
@login_required
def submit_create(request: HttpRequest, file_id: str) -> HttpResponse:
    stored = access_input(request.user, file_id)
    form = OrderForm(request.POST)
    if not form.is_valid():
        return _show(request, stored, problems=problems_of(form), status=400)
    try:
        batch = create_batch(
            project=stored.project,
            order=form.order(input_file_id=stored.public_id),
            idempotency_key=form.cleaned_data["token"],
        )
    except TooManyLiveBatches as error:
        return _show(request, stored, problems=[str(error)], status=429)
    except IdempotencyConflict:
        words = "This form has made a batch already, with other settings. Send it again to make one"
        return _show(request, stored, problems=[f"{words} more."], status=409, token=new_token())
    return redirect("batch-detail", public_id=batch.public_id)


@require_POST
@login_required
def submit_discard(request: HttpRequest, file_id: str) -> HttpResponse:
    stored = access_input(request.user, file_id)
    delete_file(stored=stored)
    messages.success(request, f"{stored.filename} is deleted.")
    return redirect("submit")


def _show(
    request: HttpRequest,
    stored: StoredFile,
    *,
    problems: list[str] | None = None,
    status: int = 200,
    token: str = "",
) -> HttpResponse:
    """Show the file; with `problems`, also what was filled in, and the same token unless given."""
    given = request.POST if problems else {}
    context: dict[str, Any] = {
        "stored": stored,
        "batches": _batches(stored),
        "problems": problems or [],
        "given": given,
        "token": token or given.get("token") or new_token(),
        "priorities": PRIORITIES,
        "windows": list(completion_windows()),
    }
    try:
        reading = read_input(stored=stored)
    except OSError as error:
        log.error("input_unreadable", file=stored.public_id, error=str(error))
        return render(request, "jobs/submit_review.html", context, status=503)
    context |= {
        "reading": reading,
        "findings": [one for one in reading.findings if one["code"] != MORE_ERRORS],
        "unlisted": " ".join(
            one["message"] for one in reading.findings if one["code"] == MORE_ERRORS
        ),
    }
    return render(request, "jobs/submit_review.html", context, status=status)


def _batches(stored: StoredFile) -> list[Batch]:
    """Return the batches that were made of the file, the latest first."""
    return list(Batch.objects.filter(input_file=stored).order_by("-pk")[:BATCHES_SHOWN])
