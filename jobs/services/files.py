"""Storing, finding and deleting files, and reading the content of either kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, Any

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from jobs.models import Batch, Project, Purpose, StoredFile
from jobs.result_lines import result_line
from jobs.services.limits import StorageFull, claim_room
from jobs.services.stored_bytes import READ_BYTES, open_bytes, remove_bytes

PAGE_ROWS = 500
# How much of a batch file is looked at before it is accepted.
START_BYTES = 4096
_BATCH_FORMAT = "Invalid file format for a batch: it must be .jsonl, one JSON object a line"


class GoneMeanwhile(Exception):
    """The batch was deleted while one of its files was being read."""


class InvalidFile(Exception):
    """An upload that cannot be what its purpose asks for; the message says why."""


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a file, to be streamed.

    `size` is None while it still grows; then `after` is the cursor from which to go on.
    """

    chunks: Iterator[bytes]
    size: int | None
    batch_state: str | None = None
    after: int | None = None


def visible_files(project: Project) -> QuerySet[StoredFile]:
    """Return the files that a project can see: neither deleted nor expired."""
    return (
        StoredFile.objects.filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now()),
            project=project,
            deleted_at__isnull=True,
        )
        # A result file lives from its batch's rows.
        .exclude(purpose=Purpose.BATCH_OUTPUT, output_of=None, errors_of=None)
        .select_related("output_of", "errors_of")
        .order_by("-id")
    )


def create_file(
    *, project: Project, upload: File[bytes], filename: str, purpose: str, expires_s: int | None
) -> StoredFile:
    """Store an upload; raises InvalidFile if it cannot be what its purpose asks for, and
    StorageFull if the project has no room for it.

    The bytes are renamed into place, not copied, or sent to S3 as they are read; the row is
    written after them: a crash in between leaves bytes that nobody knows, never a row without
    bytes.
    """
    check_upload(upload=upload, filename=filename, purpose=purpose)
    stored = file_to_be(
        project=project,
        purpose=purpose,
        filename=filename,
        size=upload.size,
        expires_s=expires_s,
    )
    key = stored.public_id.removeprefix("file-")
    stored.paths = [default_storage.save(f"uploads/{key[:2]}/{key}", upload)]
    try:
        with transaction.atomic():
            claim_room(project=project, size=stored.bytes)
            stored.save()
    except StorageFull:
        remove_bytes(stored.paths)
        raise
    return stored


def file_to_be(
    *, project: Project, purpose: str, filename: str, size: int, expires_s: int | None
) -> StoredFile:
    """Return the row of a file that is still to be saved, once its paths are known."""
    if expires_s is None and purpose == Purpose.BATCH:
        expires_s = settings.FILE_EXPIRES_S
    return StoredFile(
        project=project,
        purpose=purpose,
        filename=filename,
        bytes=size,
        expires_at=timezone.now() + timedelta(seconds=expires_s) if expires_s else None,
    )


def check_upload(*, upload: File[bytes], filename: str, purpose: str) -> None:
    """Raise InvalidFile for an empty file, or a batch file that cannot be JSONL."""
    if not upload.size:
        raise InvalidFile("The file is empty.")
    check_name(filename=filename, purpose=purpose)
    upload.seek(0)
    check_start(start=upload.read(START_BYTES), purpose=purpose)
    upload.seek(0)


def check_name(*, filename: str, purpose: str) -> None:
    """Raise InvalidFile for a batch file whose name is none of a JSONL file."""
    if purpose == Purpose.BATCH and not filename.lower().endswith(".jsonl"):
        raise InvalidFile(f"{_BATCH_FORMAT}; this file is named '{filename[-100:]}'.")


def check_start(*, start: bytes, purpose: str) -> None:
    """Raise InvalidFile for a batch file whose first START_BYTES cannot be those of JSONL."""
    if purpose != Purpose.BATCH:
        return
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if len(start) < START_BYTES and not text:
        raise InvalidFile("The file holds nothing but blank lines.")
    if text and not text.startswith(b"{"):
        raise InvalidFile(f"{_BATCH_FORMAT}; this file does not begin with '{{'.")


def delete_file(*, stored: StoredFile) -> None:
    """Hide a file at once and remove its bytes; live batches have their rows already.

    A batch that has not yet read its input keeps the bytes until it has.
    """
    with transaction.atomic():
        StoredFile.objects.filter(pk=stored.pk, deleted_at=None).update(deleted_at=timezone.now())
        # The file is gone for its owner, whatever the storage says.
        transaction.on_commit(lambda: drop_bytes(stored=stored), robust=True)


