"""Uploads in parts: taking the parts, and making a file of them without copying a byte."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import IO

import structlog
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import QuerySet, Sum
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models import Project, StoredFile, Upload, UploadPart
from jobs.services.files import START_BYTES, check_name, check_start, file_to_be
from jobs.services.limits import claim_room
from jobs.services.stored_bytes import READ_BYTES, StorageUnavailable, open_bytes, remove_bytes
from jobs.states import UploadState

log = structlog.get_logger()

LIFETIME_S = 3_600
PART_BYTES_MAX = 64 * 1024 * 1024
# Each is an object in the storage and a path in the row of the file.
PARTS_MAX = 1_000
# Removed at once, while the client waits; more of them are left to the sweep.
DROPPED_AT_ONCE = 50


class UploadClosed(Exception):
    """The upload is not pending any more; `state` says what became of it."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state


class OtherParts(Exception):
    """The upload was completed before, with other parts or in another order."""


class UnknownPart(Exception):
    """The project has no part of this id that waits to be used."""


class InvalidUpload(Exception):
    """Parts that do not make the file that was announced; `param` names what is wrong."""

    def __init__(self, message: str, *, param: str, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class _Lost(Exception):
    """The upload left `pending` meanwhile; the row of the file must go."""


def create_upload(
    *,
    project: Project,
    purpose: str,
    filename: str,
    mime_type: str,
    size: int,
    file_expires_s: int | None,
) -> Upload:
    """Announce a file of `size` bytes, and claim the room for it.

    Raises InvalidFile if its name is not one for its purpose, and StorageFull.
    """
    check_name(filename=filename, purpose=purpose)
    with transaction.atomic():
        claim_room(project=project, size=size)
        return Upload.objects.create(
            project=project,
            purpose=purpose,
            filename=filename,
            mime_type=mime_type,
            bytes=size,
            file_expires_s=file_expires_s,
            expires_at=timezone.now() + timedelta(seconds=LIFETIME_S),
        )


def state_of(upload: Upload) -> str:
    """Return the state that its owner sees: one that is too old has expired, swept or not."""
    if upload.state == UploadState.PENDING and upload.expires_at <= timezone.now():
        return UploadState.EXPIRED
    return upload.state


def add_part(*, upload: Upload, data: File[bytes]) -> UploadPart:
    """Store a part; the one that there is if the upload has these very bytes already.

    Raises UploadClosed or InvalidUpload. The row is written after the bytes: a crash in between
    leaves bytes that nobody knows, never a row without bytes.
    """
    if not data.size:
        raise InvalidUpload("The part is empty.", param="data", code="empty_part")
    data.seek(0)
    digest = _digest(data, "sha256")
    data.seek(0)
    part = UploadPart(upload=upload, bytes=data.size, sha256=digest)
    # Looked at without a lock, to spare the storage what will be refused or is there.
    known = _known_part(_pending(upload, Upload.objects.all()), part)
    if known is not None:
        return known
    part.path = default_storage.save(_path_of(part.public_id), data)
    try:
        saved = _save_part(part)
    except (UploadClosed, InvalidUpload):
        _forget(part.path)
        raise
    if saved is not part:
        _forget(part.path)
    return saved


def complete_upload(*, upload: Upload, part_ids: Sequence[str], md5: str | None) -> Upload:
    """Make the file out of the parts in this order, and return the upload as it is then.

    Raises UploadClosed, UnknownPart or InvalidUpload, and InvalidFile like an upload in one
    piece. Completing again with the same parts answers the same file; OtherParts with others.
    """
    try:
        stored = _complete(upload, part_ids, md5)
    except (_Lost, UnknownPart, FileNotFoundError) as error:
        # Somebody else may have been quicker: completed it as well, cancelled it, or swept it.
        upload.refresh_from_db()
        if upload.state == UploadState.COMPLETED:
            _check_same_parts(upload, part_ids)
            return upload
        if isinstance(error, _Lost) or upload.state != UploadState.PENDING:
            raise UploadClosed(_ended_as(upload.state)) from error
        if isinstance(error, FileNotFoundError):
            raise StorageUnavailable(f"A part of {upload.public_id} is away: {error}") from error
        raise
    log.info("upload_completed", upload=upload.public_id, file=stored.public_id)
    drop_leftovers(upload=upload)
    upload.refresh_from_db()
    return upload


def cancel_upload(*, upload: Upload) -> Upload:
    """Give the upload up and remove its parts; UploadClosed if it ended otherwise."""
    # One that has expired stays so, though no sweep has told it yet.
    pending = Upload.objects.filter(pk=upload.pk, state=UploadState.PENDING, expires_at__gt=Now())
    if pending.update(state=UploadState.CANCELLED):
        log.info("upload_cancelled", upload=upload.public_id)
        drop_leftovers(upload=upload)
    upload.refresh_from_db()
    if upload.state != UploadState.CANCELLED:
        raise UploadClosed(_ended_as(upload.state))
    return upload


def expire_uploads(*, pks: Sequence[int], now: datetime) -> None:
    """Mark those that are still pending, and too old, as expired."""
    Upload.objects.filter(pk__in=pks, state=UploadState.PENDING, expires_at__lte=now).update(
        state=UploadState.EXPIRED
    )


def leftover_parts() -> QuerySet[UploadPart]:
    """Return the parts of which no file will be made.

    One statement, so one snapshot: the parts of an upload that is being completed are seen with
    it pending, or they have passed to the file and are no parts any more.
    """
    return UploadPart.objects.exclude(upload__state=UploadState.PENDING)


def drop_leftovers(*, upload: Upload) -> None:
    """Remove parts of an upload that has ended, bytes first; the sweep has the rest.

    Not in a transaction. A storage that does not answer is the sweep's affair.
    """
    parts = list(leftover_parts().filter(upload=upload).order_by("pk")[:DROPPED_AT_ONCE])
    with suppress(OSError):
        remove_bytes([part.path for part in parts])
        UploadPart.objects.filter(pk__in=[part.pk for part in parts]).delete()


def _save_part(part: UploadPart) -> UploadPart:
    with transaction.atomic():
        # Two parts at once must not both find room for themselves; nor may one come in while
        # the upload is completed, cancelled or expired.
        upload = _pending(part.upload, Upload.objects.select_for_update(no_key=True))
        known = _known_part(upload, part)
        if known is not None:
            return known
        part.save()
    return part


def _pending(upload: Upload, uploads: QuerySet[Upload]) -> Upload:
    """Return the upload as it is now, or raise UploadClosed."""
    found = uploads.filter(pk=upload.pk, state=UploadState.PENDING, expires_at__gt=Now()).first()
    if found is None:
        state = Upload.objects.filter(pk=upload.pk).values_list("state", flat=True).first()
        raise UploadClosed(_ended_as(state))
    return found


def _ended_as(state: str | None) -> str:
    """Say how an upload ended of which the database said that it is not open any more."""
    return UploadState.EXPIRED if state in (None, UploadState.PENDING) else str(state)


def _forget(path: str) -> None:
    # What the storage does not remove now, the sweep finds: nobody names it.
    with suppress(OSError):
        remove_bytes([path])


def _known_part(upload: Upload, part: UploadPart) -> UploadPart | None:
    """Return the part of the same bytes; if there is none, InvalidUpload without room for it."""
    known = upload.parts.filter(sha256=part.sha256).first()
    if known is not None:
        return known
    arrived = upload.parts.aggregate(sum=Sum("bytes"))["sum"] or 0
    if arrived + part.bytes > upload.bytes:
        raise InvalidUpload(
            f"The parts are more than was announced: {upload.bytes:,} bytes in all, of which "
            f"{arrived:,} have arrived, and this part has {part.bytes:,}. GET /v1/uploads/"
            f"{upload.public_id} lists what has arrived.",
            param="data",
            code="too_many_bytes",
        )
    if upload.parts.count() >= PARTS_MAX:
        raise InvalidUpload(
            f"The upload has {PARTS_MAX:,} parts already; no more are allowed. Send larger ones.",
            param="data",
            code="too_many_parts",
        )
    return None


def _complete(upload: Upload, part_ids: Sequence[str], md5: str | None) -> StoredFile:
    if state_of(upload) != UploadState.PENDING:
        raise _Lost
    parts = _named_parts(upload, part_ids)
    size = sum(part.bytes for part in parts)
    if size != upload.bytes:
        raise InvalidUpload(
            f"The parts hold {size:,} bytes, and {upload.bytes:,} were announced.",
            param="part_ids",
            code="bytes_mismatch",
        )
    stored = file_to_be(
        project=upload.project,
        purpose=upload.purpose,
        filename=upload.filename,
        size=size,
        expires_s=upload.file_expires_s,
    )
    stored.paths = [part.path for part in parts]
    _check_content(stored, md5)
    with transaction.atomic():
        stored.save()
        # Of two who complete, or one who cancels meanwhile, one gets through here.
        moved = Upload.objects.filter(
            pk=upload.pk, state=UploadState.PENDING, expires_at__gt=Now()
        ).update(state=UploadState.COMPLETED, file=stored)
        if not moved:
            raise _Lost
        # The paths pass to the file: what is left with the upload is to be swept.
        UploadPart.objects.filter(pk__in={part.pk for part in parts}).delete()
    return stored


def _named_parts(upload: Upload, part_ids: Sequence[str]) -> list[UploadPart]:
    of_project = UploadPart.objects.filter(
        public_id__in=set(part_ids), upload__project=upload.project_id
    )
    found = {part.public_id: part for part in of_project}
    for part_id in part_ids:
        if part_id not in found:
            raise UnknownPart(part_id)
        if found[part_id].upload_id != upload.pk:
            raise InvalidUpload(
                f"The part '{part_id}' belongs to another upload.",
                param="part_ids",
            )
    return [found[part_id] for part_id in part_ids]


def _check_same_parts(upload: Upload, part_ids: Sequence[str]) -> None:
    # A file that was deleted meanwhile has no paths any more, and nothing to compare.
    if upload.file and upload.file.paths not in ([], [_path_of(part_id) for part_id in part_ids]):
        raise OtherParts(upload.public_id)


def _check_content(stored: StoredFile, md5: str | None) -> None:
    """Look at the joined bytes, in no transaction: reading them all may take a while."""
    with open_bytes(stored.paths) as file:
        check_start(start=file.read(START_BYTES), purpose=stored.purpose)
    if md5 is None:
        return
    with open_bytes(stored.paths) as file:
        found = _digest(file, "md5")
    if found != md5.lower():
        raise InvalidUpload(
            f"The parts, joined in this order, have the MD5 checksum {found}, and not {md5}.",
            param="md5",
            code="checksum_mismatch",
        )


def _digest(file: IO[bytes] | File[bytes], kind: str) -> str:
    digest = hashlib.new(kind, usedforsecurity=False)
    while block := file.read(READ_BYTES):
        digest.update(block)
    return digest.hexdigest()


def _path_of(part_id: str) -> str:
    key = part_id.removeprefix("part_")
    return f"uploads/{key[:2]}/{key}"
