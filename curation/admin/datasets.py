"""Data sets, versions and exports: looked at; they are made on their own pages."""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from curation.admin.scoped import ScopedAdmin
from curation.models import Dataset, DatasetVersion, Export
from jobs.admin.readonly import FoundExactly, ReadOnly


@admin.register(Dataset)
class DatasetAdmin(ReadOnly, FoundExactly, ScopedAdmin):
    list_display = ("name", "project", "created_by_name", "created_at", "page")
    list_filter = ("project",)
    list_select_related = ("project",)
    found_by = ("public_id", "name")
    search_help_text = "The whole name or id of a data set"
    ordering = ("-pk",)

    @admin.display(description="page")
    def page(self, row: Dataset) -> SafeString:
        url = reverse("dataset", args=[row.public_id])
        return format_html('<a href="{}">versions</a>', url)


@admin.register(DatasetVersion)
class DatasetVersionAdmin(ReadOnly, ScopedAdmin):
    project_path = "dataset__project"
    list_display = ("dataset", "number", "state", "rows", "sha256", "created_at", "frozen_at")
    list_filter = ("state",)
    list_select_related = ("dataset",)
    ordering = ("-pk",)


@admin.register(Export)
class ExportAdmin(ReadOnly, FoundExactly, ScopedAdmin):
    project_path = "version__dataset__project"
    list_display = ("public_id", "version", "shape", "split", "state", "rows_done", "sha256")
    list_filter = ("state", "shape")
    list_select_related = ("version__dataset",)
    found_by = ("public_id", "sha256")
    search_help_text = "The whole id or SHA-256 of an export"
    ordering = ("-pk",)
