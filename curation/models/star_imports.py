"""Ratings and gold stars that came in a file, and what became of each of its lines."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from curation.models.gold import new_deed
from jobs.models import Project


def new_import_id() -> str:
    return f"starimport_{secrets.token_hex(16)}"


class StarImportState(models.TextChoices):
    CHECKED = "checked"
    RUNNING = "running"
    DONE = "done"


class StarImport(models.Model):
    """A file of ratings: checked line by line, and then taken over as one deed.

    ::

        checked -> running -> done

    A checked one that is not wanted is deleted. `rows` is what the file holds but blank lines;
    it is always `refused` + `silent` (rows that say nothing) + `starred` + `changed` + `same` +
    the lines that are still to be taken over.
    """

    public_id = models.CharField(max_length=64, unique=True, default=new_import_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="star_imports")
    filename = models.CharField(max_length=400)
    state = models.CharField(
        max_length=10, choices=StarImportState, default=StarImportState.CHECKED
    )
    rows = models.PositiveIntegerField(default=0)
    blank = models.PositiveIntegerField(default=0)
    silent = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    # Of the lines in order, how many are of answers that are gold stars already.
    known = models.PositiveIntegerField(default=0)
    starred = models.PositiveIntegerField(default=0)
    changed = models.PositiveIntegerField(default=0)
    same = models.PositiveIntegerField(default=0)
    ignored = ArrayField(models.CharField(max_length=100), default=list)
    # Of the events of its stars: the whole import is undone at once.
    deed = models.CharField(max_length=32, default=new_deed, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_by_name = models.CharField(max_length=200)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=StarImportState.values), name="star_import_state_known"
            ),
        ]
        indexes = [
            # A project's imports, newest first.
            models.Index(fields=["project", "-id"], name="star_import_of_project"),
            # What is still to be taken over.
            models.Index(fields=["id"], name="star_import_to_run", condition=Q(state="running")),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def done(self) -> int:
        return self.starred + self.changed + self.same

    @property
    def left(self) -> int:
        """How many lines are still to be taken over."""
        return self.rows - self.silent - self.refused - self.done


class StarImportLine(models.Model):
    """A line of the file that is to be taken over, or why it cannot be.

    One that was taken over goes: the gold star and its event tell of it.
    """

    star_import = models.ForeignKey(
        StarImport, on_delete=models.CASCADE, related_name="lines", db_index=False
    )
    line = models.PositiveIntegerField()
    # What the line calls the answer.
    named = models.CharField(max_length=512, blank=True)
    # A key of BatchResponse with no constraint: an answer may go before the line is its turn.
    response_id = models.BigIntegerField(null=True)
    fields = models.JSONField(default=dict)
    problem = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["star_import", "line"], name="star_import_line_once"),
            # Either there is an answer, or a reason.
            models.CheckConstraint(
                condition=Q(response_id__isnull=False, problem="")
                | Q(response_id__isnull=True) & ~Q(problem=""),
                name="star_import_line_or_reason",
            ),
        ]
        indexes = [
            # The next lines to take over; by answer, so that two imports wait and never lock up.
            models.Index(
                fields=["star_import", "response_id"],
                name="star_import_next_lines",
                condition=Q(problem=""),
            ),
            # The lines that are refused, in their order.
            models.Index(
                fields=["star_import", "line"],
                name="star_import_refused_lines",
                condition=~Q(problem=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.star_import_id}: line {self.line}"
