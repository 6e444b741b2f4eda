"""What may be looked at and not touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    ModelForm = forms.ModelForm[Any]
    TabularInline = admin.TabularInline[Any, Any]
else:
    # Generic only for the type checker.
    ModelAdmin = admin.ModelAdmin
    ModelForm = forms.ModelForm
    TabularInline = admin.TabularInline


class ReadOnly:
    """Neither adding, changing nor deleting; for admins and inlines."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyAdmin(ReadOnly, ModelAdmin):
    """A table that only the services write."""

    # Each of them would count the whole table.
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50


class FoundExactly(ModelAdmin):
    """Rows are found by one of `found_by` as it stands: an index is followed, no table read.

    Django's own search compares without regard to case, for which there is no index.
    """

    found_by: tuple[str, ...] = ()

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return self.found_by

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        # One after the other: either of two columns would again be looked for in each row.
        for field in self.found_by:
            found = queryset.filter(**{field: term})
            if found.order_by().exists():
                return found, False
        return queryset.none(), False


class EstimatingPaginator(Paginator):  # type: ignore[type-arg]
    """Takes the planner's estimate for a table's size, since counting reads all of it."""

    # Counted in full up to here, so that small tables and filtered lists page exactly.
    EXACT_UP_TO = 10_000

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        counted = rows.order_by()[: self.EXACT_UP_TO].count()
        if counted < self.EXACT_UP_TO or rows.query.where:
            return counted
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass",
                [rows.model._meta.db_table],
            )
            return max(counted, int(cursor.fetchone()[0]))
