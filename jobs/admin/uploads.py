"""Uploads in parts: only looked at."""

from __future__ import annotations

from django.contrib import admin

from jobs.admin.readonly import ReadOnly, ReadOnlyAdmin, TabularInline
from jobs.models import Upload, UploadPart


class PartInline(ReadOnly, TabularInline):
    model = UploadPart
    extra = 0
    fields = readonly_fields = ("public_id", "bytes", "created_at")


@admin.register(Upload)
class UploadAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "filename", "project", "bytes", "state", "created_at")
    list_filter = ("state", "project")
    list_select_related = ("project",)
    search_fields = ("=public_id", "filename")
    ordering = ("-pk",)
    inlines = (PartInline,)
