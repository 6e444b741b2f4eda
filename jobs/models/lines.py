"""The lines of a batch: what was asked, what was answered, and which are under suspicion."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from jobs.models.batches import Batch
from jobs.models.fleet import Lane
from jobs.models.projects import Project

# As chat and as responses name an answer that reached its limit of tokens.
CUT_REASONS = ("length", "incomplete")


class BatchRequest(models.Model):
    """One line of the input; never updated.

    `line` counts lines of the file from 1, blank ones too; `position` counts requests from 0.
    `prompt_text` is what a person reads (at most 64 KB), `prompt_sha256` tells equal prompts
    whatever the model. `body_sha256` tells equal requests, and is there only where the same
    engine gives the same answer each time, and the batch takes answers that are known.
    """

    # Both unique indexes begin with the batch; one on it alone would only cost every line more,
    # and mislead the planner where a line of a large batch is looked for.
    batch = models.ForeignKey(
        Batch, on_delete=models.CASCADE, related_name="requests", db_index=False
    )
    line = models.PositiveIntegerField()
    position = models.PositiveIntegerField()
    custom_id = models.CharField(max_length=512)
    body = models.BinaryField()
    prompt_text = models.TextField()
    prompt_sha256 = models.BinaryField(max_length=32)
    body_sha256 = models.BinaryField(max_length=32, null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["batch", "custom_id"], name="request_custom_id_once"),
            models.UniqueConstraint(fields=["batch", "position"], name="request_position_once"),
        ]

    def __str__(self) -> str:
        return self.custom_id


class Suspect(models.Model):
    """A line that was in the engine when the engine died.

    Suspects run again in groups of their own, each group alone in the engine and smaller than
    the last, until the line that kills it stands alone. `deaths_alone` counts how often it then
    died with nothing else in it.
    """

    request = models.OneToOneField(BatchRequest, on_delete=models.CASCADE, primary_key=True)
    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="suspects")
    group_size = models.PositiveIntegerField()
    group_key = models.CharField(max_length=32)
    deaths_alone = models.PositiveSmallIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.request_id} in a group of {self.group_size}"


class BatchResponse(models.Model):
    """The final answer to one request; inserted once, never updated.

    `body` is what the engine answered, to the byte (empty where there was no answer); `ok` says
    in which of the two result files the line stands. `reused` is one that was computed for an
    equal line: it has no lane and no latency.
    """

    # No database constraint on the two keys: a check per row costs a tenth of the ingest rate,
    # and rows are inserted only under the lock of their batch, which deleting takes as well.
    request = models.OneToOneField(
        BatchRequest, on_delete=models.CASCADE, primary_key=True, db_constraint=False
    )
    batch = models.ForeignKey(
        Batch,
        on_delete=models.CASCADE,
        related_name="responses",
        db_constraint=False,
        db_index=False,
    )
    seq = models.BigIntegerField()
    ok = models.BooleanField()
    status_code = models.PositiveSmallIntegerField(null=True)
    body = models.BinaryField(default=bytes)
    text = models.TextField(blank=True)
    finish_reason = models.CharField(max_length=64, blank=True)
    input_tokens = models.PositiveIntegerField(default=0)
    cached_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    reasoning_tokens = models.PositiveIntegerField(default=0)
    latency_ms = models.PositiveIntegerField(null=True)
    reused = models.BooleanField(default=False, db_default=False)
    error_code = models.CharField(max_length=64, blank=True)
    error_message = models.TextField(blank=True)
    lane = models.ForeignKey(
        Lane, on_delete=models.SET_NULL, null=True, related_name="+", db_constraint=False
    )
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            # Live results stream in this order, and `after=` resumes by it.
            models.UniqueConstraint(fields=["batch", "seq"], name="response_seq_once"),
        ]
        indexes = [
            # A batch's page: its lines with errors, and those that were cut at max_tokens.
            models.Index(
                fields=["batch", "request"], name="response_failed", condition=Q(ok=False)
            ),
            models.Index(
                fields=["batch", "request"],
                name="response_cut",
                condition=Q(finish_reason__in=CUT_REASONS),
            ),
        ]

    def __str__(self) -> str:
        return f"response to {self.request_id}"


class KnownAnswer(models.Model):
    """The response in which the answer to any equal request of the project stands.

    `key` is of the request and of the engine that answered it: see `jobs.answer_keys`. It goes
    with its response, so that nothing that was deleted is given out again.
    """

    # No database constraint on the two keys, as on the response's own.
    response = models.OneToOneField(
        BatchResponse, on_delete=models.CASCADE, primary_key=True, db_constraint=False
    )
    project = models.ForeignKey(
        Project,
        on_delete=models.CASCADE,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    key = models.BinaryField(max_length=32)

    class Meta:
        constraints = [
            # Lanes look up the lines that they have claimed.
            models.UniqueConstraint(fields=["project", "key"], name="known_answer_once"),
        ]

    def __str__(self) -> str:
        return f"known from {self.response_id}"
