"""Lines, answers, chunks and suspects: tables of millions of rows, only looked at."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from jobs.admin.readonly import EstimatingPaginator, ReadOnlyAdmin
from jobs.admin.shown import without_deleted
from jobs.models import (
    Batch,
    BatchEvent,
    BatchRequest,
    BatchResponse,
    Chunk,
    KnownAnswer,
    Suspect,
)


class OfBatchAdmin(ReadOnlyAdmin):
    """Rows of a batch, found by the id of the batch: any other search would read the table."""

    paginator = EstimatingPaginator
    search_fields = ("batch__public_id",)
    search_help_text = "The whole id of a batch"
    list_select_related: ClassVar[tuple[str, ...]] = ("batch",)
    # Each in an order that an index has, of one batch as of all.
    ordering = ("-batch", "-pk")
    # Not read for the list, since they may be large.
    large: tuple[str, ...] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = without_deleted(super().get_queryset(request))
        match = request.resolver_match
        is_list = match is not None and (match.url_name or "").endswith("_changelist")
        return rows.defer(*self.large) if is_list else rows

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        # By its key: of a batch that it does not know the planner expects a handful of rows.
        if not (term := search_term.strip()):
            return queryset, False
        found = Batch.objects.filter(public_id=term).values_list("pk", flat=True).first()
        return queryset.filter(batch=found), False


@admin.register(BatchRequest)
class BatchRequestAdmin(OfBatchAdmin):
    list_display = ("custom_id", "batch", "line", "position")
    ordering = ("-batch", "-position")
    fields = ("batch", "line", "position", "custom_id", "prompt_text", "body_text")
    readonly_fields = ("body_text",)
    large = ("body", "prompt_text")

    @admin.display(description="body")
    def body_text(self, row: BatchRequest) -> str:
        return bytes(row.body).decode("utf-8", "replace")


@admin.register(BatchResponse)
class BatchResponseAdmin(OfBatchAdmin):
    list_display = (
        "request",
        "batch",
        "seq",
        "ok",
        "status_code",
        "error_code",
        "input_tokens",
        "output_tokens",
        "reused",
        "created_at",
    )
    list_select_related = ("batch", "request")
    ordering = ("-batch", "-seq")
    exclude = ("body",)
    readonly_fields = ("body_text",)
    large = ("body", "text", "request__body", "request__prompt_text")

    @admin.display(description="body")
    def body_text(self, row: BatchResponse) -> str:
        return bytes(row.body).decode("utf-8", "replace")


@admin.register(KnownAnswer)
class KnownAnswerAdmin(ReadOnlyAdmin):
    """Of projects, not of batches: the key says neither what was asked nor what was answered."""

    paginator = EstimatingPaginator
    list_display = ("response_id", "project", "key_text")
    list_select_related = ("project",)
    fields = ("response", "project", "key_text")
    ordering = ("-pk",)

    @admin.display(description="key")
    def key_text(self, row: KnownAnswer) -> str:
        return bytes(row.key).hex()


@admin.register(Chunk)
class ChunkAdmin(OfBatchAdmin):
    list_display = (
        "batch",
        "first_position",
        "last_position",
        "state",
        "owner",
        "lease_until",
        "attempt",
    )
    list_select_related = ("batch", "owner__worker")
    ordering = ("-batch", "-first_position")


@admin.register(Suspect)
class SuspectAdmin(OfBatchAdmin):
    list_display = ("request", "batch", "group_size", "deaths_alone")
    list_select_related = ("batch", "request")
    large = ("request__body", "request__prompt_text")


@admin.register(BatchEvent)
class BatchEventAdmin(OfBatchAdmin):
    list_display = ("batch", "old_state", "new_state", "reason", "created_at")
