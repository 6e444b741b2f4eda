"""Review sets: made, filled with answers, changed and closed."""

from __future__ import annotations

import random
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max, QuerySet
from django.db.models.functions import Now

from curation.conversations import whole_answer
from curation.models import ResponseSearch, Review, ReviewItem, ReviewSet, ReviewState
from curation.models.reviews import OVERLAP_MAX
from curation.rubric import InvalidRubric, read_rubric
from jobs.models import BatchResponse, Project
from jobs.prompts import storable_text
from jobs.services.audit import current_actor

NAME_MAX = 200
ITEMS_MAX = 100_000
ADDED_AT_ONCE = 200
TEXT_MAX = 4_000_000


class InvalidReviewSet(Exception):
    """A field cannot be as it was given; `field` names it, the message says why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def create_review_set(
    *, project: Project, name: str, rubric: str, guidelines: str = "", overlap: int = 1
) -> ReviewSet:
    """Make an empty review set; raises InvalidReviewSet."""
    name = name.strip()
    if not name or len(name) > NAME_MAX or "\0" in name + guidelines + rubric:
        raise InvalidReviewSet("name", f"give a name of 1 to {NAME_MAX} characters")
    if not 1 <= overlap <= OVERLAP_MAX:
        raise InvalidReviewSet("overlap", f"it must be from 1 to {OVERLAP_MAX}")
    _check_rubric(rubric)
    try:
        with transaction.atomic():
            return ReviewSet.objects.create(
                project=project,
                name=name,
                rubric=rubric.strip(),
                guidelines=guidelines,
                overlap=overlap,
                created_by_name=current_actor().words[:200],
            )
    except IntegrityError as error:
        raise InvalidReviewSet(
            "name", f"the project has a review set named '{name}' already"
        ) from error


def change_review_set(*, review_set: ReviewSet, **fields: Any) -> ReviewSet:
    """Change guidelines, rubric or whether it is closed; the rubric only before it is used."""
    with transaction.atomic():
        held = ReviewSet.objects.select_for_update(no_key=True).get(pk=review_set.pk)
        if "rubric" in fields and fields["rubric"].strip() != held.rubric:
            _check_rubric(fields["rubric"])
            if Review.objects.filter(review_set=held, state=ReviewState.SUBMITTED).exists():
                raise InvalidReviewSet(
                    "rubric", "reviews were submitted by it already, so it stays as it is"
                )
            held.rubric = fields["rubric"].strip()
        if "guidelines" in fields:
            held.guidelines = fields["guidelines"].replace("\0", "")
        if "closed" in fields:
            held.closed_at = Now() if fields["closed"] else None
        held.save()
    held.refresh_from_db()
    return held


def add_responses(
    *,
    review_set: ReviewSet,
    rows: QuerySet[ResponseSearch],
    sample: int | None = None,
    seed: int = 1,
) -> int:
    """Add the answers that `rows` finds, errors left out; return how many are new.

    In the order of the list, oldest first; with `sample` so many of them, chosen by the seed. An
    answer is in a set once. Killed in between, what was added is there, and adding again adds the
    rest.
    """
    found = rows.filter(ok=True, project=review_set.project_id).order_by("pk")
    ids = list(found.values_list("response_id", flat=True)[: ITEMS_MAX + 1])
    if len(ids) > ITEMS_MAX and sample is None:
        raise InvalidReviewSet(
            "filter",
            f"it finds more than {ITEMS_MAX:,} answers: narrow it, or take a sample",
        )
    if sample is not None and sample < len(ids):
        ids = sorted(random.Random(seed).sample(ids, sample))
    added = 0
    for at in range(0, len(ids), ADDED_AT_ONCE):
        added += _add(review_set, ids[at : at + ADDED_AT_ONCE])
    return added


def _add(review_set: ReviewSet, ids: list[int]) -> int:
    with transaction.atomic():
        # Places are given in turn.
        held = ReviewSet.objects.select_for_update(no_key=True).get(pk=review_set.pk)
        last = held.items.aggregate(last=Max("position"))["last"]
        there = set(held.items.filter(response__in=ids).values_list("response_id", flat=True))
        responses = (
            BatchResponse.objects.filter(pk__in=ids, batch__deleted_at__isnull=True)
            .exclude(pk__in=there)
            .select_related("request", "batch")
            .order_by("pk")
        )
        items = [
            _item(held, response, position=(-1 if last is None else last) + 1 + at)
            for at, response in enumerate(responses)
        ]
        ReviewItem.objects.bulk_create(items, ignore_conflicts=True)
        return len(items)


def _item(review_set: ReviewSet, response: BatchResponse, *, position: int) -> ReviewItem:
    body = bytes(response.body)
    whole = whole_answer(body, response.text)
    return ReviewItem(
        review_set=review_set,
        position=position,
        response=response,
        batch_public_id=response.batch.public_id,
        line_position=response.request.position,
        custom_id=response.request.custom_id,
        model_name=response.batch.model_name,
        request_body=bytes(response.request.body),
        response_body=body,
        prompt_text=response.request.prompt_text,
        answer_text=storable_text(whole, limit=TEXT_MAX),
        finish_reason=response.finish_reason,
    )


def _check_rubric(text: str) -> None:
    try:
        read_rubric(text)
    except InvalidRubric as error:
        raise InvalidReviewSet("rubric", str(error)) from error
