"""What a person does to a batch by a button: cancel, pause, resume, retry, delete."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from jobs.models import Batch
from jobs.services.batches import CannotCancel, cancel_batch
from jobs.services.deleting import StillLive, delete_batch
from jobs.services.limits import LimitReached
from jobs.services.pausing import CannotPause, pause_batch, resume_batch
from jobs.services.retrying import CannotRetry, RetryRefused, retry_batch
from jobs.views.access import access_batch, may_change


@require_POST
@login_required
def batch_cancel(request: HttpRequest, public_id: str) -> HttpResponse:
    batch = _access(request, public_id, "cancel")
    try:
        cancel_batch(batch=batch, reason=_reason(request))
    except CannotCancel as error:
        messages.warning(request, f"Nothing was cancelled: the batch is {error.state}.")
    return redirect("batch-detail", public_id=public_id)


@require_POST
@login_required
def batch_pause(request: HttpRequest, public_id: str) -> HttpResponse:
    return _set_paused(request, public_id, "pause", pause_batch)


@require_POST
@login_required
def batch_resume(request: HttpRequest, public_id: str) -> HttpResponse:
    return _set_paused(request, public_id, "resume", resume_batch)


@require_POST
@login_required
def batch_retry(request: HttpRequest, public_id: str) -> HttpResponse:
    batch = _access(request, public_id, "retry")
    try:
        # As a repeat, since a button may be pressed twice: the second press shows what the
        # first one made.
        made = retry_batch(batch=batch, is_repeat=True, reason=_reason(request))
    except (CannotRetry, LimitReached, RetryRefused) as error:
        messages.warning(request, str(error))
        return _back(request, batch)
    return redirect("batch-detail", public_id=made.public_id)


@require_POST
@login_required
def batch_delete(request: HttpRequest, public_id: str) -> HttpResponse:
    batch = _access(request, public_id, "delete")
    try:
        delete_batch(batch=batch)
    except StillLive as error:
        messages.warning(request, f"Nothing was deleted: the batch is {error.state}.")
        return redirect("batch-detail", public_id=public_id)
    messages.success(request, f"{public_id} is deleted, with its answers and result files.")
    return redirect("batch-list")


def _set_paused(
    request: HttpRequest, public_id: str, verb: str, change: Callable[..., bool]
) -> HttpResponse:
    batch = _access(request, public_id, verb)
    try:
        change(batch=batch, reason=_reason(request))
    except CannotPause as error:
        messages.warning(request, f"Nothing was {verb}d: the batch is {error.state}.")
    return _back(request, batch)


def _access(request: HttpRequest, public_id: str, verb: str) -> Batch:
    batch = access_batch(request.user, public_id)
    if not may_change(request.user, batch):
        raise PermissionDenied(f"Viewers of a project cannot {verb} its batches.")
    return batch


def _reason(request: HttpRequest) -> str:
    return f"by {request.user.get_username()}"


def _back(request: HttpRequest, batch: Batch) -> HttpResponse:
    """Return to the page on which the button was, as far as it is one of ours."""
    target = request.POST.get("back", "")
    if url_has_allowed_host_and_scheme(target, allowed_hosts=None):
        return redirect(target)
    return redirect("batch-detail", public_id=batch.public_id)
