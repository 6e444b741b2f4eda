"""What a project may take: live batches, queued lines and tokens, stored bytes."""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings
from django.db import connection
from django.db.models import Count, F, Q, Sum
from django.db.models.functions import Greatest
from django.utils import timezone

from jobs.models import Batch, Project, Purpose, StoredFile, Upload
from jobs.states import LIVE_STATES, UploadState

# Fields of a project; the setting that stands in for an empty one has the name in capitals.
PROJECT_LIMITS = (
    "max_live_batches",
    "max_queued_requests",
    "max_queued_tokens",
    "max_stored_bytes",
)


# What a project takes now; each figure under the name of its limit.
Use = dict[str, int]


class LimitReached(Exception):
    """More than the project may take; the message says the limit, what is taken, what to do.

    `code` is that of the API's error, or of the finding.
    """

    code = ""


class TooManyLiveBatches(LimitReached):
    """No further batch may be created until one has ended."""

    code = "live_batch_limit_exceeded"


class StorageFull(LimitReached):
    """The project's files leave no room for one more."""


class QueueFull(LimitReached):
    """The lines of a batch do not fit into the queue."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def limit_of(project: Project, name: str) -> int | None:
    """Return the limit `name` (of PROJECT_LIMITS) as it holds for a project, None if none."""
    own: int | None = getattr(project, name)
    found: int = getattr(settings, name.upper()) if own is None else own
    return found or None


def default_limits() -> dict[str, int | None]:
    """Return what holds for a project and a key that say nothing themselves."""
    names = ("requests_per_minute", *PROJECT_LIMITS)
    return {name: getattr(settings, name.upper()) or None for name in names}


def claim_live_batch(*, project: Project) -> None:
    """Raise TooManyLiveBatches if the project may have no further one.

    To be called in the transaction that creates the batch.
    """
    held = _hold(project, "max_live_batches")
    limit = limit_of(held, "max_live_batches") if held else None
    if limit is None:
        return
    live = Batch.objects.filter(project=project, state__in=LIVE_STATES).count()
    if live >= limit:
        raise TooManyLiveBatches(
            f"This project has {live:,} batches that have not ended, and may have {limit:,} at "
            "a time. Wait until one has ended, or cancel one; or put more lines into one batch."
        )


def claim_queue(*, project: Project, requests: int, tokens: int) -> None:
    """Raise QueueFull if so many more lines, or tokens by estimate, are too much for the queue.

    To be called in the transaction that makes the lines wait, as late in it as can be.
    """
    held = _hold(project, "max_queued_requests", "max_queued_tokens")
    if not held:
        return
    use = _queue_use([held])[held.pk]
    for name, more, code, what in (
        ("max_queued_requests", requests, "request_limit_exceeded", "requests"),
        ("max_queued_tokens", tokens, "token_limit_exceeded", "tokens"),
    ):
        limit = limit_of(held, name)
        if limit is None or use[name] + more <= limit:
            continue
        todo = "Split the input file"
        if more <= limit:
            todo = "Try again once some of its batches have been completed"
        raise QueueFull(
            code,
            f"Enqueued {what.removesuffix('s')} limit reached for project '{held.name}'. Limit: "
            f"{limit:,} enqueued {what}; {use[name]:,} are enqueued, and this batch has {more:,}. "
            f"{todo}.",
        )


def check_room(*, project: Project, size: int) -> None:
    """Raise StorageFull if `size` more bytes do not fit now; claims nothing.

    For refusing an upload before its bytes are read: of two at once both may pass here.
    """
    limit = limit_of(project, "max_stored_bytes")
    if limit is None:
        return
    used = _stored_use([project])[project.pk]["max_stored_bytes"]
    if used + size > limit:
        raise StorageFull(
            f"The files of this project may take {limit:,} bytes. They take {used:,}, and this "
            f"one has {size:,}. Delete files that are no longer needed."
        )


def claim_room(*, project: Project, size: int) -> None:
    """Raise StorageFull if a file or upload of `size` bytes does not fit.

    To be called in the transaction that writes its row, after all input and output.
    """
    held = _hold(project, "max_stored_bytes")
    if held:
        check_room(project=held, size=size)


def use_of(projects: Iterable[Project]) -> dict[int, Use]:
    """Return what each project takes now, by its primary key."""
    known = list(projects)
    found = _queue_use(known)
    for pk, use in _stored_use(known).items():
        found[pk] |= use
    return found


def _hold(project: Project, *names: str) -> Project | None:
    """Lock the project's row, if it has one of these limits, and return it as it is now.

    Of two who take from one limit the second waits here, and then counts what the first took.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("A limit must be claimed in a transaction.")
    if all(limit_of(project, name) is None for name in names):
        return None
    return Project.objects.select_for_update(no_key=True).get(pk=project.pk)


def _queue_use(projects: list[Project]) -> dict[int, Use]:
    found = {project.pk: dict.fromkeys(PROJECT_LIMITS[:3], 0) for project in projects}
    left = F("total") - F("completed") - F("failed")
    rows = (
        Batch.objects.filter(project__in=projects, state__in=LIVE_STATES)
        .values_list("project_id")
        .annotate(
            live=Count("pk"),
            lines=Sum(left),
            tokens=Sum(F("estimated_tokens") * left / Greatest(F("total"), 1)),
        )
    )
    for pk, *amounts in rows:
        found[pk] = dict(zip(PROJECT_LIMITS[:3], map(int, amounts), strict=True))
    return found


def _stored_use(projects: list[Project]) -> dict[int, Use]:
    """Count files that can be seen, and uploads in parts as large as they were announced."""
    found = {project.pk: {"max_stored_bytes": 0} for project in projects}
    now = timezone.now()
    files = StoredFile.objects.filter(
        Q(expires_at=None) | Q(expires_at__gt=now), project__in=projects, deleted_at=None
    ).exclude(purpose=Purpose.BATCH_OUTPUT)
    pending = Upload.objects.filter(
        project__in=projects, state=UploadState.PENDING, expires_at__gt=now
    )
    for rows in (files, pending):
        for pk, size in rows.order_by().values_list("project_id").annotate(Sum("bytes")):
            found[pk]["max_stored_bytes"] += int(size)
    return found
