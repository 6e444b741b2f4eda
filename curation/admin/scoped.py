"""Rows of a person's own projects, changed by those who may curate there."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from jobs.admin.readonly import ModelAdmin
from jobs.services.projects import projects_of
from jobs.views.access import projects_to_submit_to


class ScopedAdmin(ModelAdmin):
    """Shows what belongs to one's projects; `project_path` leads from a row to its project.

    `left_unread` are columns that may have megabytes and that no list shows.
    """

    project_path = "project"
    left_unread: tuple[str, ...] = ()
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request).defer(*self.left_unread)
        if request.user.is_superuser:
            return rows
        return rows.filter(**{f"{self.project_path}__in": projects_of(request.user)})

    def curated(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Leave out what one may only look at."""
        ours = projects_to_submit_to(request.user).order_by()
        return rows.filter(**{f"{self.project_path}__in": ours})

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if not super().has_change_permission(request, obj):
            return False
        return obj is None or self.curated(request, self.model.objects.filter(pk=obj.pk)).exists()
