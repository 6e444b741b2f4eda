"""Creating batches, cancelling them, and settling those that end before every line is answered."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from django_q.tasks import async_task

from jobs.jsonl import MORE_ERRORS
from jobs.line_rules import ENDPOINTS
from jobs.models import Batch, BatchEvent, Chunk, Project, StoredFile, Suspect
from jobs.prepared import Prepared
from jobs.services.audit import note_deed
from jobs.services.creating_once import find_created
from jobs.services.fleet import any_worker_alive
from jobs.services.limits import claim_live_batch
from jobs.services.transitions import REASON_MAX, move_batch
from jobs.services.unanswered import answer_the_rest
from jobs.states import CANCELLABLE_STATES, LIVE_STATES, BatchState, RequestOrder

# How long a lane may take to hand in what it finished before a cancelled batch is settled.
SETTLE_AFTER_S = 3

# The finding of a batch that expired before its input was read.
EXPIRED_UNREAD = "batch_expired"

COMPLETION_WINDOW_S = {"24h": 86_400}
METADATA_PAIRS_MAX = 16
METADATA_KEY_MAX = 64
METADATA_VALUE_MAX = 512
WEBHOOK_URL_MAX = 2_000
_UNITS_S = {"m": 60, "h": 3_600, "d": 86_400}


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
    request_order: str = RequestOrder.AUTO
    # None is as the operator has set it.
    reuse_answers: bool | None = None

    def digest(self) -> bytes:
        asked = vars(self).copy()
        # These came later: an order that does not name them is the same as it was before.
        for name, default in (("request_order", RequestOrder.AUTO), ("reuse_answers", None)):
            if asked[name] == default:
                del asked[name]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()


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
    digest: bytes | None = None,
    reason: str = "",
) -> Batch:
    """Create a batch and ring for its validation.

    An order that was asked for before, as `find_created` tells, gives the same batch again.
    `digest` stands for what was asked where the input file was made for this batch. Raises
    TooManyLiveBatches where the project may have no further one.
    """
    digest = digest or order.digest()
    with transaction.atomic():
        # A create that comes again while the first is still at work waits for it here.
        known = find_created(
            project=project, digest=digest, idempotency_key=idempotency_key, is_repeat=is_repeat
        )
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
            request_order=order.request_order,
            reuse_answers=(
                settings.REUSE_ANSWERS if order.reuse_answers is None else order.reuse_answers
            ),
            created_at=now,
            expires_at=now + timedelta(seconds=window_seconds(order.completion_window)),
            idempotency_key=idempotency_key,
            create_digest=digest,
        )
        BatchEvent.objects.create(
            batch=batch, new_state=batch.state, reason=reason[:REASON_MAX], created_at=Now()
        )
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
    now = timezone.now()
    found = _OVERDUE.fetch(now=now, settle_before=now - timedelta(seconds=SETTLE_AFTER_S))
    return [pk for (pk,) in found]


def _overdue(*, now: datetime, settle_before: datetime) -> QuerySet[Batch, int]:
    late = Q(state=BatchState.CANCELLING, cancelling_at__lt=settle_before)
    expired = Q(state__in=(BatchState.IN_PROGRESS, BatchState.VALIDATING), expires_at__lt=now)
    due = Batch.objects.filter(late | expired, state__in=LIVE_STATES)
    return due.values_list("pk", flat=True)


_OVERDUE = Prepared(
    _overdue, now=datetime(1, 1, 1, tzinfo=UTC), settle_before=datetime(2, 1, 1, tzinfo=UTC)
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
                "code": EXPIRED_UNREAD,
                "message": "The batch expired before its input file could be validated.",
                "param": None,
                "line": None,
            }
            return fail_batch(batch=batch, findings=[finding])
        else:
            return False
        Chunk.objects.filter(batch=batch).delete()
        Suspect.objects.filter(batch=batch).delete()
        answer_the_rest(batch=batch, code=code, message=message)
        return move_batch(batch=batch, old=old, new=new)


def endpoints() -> tuple[str, ...]:
    """Return the endpoints that a batch may be for."""
    return (*ENDPOINTS, *settings.EXTRA_ENDPOINTS)


def completion_windows() -> dict[str, int]:
    """Return the windows that may be asked for, with their length in seconds."""
    extra = {window: window_seconds(window) for window in settings.EXTRA_COMPLETION_WINDOWS}
    return {**COMPLETION_WINDOW_S, **extra}
