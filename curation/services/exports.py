"""Exports: a version written in one shape, in the background, to a file of the project."""

from __future__ import annotations

import hashlib
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.core.files.base import File
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django_q.tasks import async_task

from curation.models import DatasetVersion, Export, ExportState, VersionState
from curation.services.dataset_build import Superseded
from curation.services.datasets import CONTROL
from curation.services.export_files import PARQUET, Altered, ExportWriter
from curation.shapes import find_shape
from jobs.models import Purpose
from jobs.services.audit import current_actor
from jobs.services.files import create_file
from jobs.services.limits import StorageFull

log = structlog.get_logger()

LEASE = timedelta(seconds=60)
# The file of an export goes after so long; the version gives the same bytes again.
KEPT_S = 30 * 86_400
_COPY_BYTES = 1 << 20


class CannotExport(Exception):
    """The version cannot be exported so; the message says why."""


def create_export(*, version: DatasetVersion, shape: str, split: str = "") -> Export:
    """Ask for an export, or return the one that there is already; raises CannotExport."""
    if version.state not in (VersionState.DRAFT, VersionState.FROZEN):
        raise CannotExport(f"The version is {version.state}: wait until it is built.")
    found = find_shape(shape)
    if found is None and shape != PARQUET:
        raise CannotExport(f"There is no shape '{shape[:60]}'.")
    name = PARQUET if found is None else found.name
    if split and split not in version.report.get("splits", {}):
        raise CannotExport(f"The version has no split '{split[:60]}'.")
    if split and name == PARQUET:
        raise CannotExport("A Parquet folder holds every split.")
    with transaction.atomic():
        # Asked for twice it is one export.
        DatasetVersion.objects.select_for_update(no_key=True, of=("self",)).get(pk=version.pk)
        same = Export.objects.filter(version=version, shape=name, split=split)
        waiting = Q(state__in=(ExportState.QUEUED, ExportState.RUNNING))
        there = Q(state=ExportState.DONE, file__deleted_at__isnull=True, file__isnull=False)
        known = same.filter(waiting | (there & Q(file__expires_at__gt=Now()))).first()
        if known is not None:
            return known
        made = Export.objects.create(
            version=version, shape=name, split=split, created_by_name=current_actor().words[:200]
        )
        transaction.on_commit(lambda: async_task("curation.tasks.run_exports", cluster=CONTROL))
    return made


def anything_to_export() -> bool:
    """Say whether an export waits, or was left by a run that died."""
    return bool(_due().exists())


def run_due_exports() -> int:
    """Write each export that is due; return how many were."""
    done = 0
    while (export := _claim()) is not None:
        done += 1
        try:
            _run(export)
        except Superseded:
            log.info("export_superseded", export=export.public_id)
        except Exception as error:
            words = str(error) if isinstance(error, Altered | StorageFull) else repr(error)
            _held(export).update(state=ExportState.FAILED, error=words[:2_000], ended_at=Now())
            log.exception("export_failed", export=export.public_id)
    return done


# --- Claiming ----------------------------------------------------------------------------------
def _due() -> Any:
    over = Q(lease_until__lt=Now(), state=ExportState.RUNNING)
    return Export.objects.filter(Q(state=ExportState.QUEUED) | over)


def _claim() -> Export | None:
    with transaction.atomic():
        due = _due().select_for_update(skip_locked=True, of=("self",))
        found: Export | None = due.order_by("pk").first()
        if found is None:
            return None
        Export.objects.filter(pk=found.pk).update(
            state=ExportState.RUNNING,
            attempt=F("attempt") + 1,
            lease_until=Now() + LEASE,
            started_at=Now(),
            rows_done=0,
            rejected=0,
        )
    return Export.objects.select_related("version__dataset__project").get(pk=found.pk)


def _held(export: Export) -> Any:
    return Export.objects.filter(pk=export.pk, attempt=export.attempt, state=ExportState.RUNNING)


# --- Writing -----------------------------------------------------------------------------------


def _beat(export: Export, rows: int) -> None:
    if not _held(export).update(lease_until=Now() + LEASE, rows_done=rows):
        raise Superseded


def _run(export: Export) -> None:
    # On the disk of the stored files: there is room for as much as may be stored.
    with tempfile.TemporaryDirectory(dir=settings.FILE_UPLOAD_TEMP_DIR, prefix="export-") as name:
        writer = ExportWriter(export, Path(name), lambda rows: _beat(export, rows))
        path, filename = writer.write()
        digest = _sha256(path)
        if not writer.written:
            _held(export).update(rows_done=0, rejected=len(writer.rejects))
            raise Altered(
                f"None of the {writer.read:,} rows fits this shape: {writer.rejects[0].reason}"
                if writer.rejects
                else "The split is empty."
            )
        with path.open("rb") as opened:
            stored = create_file(
                project=export.version.dataset.project,
                upload=File(opened, name=filename),
                filename=filename,
                purpose=Purpose.FINE_TUNE,
                expires_s=KEPT_S,
            )
    changed = _held(export).update(
        state=ExportState.DONE,
        file=stored,
        sha256=digest,
        rows_done=writer.written,
        rejected=len(writer.rejects),
        ended_at=Now(),
        error="",
    )
    if not changed:
        raise Superseded
    log.info("export_done", export=export.public_id, rows=writer.written)


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_COPY_BYTES):
            found.update(block)
    return found.hexdigest()