def drop_bytes(*, stored: StoredFile) -> bool:
    """Remove the bytes of a deleted file; False while a batch is still to read them."""
    if not stored.paths or Batch.objects.filter(input_file=stored, state="validating").exists():
        return False
    remove_bytes(stored.paths)
    # Afterwards: whoever is killed in between leaves them to the sweep.
    StoredFile.objects.filter(pk=stored.pk).update(paths=[])
    return True


def drop_deleted_input(*, batch_id: int) -> None:
    """Remove the bytes of an input that was deleted before its batch had read it."""
    batch = Batch.objects.select_related("input_file").filter(pk=batch_id).first()
    if batch and batch.input_file is not None and batch.input_file.deleted_at is not None:
        drop_bytes(stored=batch.input_file)


def file_size(stored: StoredFile) -> int:
    """Return the size in bytes, which for a result file is its batch's counter."""
    if stored.purpose != Purpose.BATCH_OUTPUT:
        return stored.bytes
    batch, is_output = _batch_of(stored)
    return batch.output_bytes if is_output else batch.error_bytes


def read_content(*, stored: StoredFile, after: int | None = None) -> Content:
    """Return a file's content, ready to stream.

    A result file of a live batch holds what has been committed, in the order of committing
    and only what came after the cursor `after`; that of an ended batch is whole and in the
    order of the input.
    """
    if stored.purpose != Purpose.BATCH_OUTPUT:
        return Content(_stored_bytes(stored), stored.bytes)
    batch, is_output = _batch_of(stored)
    if batch.is_live or after is not None:
        rows = _rows(batch, ok=is_output, column="a.seq", first=after or 0, last=batch.last_seq)
        return Content(rows, None, batch.state, batch.last_seq)
    rows = _rows(batch, ok=is_output, column="r.position", first=-1, last=batch.total)
    return Content(rows, batch.output_bytes if is_output else batch.error_bytes, batch.state)


def _batch_of(stored: StoredFile) -> tuple[Batch, bool]:
    """Return the batch of a result file, and whether it is the output or the error file."""
    output_of: Batch | None = getattr(stored, "output_of", None)
    if output_of is not None:
        return output_of, True
    errors_of: Batch = stored.errors_of
    return errors_of, False


def _stored_bytes(stored: StoredFile) -> Iterator[bytes]:
    """Open a file now, while its absence can still be answered, and return its blocks."""
    return _blocks(open_bytes(stored.paths))


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while block := file.read(READ_BYTES):
            yield block


_PAGE = {
    "a.seq": """
        SELECT a.seq, r.position, r.custom_id, a.status_code, a.body, a.error_code,
               a.error_message
        FROM jobs_batchresponse a JOIN jobs_batchrequest r ON r.id = a.request_id
        WHERE a.batch_id = %s AND a.ok = %s AND a.seq > %s AND a.seq <= %s
        ORDER BY a.seq LIMIT %s
    """,
    "r.position": """
        SELECT r.position, r.position, r.custom_id, a.status_code, a.body, a.error_code,
               a.error_message
        FROM jobs_batchrequest r JOIN jobs_batchresponse a ON a.request_id = r.id
        WHERE r.batch_id = %s AND a.ok = %s AND r.position > %s AND r.position <= %s
        ORDER BY r.position LIMIT %s
    """,
}


def _rows(batch: Batch, *, ok: bool, column: str, first: int, last: int) -> Iterator[bytes]:
    """Stream the lines page by page, so that no transaction stays open while a client reads."""
    cursor_at = first
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_PAGE[column], [batch.pk, ok, cursor_at, last, PAGE_ROWS])
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        if not rows:
            break
        yield b"".join(
            result_line(
                batch_public_id=batch.public_id,
                position=row[1],
                custom_id=row[2],
                status_code=row[3],
                body=bytes(row[4]),
                error_code=row[5],
                error_message=row[6],
            )
            for row in rows
        )
        cursor_at = rows[-1][0]
        if len(rows) < PAGE_ROWS:
            break
    # Rows go only after their batch is hidden: then the end may be missing, and the reader must
    # not take what he has for the whole.
    if not Batch.objects.filter(pk=batch.pk).exists():
        raise GoneMeanwhile(batch.public_id)
