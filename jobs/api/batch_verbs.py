"""The routes of what can be done to a batch besides cancelling it: pause, resume, retry."""

from __future__ import annotations

from collections.abc import Callable

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.api import schema
from jobs.api.batches import batches_of, key_in_use
from jobs.api.errors import ApiError, conflict, limit_reached
from jobs.api.orders import idempotency_key, is_repeat, read_retry
from jobs.api.paging import find
from jobs.api.parsing import optional_json_body
from jobs.api.view import ApiView
from jobs.models import Project
from jobs.objects import batch_object
from jobs.services.creating_once import IdempotencyConflict
from jobs.services.limits import LimitReached
from jobs.services.pausing import CannotPause, pause_batch, resume_batch
from jobs.services.retrying import CannotRetry, RetryRefused, retry_batch
from jobs.services.waiting import waiting_for

REASON = "asked for through the API"


class BatchPauseView(ApiView):
    @extend_schema(**schema.PAUSE_BATCH)
    def post(self, request: Request, batch_id: str) -> Response:
        return _set_paused(self.project, batch_id, "pause", pause_batch)


class BatchResumeView(ApiView):
    @extend_schema(**schema.RESUME_BATCH)
    def post(self, request: Request, batch_id: str) -> Response:
        return _set_paused(self.project, batch_id, "resume", resume_batch)


class BatchRetryView(ApiView):
    @extend_schema(**schema.RETRY_BATCH)
    def post(self, request: Request, batch_id: str) -> Response:
        batch = find(batches_of(self.project), batch_id, kind="batch")
        body = optional_json_body(request)
        try:
            made = retry_batch(
                batch=batch,
                order=read_retry(body),
                idempotency_key=idempotency_key(request, body),
                is_repeat=is_repeat(request),
                reason=REASON,
            )
        except IdempotencyConflict as error:
            raise key_in_use() from error
        except CannotRetry as error:
            raise conflict(str(error)) from error
        except LimitReached as error:
            raise limit_reached(str(error), code=error.code) from error
        except RetryRefused as error:
            raise ApiError(str(error), code=error.code, param=error.param) from error
        return Response(batch_object(made, waiting_for=waiting_for(made)))


def _set_paused(
    project: Project, batch_id: str, verb: str, change: Callable[..., bool]
) -> Response:
    batch = find(batches_of(project), batch_id, kind="batch")
    try:
        change(batch=batch, reason=REASON)
    except CannotPause as error:
        raise conflict(f"Cannot {verb} a batch with status '{error.state}'.") from error
    return Response(batch_object(batch, waiting_for=waiting_for(batch)))
