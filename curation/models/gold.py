"""Gold stars: answers worth keeping, with all that tells where they came from."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q

from curation.gold_fields import SCORE_MAX, SCORE_MIN, TAG_MAX
from jobs.models import Batch, BatchResponse, Project


def new_gold_id() -> str:
    return f"gold_{secrets.token_hex(16)}"


def new_deed() -> str:
    return secrets.token_hex(16)


class GoldStar(models.Model):
    """A good answer, copied with its prompt and provenance when it was starred.

    It outlives its batch: `response` and `batch` then become null, the copies stay. Bodies are
    kept to the byte. `edited_answer` is a person's better text; null is as answered. One that
    was unstarred keeps its row, so that the star can be given back with all that it had.

    `provenance` holds what is known of how the answer was made: `model_source`,
    `model_revision`, `engine_args`, `engine_version`, `gpus`, `worker`, `sampling`; a key that
    is missing is not known.
    """

    public_id = models.CharField(max_length=64, unique=True, default=new_gold_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="gold_stars")
    response = models.OneToOneField(
        BatchResponse,
        on_delete=models.SET_NULL,
        null=True,
        related_name="gold_star",
        db_constraint=False,
    )
    batch = models.ForeignKey(
        Batch, on_delete=models.SET_NULL, null=True, related_name="gold_stars"
    )
    batch_public_id = models.CharField(max_length=64)
    custom_id = models.CharField(max_length=512)
    line = models.PositiveIntegerField()
    position = models.PositiveIntegerField()
    endpoint = models.CharField(max_length=64)
    model_name = models.CharField(max_length=200)

    request_body = models.BinaryField()
    response_body = models.BinaryField()
    prompt_text = models.TextField()
    prompt_sha256 = models.BinaryField(max_length=32)
    answer_text = models.TextField()
    answer_sha256 = models.BinaryField(max_length=32)
    finish_reason = models.CharField(max_length=64, blank=True)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    latency_ms = models.PositiveIntegerField(null=True)
    answered_at = models.DateTimeField()
    provenance = models.JSONField(default=dict)

    quality_score = models.PositiveSmallIntegerField()
    tags = ArrayField(models.CharField(max_length=TAG_MAX), default=list, blank=True)
    notes = models.TextField(blank=True)
    edited_answer = models.TextField(null=True, blank=True)

    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    # Grows with each change: who changes an old state is told so.
    revision = models.PositiveIntegerField(default=1)
    removed_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    # Of the person or the key; it stays when the account is gone.
    created_by_name = models.CharField(max_length=200)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["batch_public_id", "position"], name="gold_once_a_response"
            ),
            models.CheckConstraint(
                condition=Q(quality_score__gte=SCORE_MIN, quality_score__lte=SCORE_MAX),
                name="gold_score_within",
            ),
        ]
        indexes = [
            # The list, and exports: a project's stars, newest first, those good enough.
            models.Index(
                fields=["project", "-id"],
                name="gold_of_project",
                include=["quality_score"],
                condition=Q(removed_at__isnull=True),
            ),
            # Stars with a tag.
            GinIndex(fields=["tags"], name="gold_by_tag"),
            # Who answered the same prompt.
            models.Index(fields=["prompt_sha256"], name="gold_of_prompt"),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def answer(self) -> str:
        """The text that counts: the edited one, if there is one."""
        return self.answer_text if self.edited_answer is None else self.edited_answer


class GoldEventKind(models.TextChoices):
    STARRED = "starred"
    CHANGED = "changed"
    UNSTARRED = "unstarred"
    RESTORED = "restored"


class GoldEvent(models.Model):
    """What was done to a gold star, by whom; append-only, in the transaction that did it.

    `before` holds the old values of the fields that changed, so that a deed can be undone.
    Events of one deed, such as starring a hundred answers at once, share `deed`; `revision` is
    the star's after it: what was changed again since is not undone.
    """

    star = models.ForeignKey(GoldStar, on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=10, choices=GoldEventKind)
    deed = models.CharField(max_length=32)
    revision = models.PositiveIntegerField()
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    actor_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=GoldEventKind.values), name="gold_event_kind_known"
            ),
        ]
        indexes = [
            models.Index(fields=["star", "-id"], name="gold_event_of_star"),
            # Undoing a deed.
            models.Index(fields=["deed"], name="gold_event_of_deed"),
        ]

    def __str__(self) -> str:
        return f"{self.star}: {self.kind}"
