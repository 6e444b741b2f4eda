"""The last word where reviewers differ, and stars for what they found good."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from django.db import transaction

from curation.gold_fields import check_fields
from curation.models import Adjudication, Review, ReviewItem, ReviewSet, ReviewState
from curation.models.gold import new_deed
from curation.rubric import check_values, differ, rating_of, read_rubric
from curation.services.gold import CannotStar, star_response
from curation.services.reviews.judging import ReviewChanged
from curation.services.reviews.standing import final_values
from jobs.services.audit import current_actor

ITEMS_AT_ONCE = 500


def adjudicate(
    *,
    item: ReviewItem,
    values: dict[str, Any],
    edited_answer: str | None = None,
    notes: str = "",
    revision: int | None = None,
) -> Adjudication:
    """Say the last word on an item, or change it; ReviewChanged if somebody else did before.

    `revision` is that of the word one has seen, 0 if there was none.
    """
    rubric = read_rubric(item.review_set.rubric)
    said = check_fields({"edited_answer": edited_answer, "notes": notes})
    with transaction.atomic():
        # Two who say it at once do it in turn.
        held = ReviewItem.objects.select_for_update(of=("self",)).get(pk=item.pk)
        there = Adjudication.objects.filter(item=held).first()
        if revision is not None and revision != (there.revision if there else 0):
            raise ReviewChanged("Somebody else has said the last word on this item meanwhile.")
        edited = said["edited_answer"]
        found = there or Adjudication(item=held, revision=0)
        found.values = check_values(rubric, values, complete=True)
        found.edited_answer = None if edited == held.answer_text else edited
        found.notes = said["notes"]
        found.by_name = current_actor().words[:200]
        found.revision += 1
        found.save()
        return found


def withdraw_adjudication(*, item: ReviewItem) -> bool:
    """Take the last word on an item back; what the reviewers said is there as it was."""
    deleted, _ = Adjudication.objects.filter(item=item).delete()
    return bool(deleted)


def disagreements(
    review_set: ReviewSet, *, after: int = -1, settled: bool = False
) -> Iterator[tuple[ReviewItem, list[Review], list[str]]]:
    """Yield the items about which people differ, from a position on: their reviews, and in what.

    Those that have their last word only with `settled`.
    """
    rubric = read_rubric(review_set.rubric)
    while True:
        items = list(
            review_set.items.filter(position__gt=after, done__gte=2)
            .select_related("adjudication")
            .order_by("position")[:ITEMS_AT_ONCE]
        )
        if not items:
            return
        after = items[-1].position
        by_item = _submitted(items)
        for item in items:
            judged = by_item[item.pk]
            is_settled = hasattr(item, "adjudication")
            if len(judged) < 2 or (is_settled and not settled):
                continue
            names = differ(rubric, [review.values for review in judged])
            if names or is_settled:
                yield item, judged, names


def star_reviewed(*, review_set: ReviewSet, min_rating: int) -> tuple[str, int, list[str]]:
    """Star every item whose rating, as it holds, is high enough; return deed, stars, refusals.

    The rating is the last word, else the mean; the edit likewise, else the newest. Tags and notes
    of the reviews are put together.
    """
    rubric = read_rubric(review_set.rubric)
    deed, count, refused = new_deed(), 0, []
    for item, values, edited, tags, notes in _outcomes(review_set):
        rating = rating_of(rubric, values)
        if rating is None or rating < min_rating or item.response is None:
            continue
        try:
            star_response(
                response=item.response,
                deed=deed,
                quality_score=rating,
                edited_answer=edited,
                tags=tags,
                notes=notes,
            )
            count += 1
        except CannotStar as error:
            refused.append(str(error))
    return deed, count, refused


def _outcomes(
    review_set: ReviewSet,
) -> Iterator[tuple[ReviewItem, dict[str, Any], str | None, list[str], str]]:
    rubric = read_rubric(review_set.rubric)
    after = -1
    while True:
        items = list(
            review_set.items.filter(position__gt=after, done__gte=1)
            .select_related("adjudication", "response")
            .order_by("position")[:ITEMS_AT_ONCE]
        )
        if not items:
            return
        after = items[-1].position
        by_item = _submitted(items)
        for item in items:
            judged = by_item[item.pk]
            if not judged:
                continue
            last = getattr(item, "adjudication", None)
            values = final_values(
                rubric, [one.values for one in judged], last.values if last else None
            )
            edits = [one.edited_answer for one in judged if one.edited_answer is not None]
            edited = last.edited_answer if last else (edits[-1] if edits else None)
            tags = list(dict.fromkeys(tag for one in judged for tag in one.tags))[:50]
            said = [one.notes for one in judged if one.notes] + (
                [last.notes] if last and last.notes else []
            )
            yield item, values, edited, tags, "\n\n".join(said)[:20_000]


def _submitted(items: list[ReviewItem]) -> dict[int, list[Review]]:
    found: dict[int, list[Review]] = defaultdict(list)
    reviews = Review.objects.filter(item__in=items, state=ReviewState.SUBMITTED)
    for review in reviews.order_by("updated_at", "pk"):
        found[review.item_id].append(review)
    return found
