"""Exports: a version written in one shape, in the background, to a file of the project."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import structlog
from django.conf import settings
from django.core.files.base import File
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django_q.tasks import async_task

from curation.examples import Example
from curation.models import DatasetRow, DatasetVersion, Export, ExportState, VersionState
from curation.services.dataset_build import row_digest
from curation.services.datasets import CONTROL
from curation.services.gold_export import read_examples
from curation.shapes import Reject, Shape, Tally, find_shape
from curation.shapes.parquet import write_parquet
from curation.shapes.table import encode_cells
from curation.splits import read_splits
from jobs.models import Purpose
from jobs.services.audit import current_actor
from jobs.services.files import create_file
from jobs.services.limits import StorageFull

log = structlog.get_logger()

PARQUET = "parquet"
LEASE = timedelta(seconds=60)
ROWS_AT_ONCE = 250
BEAT_ROWS = 2_500
# The file of an export goes after so long; the version gives the same bytes again.
KEPT_S = 30 * 86_400
# In a zip, so that the same files give the same bytes.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_COPY_BYTES = 1 << 20


class CannotExport(Exception):
    """The version cannot be exported so; the message says why."""


class Superseded(Exception):
    """Another run has taken the work over, or the version was discarded."""


class Altered(Exception):
    """A row is not what it was when the version was made."""


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


def version_examples(
    version: DatasetVersion, split: str, tally: Tally, beat: Callable[[int], None]
) -> Iterator[Example]:
    """Yield the examples of a split in their order; of an empty name, all of them.

    Each row is compared with its digest: Altered if it is another one by now.
    """
    return read_examples(_rows(version, split, beat), tally)


def _rows(version: DatasetVersion, split: str, beat: Callable[[int], None]) -> Iterator[Any]:
    rows = DatasetRow.objects.filter(version=version).order_by("position")
    if split:
        rows = rows.filter(split=split)
    last, read = -1, 0
    while found := list(rows.filter(position__gt=last)[:ROWS_AT_ONCE]):
        last = found[-1].position
        for row in found:
            if row_digest(row) != bytes(row.digest):
                raise Altered(f"Row {row.position} is not what it was when the version was made.")
            yield row
        read += len(found)
        if read % BEAT_ROWS < ROWS_AT_ONCE:
            beat(len(found))


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
class _Writer:
    """Writes one export into a folder of its own, and tells how far it is."""

    def __init__(self, export: Export, folder: Path) -> None:
        self.export = export
        self.folder = folder
        self.read = 0
        self.written = 0
        self.rejects: list[Reject] = []

    def examples(self, split: str, tally: Tally) -> Iterator[Example]:
        for example in version_examples(self.export.version, split, tally, self._beat):
            self.read += 1
            yield example

    def _beat(self, _: int) -> None:
        changed = _held(self.export).update(lease_until=Now() + LEASE, rows_done=self.read)
        if not changed:
            raise Superseded

    def write(self) -> tuple[Path, str]:
        """Return the file, and the name under which it is downloaded."""
        export = self.export
        stem = f"{_slug(export.version.dataset.name)}-v{export.version.number}-{export.shape}"
        if export.shape == PARQUET:
            return self._write_parquet(), f"{stem}.zip"
        shape = find_shape(export.shape)
        assert shape is not None
        if export.split:
            path = self.folder / f"rows.{shape.extension}"
            with path.open("wb") as file:
                self._write_split(shape, export.split, file)
            return path, f"{stem}-{export.split}.{shape.extension}"
        return self._write_zip(shape), f"{stem}.zip"

    def _write_split(self, shape: Shape, split: str, file: IO[bytes]) -> int:
        tally = Tally()
        for piece in shape.write(self.examples(split, tally), tally):
            file.write(piece)
        self.rejects += tally.rejects
        self.written += tally.rows
        return tally.rows

    def _write_zip(self, shape: Shape) -> Path:
        path = self.folder / "rows.zip"
        rows: dict[str, int] = {}
        with zipfile.ZipFile(path, "w") as packed:
            for split in _splits(self.export.version):
                entry = _entry(f"{split}.{shape.extension}")
                with packed.open(entry, "w", force_zip64=True) as file:
                    rows[split] = self._write_split(shape, split, file)
            self._add_sidecars(packed, rows)
        return path

    def _write_parquet(self) -> Path:
        version = self.export.version
        folder = self.folder / "set"
        tallies = {split: Tally() for split in _splits(version)}
        examples = {split: self.examples(split, tally) for split, tally in tallies.items()}
        written = write_parquet(
            folder, splits=examples, name=version.dataset.name, about=_about(version)
        )
        for tally in (*tallies.values(), *written.values()):
            self.rejects += tally.rejects
            self.written += tally.rows
        path = self.folder / "rows.zip"
        with zipfile.ZipFile(path, "w") as packed:
            for file in sorted(one for one in folder.rglob("*") if one.is_file()):
                entry = _entry(file.relative_to(folder).as_posix())
                with file.open("rb") as source, packed.open(entry, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target, _COPY_BYTES)
            self._add_sidecars(packed, {name: tally.rows for name, tally in written.items()})
        return path

    def _add_sidecars(self, packed: zipfile.ZipFile, rows: dict[str, int]) -> None:
        version = self.export.version
        manifest = {
            "dataset": version.dataset.name,
            "version": version.number,
            "sha256": version.sha256,
            "frozen": version.state == VersionState.FROZEN,
            "shape": self.export.shape,
            "plan": version.plan,
            "rows": rows,
            "rejected": len(self.rejects),
        }
        text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False)
        packed.writestr(_entry("manifest.json"), text.encode())
        table = b"".join(rejects_table(self.rejects))
        packed.writestr(_entry("rejects.csv"), table)


def rejects_table(rejects: Iterable[Any]) -> Iterator[bytes]:
    """Yield the table of what is not among the rows, and why."""
    yield encode_cells(("id", "batch_id", "custom_id", "code", "reason"))
    for one in rejects:
        yield encode_cells((one.id, one.batch_id, one.custom_id, one.code, one.reason))


def _run(export: Export) -> None:
    # On the disk of the stored files: there is room for as much as may be stored.
    with tempfile.TemporaryDirectory(dir=settings.FILE_UPLOAD_TEMP_DIR, prefix="export-") as name:
        writer = _Writer(export, Path(name))
        path, filename = writer.write()
        digest = _sha256(path)
        if not path.stat().st_size:
            raise Altered("No row of the version fits this shape, so there is no file.")
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


def _splits(version: DatasetVersion) -> list[str]:
    return [one.name for one in read_splits(version.plan["splits"])]


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _ZIP_TIME)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _slug(name: str) -> str:
    plain = "".join(one if one.isalnum() and one.isascii() else "-" for one in name.lower())
    return "-".join(part for part in plain.split("-") if part)[:60] or "data-set"


def _about(version: DatasetVersion) -> str:
    return (
        f"{version.dataset.description}\n\nVersion {version.number}, content SHA-256 "
        f"`{version.sha256}`. Made by vbatch from gold stars: answers that people rated, and "
        "partly edited. `messages` is the whole conversation, `prompt` and `completion` its two "
        "parts, `original_completion` the answer before an edit; tools and provenance are JSON."
    ).strip()


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_COPY_BYTES):
            found.update(block)
    return found.hexdigest()
