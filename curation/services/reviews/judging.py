"""Judging: reviews kept as drafts, submitted, discarded, and set back, each with its event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from curation.gold_fields import check_fields
from curation.models import Review, ReviewEvent, ReviewItem, ReviewState
from curation.models.gold import new_deed
from curation.models.reviews import ENDED
from curation.rubric import check_values, read_rubric
from curation.services.reviews.claiming import LEASE, take_place
from jobs.services.audit import current_actor


class ReviewChanged(Exception):
    """The review is another one by now, in another tab perhaps; it is as it was left there."""


class PlaceTaken(Exception):
    """The lease was over, and others have judged the item meanwhile; the draft was kept."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a person says: by the rubric, in words, and perhaps a better answer."""

    values: Mapping[str, Any] = field(default_factory=dict)
    edited_answer: str | None = None
    notes: str = ""
    tags: tuple[str, ...] = ()


def save_draft(*, review: Review, judgement: Judgement, revision: int | None = None) -> Review:
    """Keep what was written so far; nothing of it need be complete."""
    return _save(review, judgement, ReviewState.DRAFT, revision)


def submit_review(*, review: Review, judgement: Judgement, revision: int | None = None) -> Review:
    """Submit a review; InvalidValue if something is still to be judged.

    PlaceTaken, and a draft, where the item was judged by enough others meanwhile.
    """
    return _save(review, judgement, ReviewState.SUBMITTED, revision)


def discard_item(*, review: Review, judgement: Judgement, revision: int | None = None) -> Review:
    """Say that an item cannot be judged, which counts as one of its reviews."""
    return _save(review, judgement, ReviewState.DISCARDED, revision)


def undo_review(*, review: Review) -> Review | None:
    """Set back the last thing that was done to a review; None if there is nothing.

    It is a deed itself: undoing that does the first again. One that was submitted or discarded
    is a draft again, with all that was said in it.
    """
    with transaction.atomic():
        held = _hold(review, None)
        last = held.events.order_by("-pk").first()
        if last is None or last.revision != held.revision:
            return None
        before = dict(last.before)
        if last.after.get("state") in ENDED and before["state"] not in ENDED:
            before = {"state": ReviewState.DRAFT.value}
        _write(held, before, new_deed())
        return held


def _save(review: Review, judgement: Judgement, state: ReviewState, revision: int | None) -> Review:
    rubric = read_rubric(review.review_set.rubric)
    complete = state == ReviewState.SUBMITTED
    said = check_fields(
        {
            "edited_answer": judgement.edited_answer,
            "notes": judgement.notes,
            "tags": judgement.tags,
        }
    )
    fields = {
        "state": state,
        "values": check_values(rubric, judgement.values, complete=complete),
        **said,
    }
    taken = False
    with transaction.atomic():
        held = _hold(review, revision)
        if fields["edited_answer"] == held.item.answer_text:
            fields["edited_answer"] = None
        if not take_place(review=held):
            taken = state != ReviewState.DRAFT
            fields["state"] = ReviewState.DRAFT
        _write(held, fields, new_deed())
    if taken:
        raise PlaceTaken(
            "Your time for this item was over, and others have judged it meanwhile. What you "
            "wrote is kept as a draft, and counts no more."
        )
    return held


def _hold(review: Review, revision: int | None) -> Review:
    held = (
        Review.objects.select_for_update(of=("self",))
        .select_related("item", "review_set")
        .get(pk=review.pk)
    )
    if revision is not None and held.revision != revision:
        raise ReviewChanged(
            "This review was changed meanwhile, in another tab perhaps. Here it is as it is now; "
            "what you sent was not kept."
        )
    return held


def _values(review: Review) -> dict[str, Any]:
    return {
        "state": review.state,
        "values": review.values,
        "edited_answer": review.edited_answer,
        "notes": review.notes,
        "tags": review.tags,
    }


def _write(review: Review, fields: dict[str, Any], deed: str) -> None:
    before = _values(review)
    for name, value in fields.items():
        setattr(review, name, value)
    after = _values(review)
    changed = {name for name, value in after.items() if value != before[name]}
    _count(review, before["state"], after["state"])
    review.revision += bool(changed)
    # Who has begun keeps the item; a pending one that was set back is held for a while again.
    review.lease_until = Now() + LEASE if review.state == ReviewState.PENDING else None
    review.save()
    review.refresh_from_db(fields=["lease_until"])
    if changed:
        ReviewEvent.objects.create(
            review=review,
            deed=deed,
            revision=review.revision,
            before={name: before[name] for name in changed},
            after={name: after[name] for name in changed},
            actor_name=current_actor().words[:200],
        )


def _count(review: Review, before: str, after: str) -> None:
    """Let the item's number of ended reviews follow a change of state."""
    step = (after in ENDED) - (before in ENDED)
    if step:
        ReviewItem.objects.filter(pk=review.item_id).update(done=F("done") + step)
