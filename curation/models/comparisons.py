"""Comparisons that people vote in, blind, and their votes."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from jobs.models import BatchResponse, Project


def new_comparison_id() -> str:
    return f"cmp_{secrets.token_hex(16)}"


def new_seed() -> str:
    return secrets.token_hex(16)


class Comparison(models.Model):
    """Sides whose answers are put to the vote; the same sides are the same comparison.

    `sides` are as the address of the page names them. From `seed`, which nobody is shown, comes
    which two sides of a row a person is asked about, and which of them stands left.
    """

    public_id = models.CharField(
        max_length=64, unique=True, default=new_comparison_id, editable=False
    )
    # What people have said is not lost with a project's name.
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+")
    sides = ArrayField(models.CharField(max_length=300))
    # Of each side when it was made; they stay when a batch is gone.
    model_names = ArrayField(models.CharField(max_length=200))
    by = models.CharField(max_length=16)
    seed = models.CharField(max_length=32, default=new_seed, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "by", "sides"], name="comparison_once"),
            models.CheckConstraint(
                condition=Q(by__in=["custom_id", "prompt"]), name="comparison_by_known"
            ),
        ]
        indexes = [
            # The list of a project's comparisons, newest first.
            models.Index(fields=["project", "-id"], name="comparison_of_project"),
        ]

    def __str__(self) -> str:
        return self.public_id


class VoteChoice(models.TextChoices):
    """Seen from side `a` of the vote."""

    A = "a"
    B = "b"
    TIE = "tie"
    BOTH_BAD = "bad"


class Vote(models.Model):
    """What one person found of two answers without knowing whose they are.

    `a` and `b` are the numbers of the sides, the smaller first, whatever stood left. `key` and
    `place` say which row it was. One that was taken back keeps its row.
    """

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="votes")
    key = models.CharField(max_length=512)
    place = models.CharField(max_length=24)
    a = models.PositiveSmallIntegerField()
    b = models.PositiveSmallIntegerField()
    a_response = models.ForeignKey(
        BatchResponse, on_delete=models.SET_NULL, null=True, related_name="+", db_constraint=False
    )
    b_response = models.ForeignKey(
        BatchResponse, on_delete=models.SET_NULL, null=True, related_name="+", db_constraint=False
    )
    left_is_a = models.BooleanField()
    choice = models.CharField(max_length=3, choices=VoteChoice)
    voter = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    voter_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    removed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["comparison", "voter", "key"],
                name="vote_once_a_row",
                condition=Q(removed_at__isnull=True),
            ),
            models.CheckConstraint(
                condition=Q(choice__in=VoteChoice.values), name="vote_choice_known"
            ),
            models.CheckConstraint(condition=Q(a__lt=F("b")), name="vote_sides_in_order"),
        ]
        indexes = [
            # The matrix of a comparison.
            models.Index(
                fields=["comparison", "a", "b", "choice"],
                name="vote_matrix",
                condition=Q(removed_at__isnull=True),
            ),
            # The last vote of a person: where they go on, and what they take back.
            models.Index(
                fields=["comparison", "voter", "-id"],
                name="vote_last",
                condition=Q(removed_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.comparison}: {self.key}"
