"""What answers are found by: a row for each, written after the answer was committed."""

from __future__ import annotations

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import Q

from jobs.models import Batch, BatchResponse, Project


class ResponseSearch(models.Model):
    """What a response is found and filtered by; made once, never updated.

    `id` grows with the time of making: it is the one order of lists, newest first. `document` is
    of the first 64 KB of custom_id, prompt and answer, each word as it stands (`simple`). There
    is none of it on ingest: a full-text index there would cost five sixths of the write rate.
    """

    # The same keys as the response's own, and for the same reason without constraints.
    response = models.OneToOneField(
        BatchResponse, on_delete=models.CASCADE, related_name="search", db_constraint=False
    )
    batch = models.ForeignKey(
        Batch, on_delete=models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )
    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )
    model_name = models.CharField(max_length=200)
    custom_id = models.CharField(max_length=512)
    ok = models.BooleanField()
    finish_reason = models.CharField(max_length=64, blank=True)
    error_code = models.CharField(max_length=64, blank=True)
    output_tokens = models.PositiveIntegerField()
    prompt_sha256 = models.BinaryField(max_length=32)
    answered_at = models.DateTimeField()
    document = SearchVectorField()

    class Meta:
        indexes = [
            # Lists, newest first: of projects, of a batch, of a model, of each kind of end.
            models.Index(fields=["project", "-id"], name="search_of_project"),
            models.Index(fields=["batch", "-id"], name="search_of_batch"),
            models.Index(fields=["model_name", "-id"], name="search_of_model"),
            models.Index(fields=["finish_reason", "-id"], name="search_by_finish"),
            models.Index(fields=["error_code", "-id"], name="search_failed", condition=Q(ok=False)),
            # A line of many batches.
            models.Index(fields=["custom_id"], name="search_by_custom_id"),
            # The longest and the shortest answers; those since a time.
            models.Index(fields=["output_tokens"], name="search_by_tokens"),
            models.Index(fields=["answered_at"], name="search_by_time"),
            # Who answered the same prompt, for comparing.
            models.Index(fields=["prompt_sha256", "batch"], name="search_of_prompt"),
            GinIndex(fields=["document"], name="search_document"),
        ]

    def __str__(self) -> str:
        return f"search of {self.response_id}"


class SearchProgress(models.Model):
    """Up to which `seq` the responses of a batch can be found."""

    batch = models.OneToOneField(Batch, on_delete=models.CASCADE, primary_key=True)
    seq = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.batch_id} up to {self.seq}"
