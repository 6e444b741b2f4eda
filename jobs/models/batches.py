"""Batches, the chunks in which they are worked on, and what happened to them."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce

from jobs.models.files import StoredFile
from jobs.models.fleet import Lane, ServedModel
from jobs.models.projects import Project
from jobs.querysets import Kept
from jobs.states import (
    ENDED_STATES,
    LIVE_STATES,
    BatchState,
    ChunkState,
    EventKind,
    RequestOrder,
)

# Where a batch that has not ended stands among those that are sorted by their end.
NOT_ENDED = datetime(9999, 1, 1, tzinfo=UTC)
# A smaller batch says nothing of how fast a model answers.
PACE_FROM_LINES = 20


def new_batch_id() -> str:
    return f"batch_{secrets.token_hex(16)}"


class Batch(models.Model):
    """A file of requests on its way through the machine.

    ::

        validating -> failed | in_progress
        in_progress -> finalizing -> completed
        in_progress -> expired
        validating | in_progress | finalizing -> cancelling -> cancelled

    Only `jobs.services` writes here, and a state only by compare-and-swap. Counters, sizes and
    token sums move in the transaction that inserts the responses they count, under this row's
    lock, which also hands out `last_seq`.

    A deleted batch is gone for whoever asks `objects`, which is everybody: pages, API, counts.
    `every` is for those that see to its rows.
    """

    public_id = models.CharField(max_length=64, unique=True, default=new_batch_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="batches")
    state = models.CharField(max_length=16, choices=BatchState, default=BatchState.VALIDATING)
    endpoint = models.CharField(max_length=64)
    completion_window = models.CharField(max_length=16)
    metadata = models.JSONField(null=True, blank=True)
    priority = models.SmallIntegerField(default=0)
    webhook_url = models.URLField(max_length=2000, blank=True)
    # The id as the client gave it: the file may not exist, or be deleted later.
    input_file_public_id = models.CharField(max_length=64)
    input_file = models.ForeignKey(
        StoredFile, on_delete=models.SET_NULL, null=True, related_name="input_of"
    )
    output_file = models.OneToOneField(
        StoredFile, on_delete=models.SET_NULL, null=True, related_name="output_of"
    )
    error_file = models.OneToOneField(
        StoredFile, on_delete=models.SET_NULL, null=True, related_name="errors_of"
    )
    output_expires_after_s = models.PositiveIntegerField(null=True)
    request_order = models.CharField(
        max_length=8, choices=RequestOrder, default=RequestOrder.AUTO, db_default=RequestOrder.AUTO
    )
    # Whether a line may take the answer of an equal one. Read once, at validation: what has no
    # digest then takes part in nothing.
    reuse_answers = models.BooleanField(default=False, db_default=False)
    model_name = models.CharField(max_length=200, blank=True)
    model = models.ForeignKey(
        ServedModel, on_delete=models.SET_NULL, null=True, related_name="batches"
    )
    findings = models.JSONField(default=list, blank=True)
    # Read by `waiting_for` while validation has not ended.
    validation_error = models.TextField(blank=True)

    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    in_progress_at = models.DateTimeField(null=True)
    finalizing_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    expired_at = models.DateTimeField(null=True)
    cancelling_at = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True)
    paused_at = models.DateTimeField(null=True)
    # When it entered the state in which it stays, whichever that is.
    ended_at = models.DateTimeField(null=True)
    # Hidden from then on; its rows go in slices.
    deleted_at = models.DateTimeField(null=True)
    # The batch whose unanswered or failed lines this one took up, or whose lines it runs anew.
    parent = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="retries")
    # Its answers came from elsewhere, with the lines.
    imported_at = models.DateTimeField(null=True)

    total = models.PositiveIntegerField(default=0)
    completed = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    cached_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0)
    # Of the lines and tokens above, those that were not computed again.
    reused = models.PositiveIntegerField(default=0, db_default=0)
    reused_input_tokens = models.BigIntegerField(default=0, db_default=0)
    reused_output_tokens = models.BigIntegerField(default=0, db_default=0)
    output_bytes = models.BigIntegerField(default=0)
    error_bytes = models.BigIntegerField(default=0)
    last_seq = models.BigIntegerField(default=0)
    # Of all lines, by their size: what the limit on queued tokens counts.
    estimated_tokens = models.BigIntegerField(default=0)
    first_response_at = models.DateTimeField(null=True)
    last_response_at = models.DateTimeField(null=True)

    # For creating once: the client's own key, and a digest of what was asked.
    idempotency_key = models.CharField(max_length=255, null=True)
    create_digest = models.BinaryField(max_length=32)

    # The first one counts as the default, also for `project.batches` and the administration.
    objects = Kept["Batch"]()
    every = models.Manager["Batch"]()

    class Meta:
        verbose_name_plural = "batches"
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=BatchState.values), name="batch_state_known"
            ),
            models.CheckConstraint(
                condition=Q(priority__in=[-1, 0, 1]), name="batch_priority_known"
            ),
            models.CheckConstraint(
                condition=Q(request_order__in=RequestOrder.values), name="batch_order_known"
            ),
            models.CheckConstraint(
                condition=Q(total__gte=F("completed") + F("failed")), name="batch_counts_within"
            ),
            models.CheckConstraint(
                condition=Q(completed__gte=F("reused")), name="batch_reused_within"
            ),
            models.CheckConstraint(
                condition=Q(deleted_at__isnull=True) | Q(state__in=ENDED_STATES),
                name="batch_deleted_once_ended",
            ),
            models.UniqueConstraint(
                fields=["project", "idempotency_key"], name="batch_idempotency_key_once"
            ),
        ]
        indexes = [
            # GET /v1/batches: a project's batches, newest first.
            models.Index(fields=["project", "-id"], name="batch_of_project"),
            # Claims, sweeps, `/api/running-jobs`: the few that are alive.
            models.Index(
                fields=["model", "-priority", "id"],
                name="batch_live",
                condition=Q(state__in=LIVE_STATES),
            ),
            models.Index(
                fields=["expires_at"], name="batch_expiring", condition=Q(state__in=LIVE_STATES)
            ),
            # A create that the client repeats because its answer was lost.
            models.Index(
                fields=["project", "create_digest", "-created_at"], name="batch_created_twice"
            ),
            # How many there are in each state: read from the index alone, rows are wide.
            models.Index(
                fields=["state"],
                name="batch_by_state",
                condition=Q(deleted_at__isnull=True),
            ),
            # The sweeps of what was deleted, and of what has been kept for long enough.
            models.Index(
                fields=["deleted_at"],
                name="batch_deleted",
                condition=Q(deleted_at__isnull=False),
            ),
            models.Index(
                fields=["ended_at"], name="batch_ended", condition=Q(state__in=ENDED_STATES)
            ),
            # The page of batches: newest first or since a moment, by lines, by end; one state;
            # one model, or those whose names begin alike.
            models.Index(
                fields=["created_at", "id"],
                name="batch_by_created",
                condition=Q(deleted_at__isnull=True),
            ),
            models.Index(
                fields=["total", "id"],
                name="batch_by_lines",
                condition=Q(deleted_at__isnull=True),
            ),
            models.Index(
                Coalesce("ended_at", Value(NOT_ENDED)),
                "id",
                name="batch_by_end",
                condition=Q(deleted_at__isnull=True),
            ),
            models.Index(
                fields=["state", "created_at", "id"],
                name="batch_of_state",
                condition=Q(deleted_at__isnull=True),
            ),
            models.Index(
                fields=["model_name", "created_at", "id"],
                name="batch_of_model",
                opclasses=["varchar_pattern_ops", "timestamptz_ops", "int8_ops"],
                condition=Q(deleted_at__isnull=True),
            ),
            # The page of batches: those done with errors, and how many they are.
            models.Index(
                fields=["created_at", "id"],
                name="batch_with_errors",
                include=["project"],
                condition=Q(state=BatchState.COMPLETED, failed__gt=0, deleted_at__isnull=True),
            ),
            # Estimates: the last batches of a model that were large enough to tell its pace.
            models.Index(
                fields=["model_name", "-id"],
                name="batch_telling_pace",
                condition=Q(
                    state=BatchState.COMPLETED,
                    total__gte=PACE_FROM_LINES,
                    imported_at__isnull=True,
                    deleted_at__isnull=True,
                ),
            ),
            # The sweep of idempotency keys that are too old.
            models.Index(
                fields=["created_at"],
                name="batch_with_key",
                condition=Q(idempotency_key__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def is_live(self) -> bool:
        return self.state in LIVE_STATES

    @property
    def is_rerun(self) -> bool:
        """Whether it runs lines of its parent anew: a retry reads the parent's own input file."""
        parent = self.parent
        return parent is not None and parent.input_file_public_id != self.input_file_public_id

    @property
    def answered(self) -> int:
        """Lines that have a response, good or bad."""
        return self.completed + self.failed


