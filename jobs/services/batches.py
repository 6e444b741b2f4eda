"""Creating batches, cancelling them, and settling those that end before every line is answered."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from django_q.tasks import async_task

from jobs.jsonl import MORE_ERRORS
from jobs.models import Batch, BatchEvent, Chunk, Project, StoredFile, Suspect
from jobs.result_lines import result_line
from jobs.services.audit import note_deed
from jobs.services.fleet import any_worker_alive
from jobs.services.limits import claim_live_batch
from jobs.services.result_files import create_result_files
from jobs.services.transitions import REASON_MAX, move_batch
from jobs.states import CANCELLABLE_STATES, LIVE_STATES, BatchState

# How long a lane may take to hand in what it finished before a cancelled batch is settled.
SETTLE_AFTER_S = 3
# How long after its creation the openai client may still repeat a create whose answer was lost.
REPEAT_WINDOW_S = 900

COMPLETION_WINDOW_S = {"24h": 86_400}
_UNITS_S = {"m": 60, "h": 3_600, "d": 86_400}


class IdempotencyConflict(Exception):
    """The idempotency key was used before, with another body."""


class CannotCancel(Exception):
    """The batch has ended; `state` says how."""

    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state


@dataclass(frozen=True, kw_only=True)
class BatchOrder:
    """What a client asks for; checked by the API before it comes here."""

    endpoint: str
    completion_window: str
    input_file_id: str
    metadata: dict[str, str] | None = None
    priority: int = 0
    webhook_url: str = ""
    output_expires_after_s: int | None = None

    def digest(self) -> bytes:
        return hashlib.sha256(json.dumps(vars(self), sort_keys=True).encode()).digest()


def window_seconds(window: str) -> int:
    """Return the length of a completion window such as `24h`; ValueError if it is none."""
    number, unit = window[:-1], window[-1:]
    if unit not in _UNITS_S or not number.isdigit() or int(number) == 0:
        raise ValueError(f"'{window}' is not a number and one of m, h, d")
    return int(number) * _UNITS_S[unit]


def create_batch(
    *,
    project: Project,
    order: BatchOrder,
    idempotency_key: str | None = None,
    is_repeat: bool = False,
) -> Batch:
    """Create a batch and ring for its validation.

    The same `idempotency_key` gives the same batch again, or IdempotencyConflict if the order
    differs. `is_repeat` says that the client sends an order again because its answer was lost:
    then a batch of the same order that was made moments ago is the answer. TooManyLiveBatches
    where the project may have no further one.
    """
    digest = order.digest()
    with transaction.atomic():
        # A create that comes again while the first is still at work waits for it here.
        _lock_creates(project, digest if idempotency_key is None else idempotency_key.encode())
        known = _known_batch(project, digest, idempotency_key, is_repeat)
        if known is not None:
            return known
        claim_live_batch(project=project)
        now = timezone.now()
        stored = StoredFile.objects.filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=now),
            project=project,
            public_id=order.input_file_id,
            deleted_at__isnull=True,
        ).first()
        batch = Batch.objects.create(
            project=project,
            endpoint=order.endpoint,
            completion_window=order.completion_window,
            metadata=order.metadata,
            priority=order.priority,
            webhook_url=order.webhook_url,
            input_file_public_id=order.input_file_id,
            input_file=stored,
            output_expires_after_s=order.output_expires_after_s,
            created_at=now,
            expires_at=now + timedelta(seconds=window_seconds(order.completion_window)),
            idempotency_key=idempotency_key,
            create_digest=digest,
        )
        BatchEvent.objects.create(batch=batch, new_state=batch.state, created_at=Now())
        note_deed(
            action="batch.create",
            target=batch.public_id,
            project=project,
            endpoint=order.endpoint,
            input_file_id=order.input_file_id,
        )
        # In the transaction: the message exists if and only if the batch does.
        async_task("jobs.tasks.validate", batch.pk, cluster="control")
    return batch


def _lock_creates(project: Project, what: bytes) -> None:
    """Let creates of one order, or with one key, come one after the other."""
    key = hashlib.sha256(b"%d %b" % (project.pk, what)).digest()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [int.from_bytes(key[:8], signed=True)])


def _known_batch(
    project: Project, digest: bytes, idempotency_key: str | None, is_repeat: bool
) -> Batch | None:
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


def cancel_batch(*, batch: Batch, reason: str = "") -> None:
    """Ask for the end of a batch; what is finished is kept.

    Lanes see it within a second and hand in what they have; then the sweep has the rest
    answered. With no worker alive it is settled here and now. Raises CannotCancel if the batch has
    ended otherwise; cancelling twice changes nothing.
    """
    for old in CANCELLABLE_STATES:
        with transaction.atomic():
            if move_batch(batch=batch, old=old, new=BatchState.CANCELLING, reason=reason):
                note_deed(
                    action="batch.cancel",
                    target=batch.public_id,
                    project_id=batch.project_id,
                    status=str(old),
                )
                break
    batch.refresh_from_db()
    if batch.state not in (BatchState.CANCELLING, BatchState.CANCELLED):
        raise CannotCancel(batch.state)
    if batch.state == BatchState.CANCELLING and not any_worker_alive():
        settle_batch(batch_id=batch.pk)
        batch.refresh_from_db()


def fail_batch(*, batch: Batch, findings: list[Any], unlisted: int = 0) -> bool:
    """End a batch whose input cannot be accepted; False if it was not validating any more.

    `unlisted` says how many findings there are beyond those in `findings`.
    """
    with transaction.atomic():
        return move_batch(
            batch=batch,
            old=BatchState.VALIDATING,
            new=BatchState.FAILED,
            reason=_reason_of(findings, unlisted),
            findings=findings,
        )


def _reason_of(findings: list[Any], unlisted: int) -> str:
    """Say the first finding with its line, and how many more there are."""
    made = [finding for finding in findings if finding["code"] != MORE_ERRORS]
    if not made:
        return ""
    first = str(made[0]["message"])
    if made[0]["line"] is not None:
        first = f"Line {made[0]['line']}: {first}"
    others = len(made) - 1 + unlisted
    more = f" (and {others:,} more)" if others else ""
    # A long message gives way, so that the number behind it is not cut off.
    room = REASON_MAX - len(more)
    return (first if len(first) <= room else f"{first[: room - 1]}…") + more


def overdue_batches() -> list[int]:
    """Return the ids of batches that must be settled now: cancelled a while ago, or expired.

    Asked by the sweep, and by whoever reads a batch, so that a batch ends in time although no
    worker is alive.
    """
    settle_before = timezone.now() - timedelta(seconds=SETTLE_AFTER_S)
    late = Q(state=BatchState.CANCELLING, cancelling_at__lt=settle_before)
    expired = Q(
        state__in=(BatchState.IN_PROGRESS, BatchState.VALIDATING), expires_at__lt=timezone.now()
    )
    return list(
        Batch.objects.filter(late | expired, state__in=LIVE_STATES).values_list("pk", flat=True)
    )


def settle_batch(*, batch_id: int, wait: bool = True) -> bool:
    """End a batch that is being cancelled or has expired; False if it is neither.

    Lines without a response get one that says so. Deleting the chunks first takes every lane's
    claim away, so nothing can be committed afterwards. With `wait` off, a batch that somebody
    else is busy with is left to him.
    """
    with transaction.atomic():
        batch = (
            Batch.objects.filter(pk=batch_id)
            .select_for_update(no_key=True, skip_locked=not wait)
            .first()
        )
        if batch is None:
            return False
        if batch.state == BatchState.CANCELLING:
            old, new, code = BatchState.CANCELLING, BatchState.CANCELLED, "batch_cancelled"
            message = "This request was not finished before its batch was cancelled."
        elif batch.expires_at > timezone.now():
            return False
        elif batch.state == BatchState.IN_PROGRESS:
            old, new, code = BatchState.IN_PROGRESS, BatchState.EXPIRED, "batch_expired"
            message = "This request was not finished before its batch expired."
        elif batch.state == BatchState.VALIDATING:
            finding = {
                "code": "batch_expired",
                "message": "The batch expired before its input file could be validated.",
                "param": None,
                "line": None,
            }
            return fail_batch(batch=batch, findings=[finding])
        else:
            return False
        Chunk.objects.filter(batch=batch).delete()
        Suspect.objects.filter(batch=batch).delete()
        _answer_the_rest(batch, code=code, message=message)
        return move_batch(batch=batch, old=old, new=new)


_REST = """
INSERT INTO jobs_batchresponse (
    request_id, batch_id, seq, ok, body, text, finish_reason, input_tokens, cached_tokens,
    output_tokens, reasoning_tokens, error_code, error_message, created_at)
