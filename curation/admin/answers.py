"""Answers as they are found: starred and put into review sets, many at once."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.contrib.postgres.search import SearchQuery
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from curation.admin.scoped import ScopedAdmin
from curation.gold_fields import InvalidGold
from curation.models import ResponseSearch, ReviewSet
from curation.models.gold import new_deed
from curation.services.gold import CannotStar, star_response
from curation.services.result_rows import is_shown
from curation.services.reviews.sets import add_responses
from jobs.admin.readonly import EstimatingPaginator, ReadOnly


class AnswerActionForm(ActionForm):
    """What the actions need: a score, or the name of a review set."""

    score = forms.CharField(required=False, max_length=4, label="Score")
    review_set = forms.CharField(required=False, max_length=200, label="Review set")


@admin.register(ResponseSearch)
class AnswerAdmin(ReadOnly, ScopedAdmin):
    paginator = EstimatingPaginator
    action_form = AnswerActionForm
    list_display = (
        "custom_id",
        "model_name",
        "ok",
        "finish_reason",
        "error_code",
        "output_tokens",
        "answered_at",
        "page",
    )
    list_filter = ("ok", "project")
    search_fields = ("document",)
    search_help_text = 'Words of prompts and answers; "a phrase", -without, one or another'
    ordering = ("-pk",)
    actions = ("star", "add_to_review_set")
    exclude = ("document", "prompt_sha256")
    list_select_related = ("response__request", "batch")
    left_unread = (
        "document",
        "response__body",
        "response__text",
        "response__request__body",
        "response__request__prompt_text",
    )

    @admin.display(description="line")
    def page(self, row: ResponseSearch) -> SafeString:
        url = reverse("line", args=[row.batch.public_id, row.response.request.position])
        return format_html('<a href="{}">read it</a>', url)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(is_shown())

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term.strip():
            return queryset, False
        words = SearchQuery(search_term, config="simple", search_type="websearch")
        return queryset.filter(document=words), False

    def has_curate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("curation.change_goldstar")

    @admin.action(description="Star with the score", permissions=["curate"])
    def star(self, request: HttpRequest, queryset: QuerySet[ResponseSearch]) -> None:
        score, deed, done = request.POST.get("score", ""), new_deed(), 0
        for row in self.curated(request, queryset).select_related("response__request"):
            try:
                star_response(
                    response=row.response,
                    deed=deed,
                    quality_score=int(score) if score.isdecimal() else 0,
                )
                done += 1
            except (CannotStar, InvalidGold) as error:
                messages.warning(request, f"Not starred: {row.custom_id[:60]}: {error}")
        messages.success(request, f"{done:,} answers starred.")

    @admin.action(description="Put into the review set", permissions=["curate"])
    def add_to_review_set(self, request: HttpRequest, queryset: QuerySet[ResponseSearch]) -> None:
        rows = self.curated(request, queryset)
        projects = set(rows.order_by().values_list("project", flat=True))
        name = request.POST.get("review_set", "").strip()
        found = ReviewSet.objects.filter(name=name, project__in=projects).first()
        if found is None:
            messages.error(request, "Name a review set of the answers' project beside the action.")
            return
        messages.success(request, f"{add_responses(review_set=found, rows=rows):,} answers added.")
