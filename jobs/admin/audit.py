"""Who did what: only looked at."""

from __future__ import annotations

from django.contrib import admin

from jobs.admin.readonly import EstimatingPaginator, ReadOnlyAdmin
from jobs.models import AuditEntry


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "actor", "action", "target", "project")
    list_filter = ("action", "project")
    list_select_related = ("project",)
    search_fields = ("=target", "actor")
    paginator = EstimatingPaginator
    ordering = ("-pk",)
