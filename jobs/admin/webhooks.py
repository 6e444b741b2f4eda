"""Webhooks and every try to deliver them: looked at, and sent again."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from jobs.admin.readonly import FoundExactly, ReadOnly, ReadOnlyAdmin, TabularInline
from jobs.admin.shown import without_deleted
from jobs.models import WebhookAttempt, WebhookDelivery
from jobs.services.webhooks import replay_deliveries


class AttemptInline(ReadOnly, TabularInline):
    model = WebhookAttempt
    extra = 0
    fields = ("number", "created_at", "status_code", "error", "duration_ms")
    ordering = ("number",)


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(FoundExactly, ReadOnlyAdmin):
    list_display = ("public_id", "type", "batch", "url", "state", "attempts", "next_at")
    list_filter = ("state", "type")
    list_select_related = ("batch",)
    found_by = ("public_id", "batch__public_id")
    search_help_text = "The whole id of a delivery, or of a batch"
    exclude = ("payload",)
    ordering = ("-pk",)
    inlines = (AttemptInline,)
    actions = ("replay",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookDelivery]:
        return without_deleted(super().get_queryset(request))

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    @admin.action(description="Send the selected dead deliveries again", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]) -> None:
        count = replay_deliveries(deliveries=queryset)
        messages.success(request, f"{count} deliveries are sent again.")
