"""Handing out items: to each person one at a time, to no more people than the overlap says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Now

from curation.models import Review, ReviewItem, ReviewSet, ReviewState

LEASE = timedelta(minutes=15)

# Places whose lease is over are free again; what was written there is kept.
_RELEASE = """
WITH over AS (
    SELECT id FROM curation_review
    WHERE review_set_id = %(set)s AND state = 'pending' AND holds
        AND lease_until < statement_timestamp()
    LIMIT 100 FOR UPDATE SKIP LOCKED
), gone AS (
    UPDATE curation_review AS review SET holds = FALSE FROM over
    WHERE review.id = over.id RETURNING review.item_id
), counted AS (SELECT item_id, count(*) AS places FROM gone GROUP BY item_id)
UPDATE curation_reviewitem AS item SET taken = taken - places, is_open = TRUE
FROM counted WHERE item.id = counted.item_id
"""
# The rows of items that others are just being given are passed over. One's own reviews lie, as a
# rule, before `after`, so that they need not be passed one by one. All in one statement: the
# item, its count, and the review, which is there already where the place was lost before.
_GIVE = """
WITH next AS (
    SELECT id, position FROM curation_reviewitem AS item
    WHERE review_set_id = %(set)s AND is_open AND position > %(after)s AND NOT EXISTS (
        SELECT FROM curation_review AS review
        WHERE review.item_id = item.id AND review.reviewer_id = %(reviewer)s
            AND (review.holds OR review.state <> 'pending'))
    ORDER BY position LIMIT 1 FOR UPDATE SKIP LOCKED
), counted AS (
    UPDATE curation_reviewitem AS item SET taken = taken + 1, is_open = taken + 1 < %(overlap)s
    FROM next WHERE item.id = next.id
)
INSERT INTO curation_review AS review (review_set_id, item_id, position, reviewer_id,
    reviewer_name, state, values, notes, tags, holds, lease_until, revision, created_at, updated_at)
SELECT %(set)s, next.id, next.position, %(reviewer)s, %(name)s, 'pending', '{}', '', '{}', TRUE,
    statement_timestamp() + %(lease)s, 1, statement_timestamp(), statement_timestamp()
FROM next
ON CONFLICT (item_id, reviewer_id) DO UPDATE SET holds = TRUE, lease_until = EXCLUDED.lease_until
RETURNING id
"""
_LAST = """
SELECT max(position) FROM curation_review WHERE review_set_id = %(set)s
    AND reviewer_id = %(reviewer)s
"""


def claim_next_item(*, review_set: ReviewSet, reviewer: Any) -> Review | None:
    """Give a person the next item, or the one that they have begun; None if nothing is left.

    It is theirs for LEASE, and theirs again for as long from each time that they save.
    """
    begun = _begun(review_set, reviewer)
    if begun is not None:
        return begun
    values = {
        "set": review_set.pk,
        "reviewer": reviewer.pk,
        "name": reviewer.get_username()[:200],
        "overlap": review_set.overlap,
        "lease": LEASE,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_RELEASE, values)
        cursor.execute(_LAST, values)
        last = cursor.fetchone()[0]
        for after in (-1,) if last is None else (last, -1):
            cursor.execute(_GIVE, {**values, "after": after})
            row = cursor.fetchone()
            if row is not None:
                return Review.objects.select_related("review_set", "item").get(pk=row[0])
    return None


def assign_item(*, item: ReviewItem, reviewer: Any) -> Review | None:
    """Give an item to a person for as long as they need; None if its places are all taken."""
    with transaction.atomic():
        held = ReviewItem.objects.select_for_update(of=("self",)).get(pk=item.pk)
        there = Review.objects.filter(item=held, reviewer=reviewer).first()
        if there is not None and there.holds:
            return there
        if not held.is_open:
            return None
        review = _give(held.review_set, held.pk, reviewer)
        Review.objects.filter(pk=review.pk).update(lease_until=None)
        return review


def take_place(*, review: Review) -> bool:
    """Give a review, which is held, a place of its item's overlap again; False if none is left.

    To be called in a transaction.
    """
    if review.holds:
        return True
    item = ReviewItem.objects.select_for_update(of=("self",)).get(pk=review.item_id)
    if not item.is_open:
        return False
    _take(item)
    review.holds = True
    return True


def _begun(review_set: ReviewSet, reviewer: Any) -> Review | None:
    """Return a person's open review, and hold it for longer."""
    found = (
        Review.objects.filter(
            review_set=review_set,
            reviewer=reviewer,
            state=ReviewState.PENDING,
            holds=True,
        )
        .order_by("position")
        .first()
    )
    if found is None:
        return None
    if found.lease_until is not None:
        # Not if it is over: somebody may be given the item at this moment.
        same = Review.objects.filter(pk=found.pk, holds=True, lease_until__gte=Now())
        if not same.update(lease_until=Now() + LEASE):
            return None
    return found


def _give(review_set: ReviewSet, item_id: int, reviewer: Any) -> Review:
    item = ReviewItem.objects.select_related("review_set").get(pk=item_id)
    _take(item)
    review, _ = Review.objects.update_or_create(
        item=item,
        reviewer=reviewer,
        defaults={
            "review_set": review_set,
            "position": item.position,
            "reviewer_name": reviewer.get_username()[:200],
            "holds": True,
            "lease_until": Now() + LEASE,
        },
    )
    review.refresh_from_db()
    return review


def _take(item: ReviewItem) -> None:
    item.taken += 1
    item.is_open = item.taken < item.review_set.overlap
    item.save(update_fields=["taken", "is_open"])