class Chunk(models.Model):
    """A range of the batch's run order, the unit of claiming; it goes when its batch has ended.

    `first_position` and `last_position` are places in the order in which the lines run. Where
    that is the order of the file (`positions` is null) they are positions of lines; else
    `positions` names the lines, from the first place to the last.

    `attempt` grows with each claim and fences: whoever lost the lease cannot write any more,
    since every later write asks for the attempt that it was given.
    """

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="chunks")
    first_position = models.PositiveIntegerField()
    last_position = models.PositiveIntegerField()
    positions = ArrayField(models.PositiveIntegerField(), null=True)
    state = models.CharField(max_length=16, choices=ChunkState, default=ChunkState.OPEN)
    owner = models.ForeignKey(Lane, on_delete=models.SET_NULL, null=True, related_name="chunks")
    lease_until = models.DateTimeField(null=True)
    attempt = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=ChunkState.values), name="chunk_state_known"
            ),
            models.UniqueConstraint(fields=["batch", "first_position"], name="chunk_range_once"),
        ]
        indexes = [
            # Claims: what is still to be done of a batch, in the order in which it runs.
            models.Index(
                fields=["batch", "first_position"],
                name="chunk_to_do",
                condition=~Q(state=ChunkState.DONE),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.batch} {self.first_position}-{self.last_position}"


class BatchEvent(models.Model):
    """What happened to a batch, written in the transaction that made it; append-only.

    The timeline reads it, and so do effects that must follow a transition: webhooks go out for
    those events that are not yet announced. A pause leaves the state as it is.
    """

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="events")
    old_state = models.CharField(max_length=16, blank=True)
    new_state = models.CharField(max_length=16)
    kind = models.CharField(max_length=8, choices=EventKind, default=EventKind.MOVED)
    reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField()
    # When its webhooks were entered for delivery; null while nobody has looked.
    announced_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=EventKind.values), name="event_kind_known"),
        ]
        indexes = [
            models.Index(fields=["batch", "id"], name="event_of_batch"),
            # The outbox: endings that nobody has been told of.
            models.Index(
                fields=["id"],
                name="event_to_announce",
                condition=Q(announced_at__isnull=True, new_state__in=ENDED_STATES),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.batch}: {self.old_state} -> {self.new_state}"
