"""Review sets, what is to be judged in them, judgements, and what was done to those."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from curation.gold_fields import TAG_MAX
from jobs.models import BatchResponse, Project

OVERLAP_MAX = 9


def new_review_set_id() -> str:
    return f"rset_{secrets.token_hex(16)}"


class ReviewSet(models.Model):
    """Answers to be judged by people, each by `overlap` of them, along a rubric.

    `rubric` is the text that `curation.rubric` reads; it stays as it is once somebody has
    submitted a review.
    """

    public_id = models.CharField(
        max_length=64, unique=True, default=new_review_set_id, editable=False
    )
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="review_sets")
    name = models.CharField(max_length=200)
    guidelines = models.TextField(blank=True)
    rubric = models.TextField()
    overlap = models.PositiveSmallIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by_name = models.CharField(max_length=200)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="review_set_name_once"),
            models.CheckConstraint(
                condition=Q(overlap__gte=1, overlap__lte=OVERLAP_MAX), name="review_overlap_within"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ReviewItem(models.Model):
    """An answer in a review set, copied, so that it can be judged after its batch is gone.

    `taken` counts the reviews that hold a place of the overlap: submitted, discarded, drafts and
    leased ones; `is_open` says that a place is left, `done` counts those that have ended.
    """

    review_set = models.ForeignKey(
        ReviewSet, on_delete=models.CASCADE, related_name="items", db_index=False
    )
    position = models.PositiveIntegerField()
    response = models.ForeignKey(
        BatchResponse,
        on_delete=models.SET_NULL,
        null=True,
        related_name="review_items",
        db_constraint=False,
    )
    batch_public_id = models.CharField(max_length=64)
    line_position = models.PositiveIntegerField()
    custom_id = models.CharField(max_length=512)
    model_name = models.CharField(max_length=200)
    request_body = models.BinaryField()
    response_body = models.BinaryField()
    prompt_text = models.TextField()
    answer_text = models.TextField()
    finish_reason = models.CharField(max_length=64, blank=True)
    taken = models.PositiveSmallIntegerField(default=0)
    done = models.PositiveSmallIntegerField(default=0)
    is_open = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["review_set", "position"], name="review_item_place"),
            models.UniqueConstraint(
                fields=["review_set", "batch_public_id", "line_position"], name="review_item_once"
            ),
            models.CheckConstraint(
                condition=Q(done__lte=models.F("taken")), name="review_item_done_is_taken"
            ),
        ]
        indexes = [
            # The next one to be handed out.
            models.Index(
                fields=["review_set", "position"],
                name="review_item_open",
                condition=Q(is_open=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.custom_id} in {self.review_set_id}"


class ReviewState(models.TextChoices):
    PENDING = "pending"
    DRAFT = "draft"
    SUBMITTED = "submitted"
    DISCARDED = "discarded"


ENDED = (ReviewState.SUBMITTED, ReviewState.DISCARDED)


class Review(models.Model):
    """What one person says of one item.

    ::

        pending -> draft | submitted | discarded, each of which can become each other

    `holds` says that it has a place of the item's overlap. A pending one holds it until
    `lease_until`; null is for ever, as where it was assigned. One that has lost its place is kept
    with what was written in it.
    """

    review_set = models.ForeignKey(
        ReviewSet, on_delete=models.CASCADE, related_name="reviews", db_index=False
    )
    item = models.ForeignKey(ReviewItem, on_delete=models.CASCADE, related_name="reviews")
    position = models.PositiveIntegerField()
    reviewer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="reviews"
    )
    reviewer_name = models.CharField(max_length=200)
    state = models.CharField(max_length=10, choices=ReviewState, default=ReviewState.PENDING)
    values = models.JSONField(default=dict, blank=True)
    edited_answer = models.TextField(null=True, blank=True)
    notes = models.TextField(blank=True)
    tags = ArrayField(models.CharField(max_length=TAG_MAX), default=list, blank=True)
    holds = models.BooleanField(default=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["item", "reviewer"], name="review_once"),
            models.CheckConstraint(
                condition=Q(state__in=ReviewState.values), name="review_state_known"
            ),
            models.CheckConstraint(
                condition=Q(holds=True) | Q(state__in=("pending", "draft")),
                name="review_ended_holds",
            ),
        ]
        indexes = [
            # A person's own way through a set.
            models.Index(fields=["review_set", "reviewer", "position"], name="review_of_person"),
            # Leases that are over.
            models.Index(
                fields=["review_set", "lease_until"],
                name="review_leased",
                condition=Q(state="pending", holds=True, lease_until__isnull=False),
            ),
            # What the figures of a set are made of.
            models.Index(
                fields=["review_set", "item"],
                name="review_submitted",
                condition=Q(state="submitted"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reviewer_name} on {self.item_id}"


class ReviewEvent(models.Model):
    """What was done to a review, by whom; append-only, in the transaction that did it."""

    review = models.ForeignKey(Review, on_delete=models.CASCADE, related_name="events")
    deed = models.CharField(max_length=32)
    revision = models.PositiveIntegerField()
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    actor_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            models.Index(fields=["review", "-id"], name="review_event_of_review"),
            models.Index(fields=["deed"], name="review_event_of_deed"),
        ]

    def __str__(self) -> str:
        return f"{self.review}: {self.after}"


class Adjudication(models.Model):
    """The last word on an item about which reviewers did not agree."""

    item = models.OneToOneField(
        ReviewItem, on_delete=models.CASCADE, primary_key=True, related_name="adjudication"
    )
    values = models.JSONField(default=dict)
    edited_answer = models.TextField(null=True, blank=True)
    notes = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    revision = models.PositiveIntegerField(default=1)
    by_name = models.CharField(max_length=200)

    def __str__(self) -> str:
        return f"the last word on {self.item_id}"
