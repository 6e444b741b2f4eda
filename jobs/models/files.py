"""Stored files: what was uploaded, and the result files of batches."""

from __future__ import annotations

import secrets

from django.db import models

from jobs.models.projects import Project


def new_file_id() -> str:
    return f"file-{secrets.token_hex(16)}"


class Purpose(models.TextChoices):
    ASSISTANTS = "assistants"
    BATCH = "batch"
    FINE_TUNE = "fine-tune"
    VISION = "vision"
    USER_DATA = "user_data"
    EVALS = "evals"
    BATCH_OUTPUT = "batch_output"


UPLOAD_PURPOSES = tuple(p.value for p in Purpose if p is not Purpose.BATCH_OUTPUT)


class StoredFile(models.Model):
    """A file of a project.

    An uploaded one has its bytes under `path` in the file storage. A result file (purpose
    `batch_output`) has no bytes of its own: its content streams from the response rows of the
    batch, and its size is that batch's counter.
    """

    public_id = models.CharField(max_length=64, unique=True, default=new_file_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="files")
    purpose = models.CharField(max_length=16, choices=Purpose)
    filename = models.CharField(max_length=512)
    bytes = models.BigIntegerField(default=0)
    path = models.CharField(max_length=255, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(purpose__in=Purpose.values), name="file_purpose_known"
            ),
            models.CheckConstraint(
                condition=models.Q(bytes__gte=0), name="file_bytes_not_negative"
            ),
        ]
        indexes = [
            # GET /v1/files: a project's files, newest first.
            models.Index(
                fields=["project", "-id"],
                name="file_of_project",
                condition=models.Q(deleted_at__isnull=True),
            ),
            # The sweep that removes the bytes of expired files.
            models.Index(
                fields=["expires_at"],
                name="file_expiring",
                condition=models.Q(deleted_at__isnull=True, expires_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.public_id
