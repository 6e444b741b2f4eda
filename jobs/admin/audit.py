"""Who did what: only looked at, and only by superusers, since it tells of every project."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from jobs.admin.readonly import EstimatingPaginator, FoundExactly, ReadOnlyAdmin
from jobs.models import AuditEntry


@admin.register(AuditEntry)
class AuditEntryAdmin(FoundExactly, ReadOnlyAdmin):
    list_display = ("created_at", "actor", "action", "target", "project")
    list_filter = ("created_at", "action", "project")
    list_select_related = ("project",)
    found_by = ("target", "actor")
    search_help_text = "The whole id of what it was done to, or the whole name of who did it"
    paginator = EstimatingPaginator
    ordering = ("-pk",)

    def has_view_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        return bool(request.user.is_superuser)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)
