"""Starring an answer from any page, many at once, and taking it back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from curation.conversations import whole_answer
from curation.gold_fields import SCORE_MAX, SCORE_MIN, GoldFields, InvalidGold
from curation.models import GoldStar
from curation.models.gold import new_deed
from curation.services.gold import (
    CannotStar,
    GoldChanged,
    change_star,
    star_response,
    tag_star,
    undo_deed,
    undo_last,
    unstar,
)
from curation.views.form_values import problem_words, read_edit, read_number, read_tags, read_text
from jobs.models import BatchResponse
from jobs.views.access import access_batch, may_change, projects_to_submit_to
from jobs.views.answers import is_hidden

# A request takes so many at once, so that it is answered in seconds.
BULK_MAX = 500
NAMED_MAX = 5


@require_http_methods(["GET", "POST"])
@login_required
def star(request: HttpRequest, public_id: str, position: str) -> HttpResponse:
    """Show what is said of an answer, to be changed; a POST keeps it."""
    batch = access_batch(request.user, public_id)
    response = (
        BatchResponse.objects.select_related("batch", "request")
        .filter(batch=batch, request__batch=batch, request__position=int(position))
        .first()
    )
    if response is None or not response.ok or is_hidden(batch, ok=True):
        raise Http404("There is no answer that can be starred.")
    found = GoldStar.objects.filter(response=response).first()
    context: dict[str, Any] = {
        "batch": batch,
        "position": position,
        "custom_id": response.request.custom_id,
        "may_change": may_change(request.user, batch),
        "scores": range(SCORE_MIN, SCORE_MAX + 1),
    }
    if request.method == "POST":
        if not context["may_change"]:
            raise PermissionDenied("Viewers of a project cannot star its answers.")
        try:
            found = _keep(request, response, found)
            context["saved"] = True
        except (InvalidGold, CannotStar, GoldChanged) as error:
            context["problem"] = problem_words(error)
            context["given"] = request.POST
    context["star"] = found if found is not None and found.removed_at is None else None
    context["original"] = whole_answer(bytes(response.body), response.text)
    context["events"] = found.events.order_by("-pk")[:5] if found is not None else []
    return render(request, "curation/_star.html", context)


def _keep(request: HttpRequest, response: BatchResponse, found: GoldStar | None) -> GoldStar | None:
    verb = request.POST.get("verb", "save")
    if verb == "unstar":
        return unstar(star=found) if found is not None else None
    if verb == "undo":
        if found is not None:
            undo_last(star=found)
        return GoldStar.objects.filter(response=response).first()
    fields = _fields(request)
    if found is None or found.removed_at is not None:
        return star_response(response=response, **fields)
    revision = read_number(request.POST.get("revision", ""))
    return change_star(star=found, revision=revision, **fields)


def _fields(request: HttpRequest) -> GoldFields:
    """Return what the form says; an answer that is left as it was is no edit."""
    found: GoldFields = {
        "tags": read_tags(request.POST),
        "notes": read_text(request.POST, "notes"),
        "edited_answer": read_edit(request.POST),
    }
    score = read_number(request.POST.get("quality_score", ""))
    if score is not None:
        found["quality_score"] = score
    return found


@require_POST
@login_required
def stars_bulk(request: HttpRequest, verb: str) -> HttpResponse:
    """Star, tag or unstar each of the answers in `ids`; what cannot be done stops no other."""
    if verb not in _VERBS:
        raise Http404("There is no such deed.")
    sent = request.POST.get("ids", "").split()[:10_000]
    ids = [number for one in sent if (number := read_number(one)) is not None]
    deed = new_deed()
    done, left = 0, []
    responses = (
        BatchResponse.objects.filter(
            pk__in=ids[:BULK_MAX],
            batch__deleted_at__isnull=True,
            batch__project__in=projects_to_submit_to(request.user),
        )
        .select_related("batch", "request")
        .order_by("pk")
    )
    for response in responses:
        try:
            done += _VERBS[verb](request, response, deed)
        except (InvalidGold, CannotStar) as error:
            left.append(problem_words(error))
    _report(request, verb, done, left, deed)
    if len(ids) > BULK_MAX:
        messages.warning(
            request,
            f"{BULK_MAX} answers are taken at once: {len(ids) - BULK_MAX:,} were left as they are.",
        )
    target = request.POST.get("back", "")
    if not url_has_allowed_host_and_scheme(target, allowed_hosts=None):
        target = "results"
    return redirect(target)


def _star_one(request: HttpRequest, response: BatchResponse, deed: str) -> int:
    score = read_number(request.POST.get("quality_score", ""))
    if score is None:
        raise InvalidGold("quality_score", "choose 1 (poor) to 10 (best)")
    star_response(response=response, deed=deed, quality_score=score)
    return 1


def _tag_one(request: HttpRequest, response: BatchResponse, deed: str) -> int:
    found = _starred(response)
    if found is not None:
        tag_star(star=found, tag=request.POST.get("tag", ""), deed=deed)
    return int(found is not None)


def _unstar_one(request: HttpRequest, response: BatchResponse, deed: str) -> int:
    found = _starred(response)
    if found is not None:
        unstar(star=found, deed=deed)
    return int(found is not None)


def _starred(response: BatchResponse) -> GoldStar | None:
    return GoldStar.objects.filter(response=response, removed_at__isnull=True).first()


_VERBS: dict[str, Callable[[HttpRequest, BatchResponse, str], int]] = {
    "star": _star_one,
    "tag": _tag_one,
    "unstar": _unstar_one,
}
_DONE = {"star": "starred", "tag": "tagged", "unstar": "unstarred"}


def _report(request: HttpRequest, verb: str, done: int, left: Sequence[str], deed: str) -> None:
    if done:
        words = f"{done:,} answer{'' if done == 1 else 's'} {_DONE[verb]}."
        messages.success(request, undoable(words, deed))
    elif not left:
        more = " Only gold stars can be." if verb != "star" else ""
        messages.warning(request, f"Nothing was {_DONE[verb]}.{more}")
    for why in list(dict.fromkeys(left))[:NAMED_MAX]:
        messages.warning(request, f"Not {_DONE[verb]}: {why}")


def undoable(words: str, deed: str) -> Any:
    """Return a message with the button that takes the deed back."""
    return format_html(
        '{} <button form="undo-form" formaction="{}" class="link">Undo</button>',
        words,
        reverse("undo-gold", args=[deed]),
    )


@require_POST
@login_required
def undo(request: HttpRequest, deed: str) -> HttpResponse:
    """Take a deed back, whoever of the project did it; what changed since is left."""
    ours = projects_to_submit_to(request.user)
    stars = GoldStar.objects.filter(project__in=ours)
    done = undo_deed(deed=deed, stars=stars)
    if done.stars:
        plural = "" if done.stars == 1 else "s"
        messages.success(request, f"Undone for {done.stars:,} answer{plural}.")
    if done.left:
        messages.warning(request, f"{done.left:,} were left: somebody has changed them since.")
    if not done.stars and not done.left:
        messages.warning(request, "There was nothing to undo.")
    target = request.POST.get("back", "")
    if not url_has_allowed_host_and_scheme(target, allowed_hosts=None):
        target = "results"
    return redirect(target)
