"""The same deed to many batches, one after the other, and what came of it in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from jobs.models import Batch
from jobs.services.batches import CannotCancel, cancel_batch
from jobs.services.deleting import StillLive, delete_batch
from jobs.services.pausing import CannotPause, pause_batch, resume_batch
from jobs.states import BatchState
from jobs.templatetags.figures import short_id, spaced
from jobs.views.access import changeable_projects, visible_batches

# A request takes so many at once, so that it is answered in seconds.
BULK_MAX = 200
NAMED_MAX = 10


class Verb(NamedTuple):
    """What is done, the word for it afterwards, and why it is not done."""

    done: str
    act: Callable[[Batch, str], str]


def _cancel(batch: Batch, reason: str) -> str:
    if batch.state in (BatchState.CANCELLING, BatchState.CANCELLED):
        return "cancelled already"
    try:
        cancel_batch(batch=batch, reason=reason)
    except CannotCancel as error:
        return spaced(error.state)
    return ""


def _delete(batch: Batch, _: str) -> str:
    try:
        delete_batch(batch=batch)
    except StillLive as error:
        return f"{spaced(error.state)}: cancel it first"
    return ""


def _pause(batch: Batch, reason: str) -> str:
    try:
        return "" if pause_batch(batch=batch, reason=reason) else "paused already"
    except CannotPause as error:
        return spaced(error.state)


def _resume(batch: Batch, reason: str) -> str:
    try:
        return "" if resume_batch(batch=batch, reason=reason) else "not paused"
    except CannotPause as error:
        return spaced(error.state)


VERBS = {
    "cancel": Verb("cancelled", _cancel),
    "pause": Verb("paused", _pause),
    "resume": Verb("resumed", _resume),
    "delete": Verb("deleted", _delete),
}


@require_POST
@login_required
def batches_bulk(request: HttpRequest, verb: str) -> HttpResponse:
    """Do something to each of the batches in `ids`; what cannot be done to one stops no other."""
    if verb not in VERBS:
        raise Http404("There is no such deed.")
    ids = list(dict.fromkeys(request.POST.get("ids", "").replace("\0", "").split()))
    outcomes = _do(request, VERBS[verb], ids[:BULK_MAX])
    _report(request, VERBS[verb].done, outcomes)
    if len(ids) > BULK_MAX:
        rest = len(ids) - BULK_MAX
        messages.warning(
            request, f"{BULK_MAX} batches are taken at once: {rest:,} were left as they are."
        )
    target = request.POST.get("back", "")
    if not url_has_allowed_host_and_scheme(target, allowed_hosts=None):
        target = "batch-list"
    return redirect(target)


def _do(request: HttpRequest, verb: Verb, ids: Sequence[str]) -> list[tuple[str, str]]:
    """Return for each id why nothing was done, "" where it was."""
    found = {
        batch.public_id: batch
        for batch in visible_batches(request.user)
        .filter(public_id__in=ids)
        .select_related("project", "model")
    }
    ours = changeable_projects(request.user, list(found.values()))
    outcomes = []
    for public_id in ids:
        batch = found.get(public_id)
        if batch is None:
            why = "not found"
        elif batch.project_id not in ours:
            why = "of a project that you only view"
        else:
            why = verb.act(batch, f"by {request.user.get_username()}")
        outcomes.append((public_id, why))
    return outcomes


def _report(request: HttpRequest, done: str, outcomes: Sequence[tuple[str, str]]) -> None:
    count = sum(not why for _, why in outcomes)
    if count:
        messages.success(request, f"{count:,} batch{'' if count == 1 else 'es'} {done}.")
    left = sorted((why, public_id) for public_id, why in outcomes if why)
    for why, group in groupby(left, key=lambda one: one[0]):
        ids = [short_id(public_id[:64]) for _, public_id in group]
        more = f" and {len(ids) - NAMED_MAX:,} more" if len(ids) > NAMED_MAX else ""
        messages.warning(request, f"Not {done} ({why}): {', '.join(ids[:NAMED_MAX])}{more}.")
    if not outcomes:
        messages.warning(request, f"Nothing was {done}: no batch was chosen.")
