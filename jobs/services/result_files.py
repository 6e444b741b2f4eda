"""Naming the result files of a batch, which have no bytes of their own."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from jobs.models import Batch, Purpose, StoredFile


def create_result_files(*, batch: Batch, has_output: bool, has_errors: bool) -> None:
    """Give the batch its output and error file as soon as each holds a line.

    The caller holds the lock of the batch's row and saves the batch.
    """
    if has_output and batch.output_file_id is None:
        batch.output_file = _create(batch, f"{batch.public_id}_output.jsonl")
    if has_errors and batch.error_file_id is None:
        batch.error_file = _create(batch, f"{batch.public_id}_error.jsonl")


def _create(batch: Batch, filename: str) -> StoredFile:
    lifetime_s = batch.output_expires_after_s or settings.FILE_EXPIRES_S
    return StoredFile.objects.create(
        project_id=batch.project_id,
        purpose=Purpose.BATCH_OUTPUT,
        filename=filename,
        expires_at=timezone.now() + timedelta(seconds=lifetime_s),
    )
