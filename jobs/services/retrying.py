"""Taking up what an ended batch left without a good answer, as a batch of its own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from jobs.line_rules import ENDPOINTS
from jobs.models import Batch, BatchEvent, ServedModel
from jobs.services.audit import note_deed
from jobs.services.batches import EXPIRED_UNREAD, window_seconds
from jobs.services.creating_once import find_created
from jobs.services.limits import claim_live_batch, claim_queue
from jobs.services.served_models import find_model
from jobs.services.starting import ChunkRanges, refresh_statistics, start_batch
from jobs.services.transitions import REASON_MAX

log = structlog.get_logger()


class CannotRetry(Exception):
    """The state of the batch does not allow it; the message says why, and what to do."""


class RetryRefused(Exception):
    """Its lines cannot be sent again; `code` and `param` are those of the API's error."""

    def __init__(self, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


@dataclass(frozen=True, kw_only=True)
class RetryOrder:
    """What a client asks for; None takes what the batch has."""

    metadata: dict[str, str] | None = None
    priority: int | None = None

    def digest(self, batch: Batch) -> bytes:
        asked = {"retry": batch.public_id, **vars(self)}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()


AS_IT_WAS = RetryOrder()


def retry_batch(
    *,
    batch: Batch,
    order: RetryOrder = AS_IT_WAS,
    idempotency_key: str | None = None,
    is_repeat: bool = False,
    reason: str = "",
) -> Batch:
    """Make a batch of the lines of an ended one that have no good answer, and set it to work.

    No file is read: the lines are copied, with the numbers that they have in the input file. An
    order that was asked for before, as `find_created` tells, gives the same batch again. Raises
    CannotRetry, RetryRefused, and LimitReached where the project may not have so much at once.
    """
    digest = order.digest(batch)
    with transaction.atomic():
        known = find_created(
            project=batch.project,
            digest=digest,
            idempotency_key=idempotency_key,
            is_repeat=is_repeat,
        )
        if known is not None:
            return known
        # Locked, so that nobody deletes its lines while they are copied.
        old = Batch.objects.select_for_update(no_key=True).filter(pk=batch.pk).first()
        if old is None or old.deleted_at is not None:
            raise CannotRetry("Cannot retry a batch that has been deleted.")
        _check_state(old)
        model = _check_can_be_served(old)
        claim_live_batch(project=batch.project)
        made = _create(old, order, digest, idempotency_key, reason)
        ranges = _copy_lines(old, made)
        if not ranges.total:
            raise RetryRefused(
                f"Nothing is to be retried: every line of batch '{old.public_id}' was answered.",
                code="nothing_to_retry",
            )
        # The same lines, or a part of them.
        tokens = old.estimated_tokens * ranges.total // old.total
        claim_queue(project=batch.project, requests=ranges.total, tokens=tokens)
        # It has just been made here, so that nobody can have moved it.
        start_batch(
            batch=made,
            chunks=ranges.finish(),
            total=ranges.total,
            model=model,
            model_name=old.model_name,
            estimated_tokens=tokens,
        )
        note_deed(
            action="batch.retry",
            target=old.public_id,
            project=batch.project,
            made=made.public_id,
            lines=ranges.total,
        )
    log.info("batch_retried", batch=old.public_id, made=made.public_id, lines=ranges.total)
    refresh_statistics(lines=ranges.total)
    made.refresh_from_db()
    return made


def _check_state(batch: Batch) -> None:
    if batch.is_live:
        raise CannotRetry(f"Cannot retry a batch with status '{batch.state}'.")
    if batch.total:
        return
    said = f"Cannot retry a batch with status '{batch.state}' that has no lines"
    if batch.findings and batch.findings[0]["code"] != EXPIRED_UNREAD:
        raise CannotRetry(
            f"{said}: its input was not accepted. Upload a corrected file, and create a batch "
            "from that."
        )
    raise CannotRetry(f"{said}: its input was never read. Create a batch from its input file.")


def _check_can_be_served(batch: Batch) -> ServedModel:
    if batch.endpoint not in (*ENDPOINTS, *settings.EXTRA_ENDPOINTS):
        raise RetryRefused(
            f"The endpoint '{batch.endpoint}' is not supported.",
            code="invalid_value",
            param="endpoint",
        )
    model = find_model(batch.model_name)
    if model is None:
        raise RetryRefused(
            f"The model '{batch.model_name}' is not supported. GET /v1/models lists those that "
            "are.",
            code="model_not_found",
            param="model",
        )
    return model


def _create(
    old: Batch, order: RetryOrder, digest: bytes, idempotency_key: str | None, reason: str
) -> Batch:
    now = timezone.now()
    made = Batch.objects.create(
        project_id=old.project_id,
        parent=old,
        endpoint=old.endpoint,
        completion_window=old.completion_window,
        metadata=old.metadata if order.metadata is None else order.metadata,
        priority=old.priority if order.priority is None else order.priority,
        webhook_url=old.webhook_url,
        input_file_public_id=old.input_file_public_id,
        input_file_id=old.input_file_id,
        output_expires_after_s=old.output_expires_after_s,
        request_order=old.request_order,
        reuse_answers=old.reuse_answers,
        created_at=now,
        expires_at=now + timedelta(seconds=window_seconds(old.completion_window)),
        idempotency_key=idempotency_key,
        create_digest=digest,
    )
    BatchEvent.objects.create(
        batch=made, new_state=made.state, reason=reason[:REASON_MAX], created_at=Now()
    )
    return made


# Positions begin at 0 again and have no gaps, as everywhere; `line` still names the line of the
# input file.
_COPY_LINES = """
INSERT INTO jobs_batchrequest (
    batch_id, line, position, custom_id, body, prompt_text, prompt_sha256, body_sha256)
SELECT %s, r.line, row_number() OVER (ORDER BY r.position) - 1, r.custom_id, r.body,
    r.prompt_text, r.prompt_sha256, r.body_sha256
FROM jobs_batchrequest r
WHERE r.batch_id = %s
  AND NOT EXISTS (SELECT FROM jobs_batchresponse a WHERE a.request_id = r.id AND a.ok)
"""
_PROMPTS = """
SELECT octet_length(body), prompt_text FROM jobs_batchrequest WHERE batch_id = %s
ORDER BY position
"""


def _copy_lines(old: Batch, made: Batch) -> ChunkRanges:
    ranges = ChunkRanges(request_order=made.request_order)
    with connection.cursor() as cursor:
        cursor.execute(_COPY_LINES, [made.pk, old.pk])
    # From the server as they are read: the prompts are most of what the lines are.
    with connection.chunked_cursor() as cursor:
        cursor.execute(_PROMPTS, [made.pk])
        for size, prompt in cursor:
            ranges.add(body_bytes=size, prompt=prompt)
    return ranges
