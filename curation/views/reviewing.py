"""Judging one item after the other: the page that reviewers work in."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from curation.gold_fields import InvalidGold
from curation.models import GoldStar, Review, ReviewEvent, ReviewSet, ReviewState
from curation.rubric import Dimension, InvalidValue, rating_of, read_rubric
from curation.services.gold import CannotStar, star_response
from curation.services.reviews.claiming import claim_next_item
from curation.services.reviews.judging import (
    Judgement,
    PlaceTaken,
    ReviewChanged,
    discard_item,
    save_draft,
    submit_review,
    undo_review,
)
from curation.services.reviews.standing import progress_of
from curation.views.access import access_review_set, check_may_curate
from curation.views.form_values import (
    problem_words,
    read_edit,
    read_number,
    read_tags,
    read_text,
    read_values,
)
from jobs.reading import read_request

_VERBS = {"submit": submit_review, "draft": save_draft, "discard": discard_item}
_DONE = {
    "submit": "Submitted.",
    "draft": "Kept as a draft.",
    "discard": "Discarded: it counts as judged, without values.",
    "undo": "Set back. The same key again does it once more.",
    "nothing": "There is nothing to undo.",
    "star": "Starred.",
}


@require_GET
@login_required
def review_next(request: HttpRequest, public_id: str) -> HttpResponse:
    """Lead to the next item, or say that nothing is left."""
    found = access_review_set(request.user, public_id)
    check_may_curate(request.user, found.project_id)
    review = None if found.closed_at else claim_next_item(review_set=found, reviewer=request.user)
    if review is None:
        last = _own(request, found).order_by("-position").first()
        context = {"set": found, "progress": progress_of(found), "last": last}
        return render(request, "curation/review_done.html", context)
    return redirect("review-item", public_id, review.position)


@require_http_methods(["GET", "POST"])
@login_required
def review_item(request: HttpRequest, public_id: str, position: str) -> HttpResponse:
    """Show one's review of an item, to be judged or changed; a POST keeps it."""
    found = access_review_set(request.user, public_id)
    check_may_curate(request.user, found.project_id)
    review = _own(request, found).filter(position=int(position)).first()
    if review is None:
        raise Http404("This item was not given to you.")
    note, problem, given = request.GET.get("did", ""), "", None
    if request.method == "POST":
        verb = request.POST.get("verb", "")
        if verb == "undo":
            return _undo(request, found, review)
        try:
            moves_on = _do(request, review, verb)
        except (InvalidValue, InvalidGold, CannotStar, PlaceTaken, ReviewChanged) as error:
            problem = problem_words(error)
            given = (
                None
                if isinstance(error, ReviewChanged | PlaceTaken)
                else _judgement(request, read_rubric(found.rubric))
            )
        else:
            target = (
                claim_next_item(review_set=found, reviewer=request.user) if moves_on else review
            )
            if target is None:
                return redirect("review-next", public_id)
            return _to(found, target, did=verb, at=review)
        review = _own(request, found).get(pk=review.pk)
    return render(
        request,
        "curation/review.html",
        _context(request, found, review, note=note, problem=problem, given=given),
        status=409 if problem else 200,
    )


def _own(request: HttpRequest, found: ReviewSet) -> Any:
    return Review.objects.filter(review_set=found, reviewer=request.user.pk).select_related(
        "item__response", "review_set"
    )


def _undo(request: HttpRequest, found: ReviewSet, review: Review) -> HttpResponse:
    """Set back what was done last to the item; to one not touched yet, one's last deed at all."""
    if not review.events.exists():
        mine = ReviewEvent.objects.filter(
            review__review_set=found, review__reviewer=request.user.pk
        )
        last = mine.order_by("-pk").select_related("review").first()
        review = last.review if last is not None else review
    did = "undo" if undo_review(review=review) is not None else "nothing"
    return _to(found, review, did=did, at=review)


def _to(found: ReviewSet, review: Review, *, did: str, at: Review) -> HttpResponse:
    address = reverse("review-item", args=[found.public_id, review.position])
    return redirect(f"{address}?did={did}&at={at.position}")


def _do(request: HttpRequest, review: Review, verb: str) -> bool:
    """Do what the form asks for; return whether the next item is to follow."""
    judgement = _judgement(request, read_rubric(review.review_set.rubric))
    known = read_number(request.POST.get("revision", ""))
    if verb == "star":
        kept = (
            save_draft(review=review, judgement=judgement, revision=known)
            if (review.state in (ReviewState.PENDING, ReviewState.DRAFT))
            else review
        )
        _star(kept)
        return False
    if verb not in _VERBS:
        raise Http404("There is no such deed.")
    _VERBS[verb](review=review, judgement=judgement, revision=known)
    return verb != "draft"


def _star(review: Review) -> None:
    if review.item.response is None:
        raise CannotStar("The batch of this answer was deleted, so it cannot be starred any more.")
    rating = rating_of(read_rubric(review.review_set.rubric), review.values)
    if rating is None:
        raise InvalidGold("quality_score", "rate the answer first: the rating becomes its score")
    star_response(
        response=review.item.response,
        quality_score=rating,
        edited_answer=review.edited_answer,
        tags=review.tags,
        notes=review.notes,
    )


def _judgement(request: HttpRequest, rubric: list[Dimension]) -> Judgement:
    return Judgement(
        values=read_values(request.POST, rubric),
        edited_answer=read_edit(request.POST),
        notes=read_text(request.POST, "notes"),
        tags=tuple(read_tags(request.POST)),
    )


def _context(
    request: HttpRequest,
    found: ReviewSet,
    review: Review,
    *,
    note: str,
    problem: str,
    given: Judgement | None,
) -> dict[str, Any]:
    own = _own(request, found)
    item = review.item
    said = given or Judgement(
        values=review.values,
        edited_answer=review.edited_answer,
        notes=review.notes,
        tags=tuple(review.tags),
    )
    return {
        "set": found,
        "review": review,
        "item": item,
        "reading": read_request(bytes(item.request_body)),
        "rubric": [(one, said.values.get(one.name)) for one in read_rubric(found.rubric)],
        "said": said,
        "answer": item.answer_text if said.edited_answer is None else said.edited_answer,
        "is_edited": said.edited_answer is not None,
        "star": GoldStar.objects.filter(response=item.response_id, removed_at__isnull=True).first()
        if item.response_id
        else None,
        "previous": own.filter(position__lt=review.position).order_by("-position").first(),
        "next": own.filter(position__gt=review.position).order_by("position").first(),
        "mine": own.filter(state=ReviewState.SUBMITTED).count(),
        "progress": progress_of(found),
        "note": _DONE.get(note, ""),
        "note_at": read_number(request.GET.get("at", "")),
        "problem": problem,
    }
