"""Data sets, their versions with frozen rows, and the exports made of them."""

from __future__ import annotations

import secrets

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from curation.gold_fields import TAG_MAX
from curation.shapes.shape import Reject
from jobs.models import Project, StoredFile


def new_dataset_id() -> str:
    return f"dset_{secrets.token_hex(16)}"


def new_export_id() -> str:
    return f"export_{secrets.token_hex(16)}"


class Dataset(models.Model):
    """A named set of examples, in versions."""

    public_id = models.CharField(max_length=64, unique=True, default=new_dataset_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="datasets")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by_name = models.CharField(max_length=200)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="dataset_name_once"),
        ]

    def __str__(self) -> str:
        return self.name


class VersionState(models.TextChoices):
    BUILDING = "building"
    DRAFT = "draft"
    FROZEN = "frozen"
    FAILED = "failed"


class DatasetVersion(models.Model):
    """A choice of gold stars, copied, split and checked; once frozen it never changes.

    ::

        building -> draft | failed
        draft -> frozen

    `plan` is how it was made (filter, splits, seed, target), `report` what was found: sizes of
    the splits, leaks, rejects by reason, lengths. `sha256` is of all rows in their order.
    """

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=VersionState, default=VersionState.BUILDING)
    plan = models.JSONField(default=dict)
    report = models.JSONField(default=dict)
    rows = models.PositiveIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    error = models.TextField(blank=True)
    # Leaks were known when it was frozen, and this is why that is right.
    override_reason = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by_name = models.CharField(max_length=200)
    frozen_at = models.DateTimeField(null=True)
    frozen_by_name = models.CharField(max_length=200, blank=True)
    # While it is built: how many stars were read, and who is at it since when.
    progress = models.PositiveIntegerField(default=0)
    attempt = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["dataset", "number"], name="version_number_once"),
            models.CheckConstraint(
                condition=Q(state__in=VersionState.values), name="version_state_known"
            ),
            models.CheckConstraint(
                condition=Q(state="frozen", frozen_at__isnull=False)
                | (~Q(state="frozen") & Q(frozen_at__isnull=True)),
                name="version_frozen_once",
            ),
        ]
        indexes = [
            # What is still to be built.
            models.Index(
                fields=["lease_until"], name="version_to_build", condition=Q(state="building")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.dataset} v{self.number}"


class DatasetRow(models.Model):
    """A gold star as it was when the version was made; written once, never updated.

    Holds what `curation.examples.Starred` asks for, so that a star that changes or goes later
    changes nothing here.
    """

    version = models.ForeignKey(
        DatasetVersion, on_delete=models.CASCADE, related_name="row_set", db_index=False
    )
    position = models.PositiveIntegerField()
    split = models.CharField(max_length=32)
    # Of the row's content, without its place and split.
    digest = models.BinaryField(max_length=32)
    public_id = models.CharField(max_length=64)
    batch_public_id = models.CharField(max_length=64)
    custom_id = models.CharField(max_length=512)
    model_name = models.CharField(max_length=200)
    request_body = models.BinaryField()
    response_body = models.BinaryField()
    prompt_sha256 = models.BinaryField(max_length=32)
    finish_reason = models.CharField(max_length=64, blank=True)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    answered_at = models.DateTimeField()
    provenance = models.JSONField(default=dict)
    quality_score = models.PositiveSmallIntegerField()
    tags = ArrayField(models.CharField(max_length=TAG_MAX), default=list)
    notes = models.TextField(blank=True)
    edited_answer = models.TextField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["version", "position"], name="dataset_row_once"),
        ]
        indexes = [
            # A split of a version in its order; the diff of two versions.
            models.Index(fields=["version", "split", "position"], name="dataset_row_of_split"),
            models.Index(fields=["version", "public_id"], name="dataset_row_of_star"),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} in {self.version_id}"


class DatasetReject(models.Model):
    """A gold star that was asked for and is not in the version, and why."""

    version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="reject_set")
    public_id = models.CharField(max_length=64)
    batch_public_id = models.CharField(max_length=64)
    custom_id = models.CharField(max_length=512)
    code = models.CharField(max_length=64)
    reason = models.TextField()

    def __str__(self) -> str:
        return f"{self.custom_id}: {self.code}"

    def as_reject(self) -> Reject:
        return Reject(
            id=self.public_id,
            custom_id=self.custom_id,
            batch_id=self.batch_public_id,
            code=self.code,
            reason=self.reason,
        )


class ExportState(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Export(models.Model):
    """A version written in one shape, in the background.

    ::

        queued -> running -> done | failed

    A run whose lease is over is taken up by the next one, with `attempt` as its fence. The file
    is a stored file of the project, so that retention and the API know it.
    """

    public_id = models.CharField(max_length=64, unique=True, default=new_export_id, editable=False)
    version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="exports")
    shape = models.CharField(max_length=32)
    # Empty is every split, each in a file of its own in a zip.
    split = models.CharField(max_length=32, blank=True)
    state = models.CharField(max_length=10, choices=ExportState, default=ExportState.QUEUED)
    rows_done = models.PositiveIntegerField(default=0)
    rejected = models.PositiveIntegerField(default=0)
    file = models.ForeignKey(StoredFile, on_delete=models.SET_NULL, null=True, related_name="+")
    sha256 = models.CharField(max_length=64, blank=True)
    error = models.TextField(blank=True)
    attempt = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by_name = models.CharField(max_length=200)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=ExportState.values), name="export_state_known"
            ),
        ]
        indexes = [
            # What is still to be written.
            models.Index(
                fields=["id"],
                name="export_to_write",
                condition=Q(state__in=("queued", "running")),
            ),
        ]

    def __str__(self) -> str:
        return self.public_id
