"""The routes of batches: create, list, look at, cancel, delete."""

from __future__ import annotations

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.api import schema
from jobs.api.errors import ApiError, conflict, limit_reached
from jobs.api.orders import idempotency_key, is_repeat, read_order
from jobs.api.paging import find, read_paging
from jobs.api.parsing import json_body
from jobs.api.view import ApiView
from jobs.models import Batch, Project, ServedModel
from jobs.objects import batch_object, list_object
from jobs.services.batches import (
    CannotCancel,
    cancel_batch,
    create_batch,
    overdue_batches,
    settle_batch,
)
from jobs.services.creating_once import IdempotencyConflict
from jobs.services.deleting import StillLive, delete_batch
from jobs.services.limits import TooManyLiveBatches
from jobs.services.waiting import waiting_for, waiting_for_each

LIMIT_DEFAULT = 20
LIMIT_MAX = 100
# Whole files and parents would take Django two fifths of the time to select a page.
_SHOWN = [
    *(field.name for field in Batch._meta.concrete_fields),
    *(f"model__{field.name}" for field in ServedModel._meta.concrete_fields),
    *("output_file__public_id", "error_file__public_id", "parent__public_id"),
]


def batches_of(project: Project) -> QuerySet[Batch]:
    """Return a project's batches, after ending those of any project that are overdue.

    Whoever looks sees a cancel or an expiry take effect in time, although no worker is alive.
    """
    for batch_id in overdue_batches():
        settle_batch(batch_id=batch_id, wait=False)
    related = ("output_file", "error_file", "model", "parent")
    return Batch.objects.filter(project=project).select_related(*related).only(*_SHOWN)


def key_in_use() -> ApiError:
    return conflict(
        "This idempotency key was used before, with another body.",
        type="idempotency_error",
        code="idempotency_key_in_use",
    )


class BatchesView(ApiView):
    @extend_schema(**schema.LIST_BATCHES)
    def get(self, request: Request) -> Response:
        paging = read_paging(self.query(), default=LIMIT_DEFAULT, high=LIMIT_MAX)
        rows = batches_of(self.project)
        # A page may follow one whose last batch was deleted meanwhile.
        everything = Batch.every.filter(project=self.project)
        found, has_more = paging.cut(rows, everything=everything, kind="batch")
        reasons = waiting_for_each(found)
        shown = [batch_object(one, waiting_for=reasons.get(one.pk)) for one in found]
        return Response(list_object(shown, has_more=has_more))

    @extend_schema(**schema.CREATE_BATCH)
    def post(self, request: Request) -> Response:
        body = json_body(request)
        try:
            batch = create_batch(
                project=self.project,
                order=read_order(body),
                idempotency_key=idempotency_key(request, body),
                is_repeat=is_repeat(request),
            )
        except IdempotencyConflict as error:
            raise key_in_use() from error
        except TooManyLiveBatches as error:
            raise limit_reached(str(error), code=error.code) from error
        return Response(batch_object(batch, waiting_for=waiting_for(batch)))


class BatchView(ApiView):
    @extend_schema(**schema.GET_BATCH)
    def get(self, request: Request, batch_id: str) -> Response:
        batch = find(batches_of(self.project), batch_id, kind="batch")
        return Response(batch_object(batch, waiting_for=waiting_for(batch)))

    @extend_schema(**schema.DELETE_BATCH)
    def delete(self, request: Request, batch_id: str) -> Response:
        batch = find(batches_of(self.project), batch_id, kind="batch")
        try:
            delete_batch(batch=batch)
        except StillLive as error:
            raise conflict(
                f"Cannot delete a batch with status '{error.state}'; cancel it first."
            ) from error
        return Response({"id": batch.public_id, "object": "batch", "deleted": True})


class BatchCancelView(ApiView):
    @extend_schema(**schema.CANCEL_BATCH)
    def post(self, request: Request, batch_id: str) -> Response:
        batch = find(batches_of(self.project), batch_id, kind="batch")
        try:
            cancel_batch(batch=batch, reason="asked for through the API")
        except CannotCancel as error:
            raise conflict(f"Cannot cancel a batch with status '{error.state}'.") from error
        return Response(batch_object(batch, waiting_for=waiting_for(batch)))
