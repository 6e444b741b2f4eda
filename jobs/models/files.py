"""Stored files, what was uploaded and the result files of batches, and uploads in parts."""

from __future__ import annotations

import secrets

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from jobs.models.projects import Project
from jobs.states import UploadState


def new_file_id() -> str:
    return f"file-{secrets.token_hex(16)}"


def new_upload_id() -> str:
    return f"upload_{secrets.token_hex(16)}"


def new_part_id() -> str:
    return f"part_{secrets.token_hex(16)}"


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

    An uploaded one has its bytes in the file storage, under `paths` one after the other: one
    path, or one for each part in which it came. A result file (purpose
    `batch_output`) has no bytes of its own: its content streams from the response rows of the
    batch, and its size is that batch's counter.
    """

    public_id = models.CharField(max_length=64, unique=True, default=new_file_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="files")
    purpose = models.CharField(max_length=16, choices=Purpose)
    filename = models.CharField(max_length=512)
    bytes = models.BigIntegerField(default=0)
    paths = ArrayField(models.CharField(max_length=255), default=list, blank=True, editable=False)
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
            # The sweep of what is left of deleted ones; result files go with their batch.
            models.Index(
                fields=["deleted_at"],
                name="file_deleted",
                condition=models.Q(deleted_at__isnull=False)
                & ~models.Q(purpose=Purpose.BATCH_OUTPUT),
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def is_hidden(self) -> bool:
        """Whether it was deleted or has expired: nobody may read what stands in it."""
        expired = self.expires_at is not None and self.expires_at <= timezone.now()
        return expired or self.deleted_at is not None


class Upload(models.Model):
    """A file that comes in parts, until it is completed, cancelled or too old.

    `bytes` is what the client announced; completing it makes `file` from the parts in the order
    that the client names, without copying them.
    """

    public_id = models.CharField(max_length=64, unique=True, default=new_upload_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="uploads")
    state = models.CharField(max_length=16, choices=UploadState, default=UploadState.PENDING)
    purpose = models.CharField(max_length=16, choices=Purpose)
    filename = models.CharField(max_length=512)
    mime_type = models.CharField(max_length=255)
    bytes = models.BigIntegerField()
    file_expires_s = models.PositiveIntegerField(null=True)
    file = models.OneToOneField(
        StoredFile, on_delete=models.SET_NULL, null=True, related_name="upload"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=UploadState.values), name="upload_state_known"
            ),
            models.CheckConstraint(
                condition=models.Q(purpose__in=Purpose.values), name="upload_purpose_known"
            ),
            models.CheckConstraint(condition=models.Q(bytes__gte=1), name="upload_bytes_positive"),
        ]
        indexes = [
            # The sweep of uploads that were never completed, and the bytes that a project holds.
            models.Index(
                fields=["project", "expires_at"],
                name="upload_pending",
                condition=models.Q(state="pending"),
            ),
        ]

    def __str__(self) -> str:
        return self.public_id


class UploadPart(models.Model):
    """One part of an upload; its bytes lie under `path` and become the file's as they are.

    It lives while its upload is pending: completing gives its path to the file, and one that is
    left with an upload in another state is to be swept, with its bytes. What was sent twice is
    one part, since a client whose answer was lost sends it again.
    """

    public_id = models.CharField(max_length=64, unique=True, default=new_part_id, editable=False)
    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="parts")
    bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    path = models.CharField(max_length=255)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(bytes__gte=1), name="part_bytes_positive"),
            models.UniqueConstraint(fields=["upload", "sha256"], name="part_once"),
        ]

    def __str__(self) -> str:
        return self.public_id
