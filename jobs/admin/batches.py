"""Batches and stored files: looked at, cancelled, deleted, never edited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from jobs.admin.readonly import (
    EstimatingPaginator,
    FoundExactly,
    ReadOnly,
    ReadOnlyAdmin,
    TabularInline,
)
from jobs.admin.shown import files_without_deleted
from jobs.models import Batch, BatchEvent, StoredFile
from jobs.services.batches import CannotCancel, cancel_batch
from jobs.services.deleting import StillLive, delete_batch
from jobs.services.files import delete_file
from jobs.services.limits import LimitReached
from jobs.services.pausing import CannotPause, pause_batch, resume_batch
from jobs.services.retrying import CannotRetry, RetryRefused, retry_batch


class EventInline(ReadOnly, TabularInline):
    model = BatchEvent
    extra = 0
    fields = ("created_at", "kind", "old_state", "new_state", "reason")
    ordering = ("pk",)


@admin.register(Batch)
class BatchAdmin(FoundExactly, ReadOnlyAdmin):
    list_display = (
        "public_id",
        "state",
        "model_name",
        "project",
        "total",
        "completed",
        "failed",
        "created_at",
    )
    list_filter = ("state", "project")
    list_select_related = ("project",)
    found_by = ("public_id", "model_name")
    search_help_text = "The whole id of a batch, or the whole name of a model"
    exclude = ("create_digest",)
    readonly_fields = ("page",)
    ordering = ("-pk",)
    inlines = (EventInline,)
    actions = ("cancel", "pause", "resume", "retry")

    @admin.display(description="page")
    def page(self, batch: Batch) -> SafeString:
        url = reverse("batch-detail", args=[batch.public_id])
        return format_html('<a href="{}">progress and answers</a>', url)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.change_batch")

    def has_delete_permission(self, request: HttpRequest, obj: Batch | None = None) -> bool:
        return request.user.has_perm("jobs.delete_batch") and (obj is None or not obj.is_live)

    @admin.action(description="Cancel the selected batches", permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        done = 0
        for batch in queryset:
            try:
                cancel_batch(batch=batch, reason=f"by {request.user.get_username()}")
                done += 1
            except CannotCancel as error:
                messages.warning(request, f"{batch} is {error.state}: nothing to cancel.")
        if done:
            messages.success(request, f"{done} batches are cancelled; what is answered is kept.")

    @admin.action(description="Pause the selected batches", permissions=["cancel"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        self._set_paused(request, queryset, pause_batch, "paused")

    @admin.action(description="Let the selected batches go on", permissions=["cancel"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        self._set_paused(request, queryset, resume_batch, "resumed")

    def _set_paused(
        self,
        request: HttpRequest,
        queryset: QuerySet[Batch],
        change: Callable[..., bool],
        word: str,
    ) -> None:
        done = 0
        for batch in queryset.select_related("project", "model"):
            try:
                done += change(batch=batch, reason=f"by {request.user.get_username()}")
            except CannotPause as error:
                messages.warning(request, f"{batch} is {error.state}: it cannot be {word}.")
        messages.success(request, f"{done} batches are {word}.")

    @admin.action(
        description="Retry what the selected batches left unanswered", permissions=["cancel"]
    )
    def retry(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        for batch in queryset.select_related("project"):
            try:
                made = retry_batch(
                    batch=batch, is_repeat=True, reason=f"by {request.user.get_username()}"
                )
                messages.success(request, f"Retried: {batch} as {made}.")
            except (CannotRetry, LimitReached, RetryRefused) as error:
                messages.warning(request, f"Not retried: {batch}. {error}")

    def get_deleted_objects(
        self, objs: Sequence[Batch] | QuerySet[Batch], request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[str]]:
        """Name what goes by counting: Django's own would read every line into memory."""
        named = [
            f"{batch}: {batch.total:,} lines with {batch.answered:,} answers, and its result files"
            for batch in objs
        ]
        protected = [f"{b} is {b.state}: cancel it first" for b in objs if b.is_live]
        missing = set() if request.user.has_perm("jobs.delete_batch") else {"batch"}
        return named, {"batches": len(named)}, missing, protected

    def delete_model(self, request: HttpRequest, obj: Batch) -> None:
        delete_batch(batch=obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        for batch in queryset:
            try:
                delete_batch(batch=batch)
            except StillLive:
                messages.warning(request, f"{batch} has not ended: it was not deleted.")


@admin.register(StoredFile)
class StoredFileAdmin(FoundExactly, ReadOnlyAdmin):
    paginator = EstimatingPaginator
    list_display = (
        "public_id",
        "filename",
        "purpose",
        "project",
        "bytes",
        "created_at",
        "expires_at",
        "deleted_at",
    )
    list_filter = ("purpose", "project")
    list_select_related = ("project",)
    found_by = ("public_id",)
    search_help_text = "The whole id of a file"
    exclude = ("paths",)
    ordering = ("-pk",)
    actions = ("remove",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[StoredFile]:
        return files_without_deleted(super().get_queryset(request))

    def has_remove_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.delete_storedfile")

    @admin.action(description="Delete the content of the selected files", permissions=["remove"])
    def remove(self, request: HttpRequest, queryset: QuerySet[StoredFile]) -> None:
        count = 0
        for stored in queryset.filter(deleted_at=None):
            delete_file(stored=stored)
            count += 1
        messages.success(request, f"{count} files are deleted: nobody can read them any more.")
