"""Making a batch once, however often the client asks for it."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from django.db import connection
from django.utils import timezone

from jobs.models import Batch, Project

# How long after its creation the openai client may still repeat a create whose answer was lost.
REPEAT_WINDOW_S = 900


class IdempotencyConflict(Exception):
    """The idempotency key was used before, with another body."""


def find_created(
    *, project: Project, digest: bytes, idempotency_key: str | None, is_repeat: bool
) -> Batch | None:
    """Return the batch that an earlier request of the same order made; None if there is none.

    The same `idempotency_key` gives the same batch again, or IdempotencyConflict if `digest`, of
    what is asked for, differs. `is_repeat` says that the client sends an order again because its
    answer was lost: then a batch of the same order that was made moments ago is the answer. To be
    called in the transaction that makes the batch: it holds off whoever asks for the same.
    """
    _lock(project, digest if idempotency_key is None else idempotency_key.encode())
    batches = Batch.objects.filter(project=project)
    if idempotency_key is not None:
        batch = batches.filter(idempotency_key=idempotency_key).first()
        if batch is not None and bytes(batch.create_digest) != digest:
            raise IdempotencyConflict(idempotency_key)
        return batch
    if not is_repeat:
        return None
    since = timezone.now() - timedelta(seconds=REPEAT_WINDOW_S)
    return batches.filter(create_digest=digest, created_at__gte=since).order_by("-id").first()


def _lock(project: Project, what: bytes) -> None:
    """Let requests for one order, or with one key, come one after the other."""
    key = hashlib.sha256(b"%d %b" % (project.pk, what)).digest()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [int.from_bytes(key[:8], signed=True)])