SELECT r.id, r.batch_id, %s + row_number() OVER (ORDER BY r.position), false, '', '', '', 0, 0,
    0, 0, %s, %s, clock_timestamp()
FROM jobs_batchrequest r
WHERE r.batch_id = %s
  AND NOT EXISTS (SELECT FROM jobs_batchresponse a WHERE a.request_id = r.id)
RETURNING request_id
"""


def _answer_the_rest(batch: Batch, *, code: str, message: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH rest AS ({_REST})
            SELECT r.position, r.custom_id FROM jobs_batchrequest r
            JOIN rest ON rest.request_id = r.id
            """,
            [batch.last_seq, code, message, batch.pk],
        )
        count = size = 0
        for position, custom_id in cursor:
            count += 1
            size += len(
                result_line(
                    batch_public_id=batch.public_id,
                    position=position,
                    custom_id=custom_id,
                    status_code=None,
                    body=b"",
                    error_code=code,
                    error_message=message,
                )
            )
    if not count:
        return
    create_result_files(batch=batch, has_output=False, has_errors=True)
    Batch.objects.filter(pk=batch.pk).update(
        error_file=batch.error_file_id,
        failed=F("failed") + count,
        error_bytes=F("error_bytes") + size,
        last_seq=F("last_seq") + count,
    )


def completion_windows() -> dict[str, int]:
    """Return the windows that may be asked for, with their length in seconds."""
    extra = {window: window_seconds(window) for window in settings.EXTRA_COMPLETION_WINDOWS}
    return {**COMPLETION_WINDOW_S, **extra}
