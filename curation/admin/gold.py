"""Gold stars: filtered, found, changed, tagged, taken back and exported."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse

from curation.admin.scoped import ScopedAdmin
from curation.attached import attach, stamped
from curation.gold_fields import GoldFields, InvalidGold, check_fields
from curation.models import GoldEvent, GoldStar
from curation.models.gold import new_deed
from curation.services.gold import (
    GoldChanged,
    change_star,
    restore_star,
    tag_star,
    undo_last,
    unstar,
)
from curation.services.gold_export import read_stars
from curation.shapes import SHAPES, Tally
from jobs.admin.readonly import FoundExactly, ModelForm, ReadOnly, TabularInline

_REASONS_TOLD = 5


class GoldActionForm(ActionForm):
    """What the actions need: a score, a tag, a shape."""

    score = forms.CharField(required=False, max_length=4, label="Score")
    tag = forms.CharField(required=False, max_length=64, label="Tag")
    shape = forms.ChoiceField(
        required=False,
        label="Shape",
        choices=[(name, shape.title) for name, shape in SHAPES.items()],
    )


class GoldStarForm(ModelForm):
    """Checked as the services check it."""

    tags = forms.CharField(required=False, help_text="With commas between")
    # Of the star as it was shown: without it, what a colleague changed since would be set back.
    seen_revision = forms.IntegerField(widget=forms.HiddenInput)

    class Meta:
        model = GoldStar
        fields = ("quality_score", "tags", "notes", "edited_answer")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["tags"] = ", ".join(self.instance.tags)
        self.initial["seen_revision"] = self.instance.revision

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        if found.pop("seen_revision", None) != self.instance.revision:
            raise forms.ValidationError(
                "Somebody else has changed this gold star since you read it. Load it again, and "
                "then change it."
            )
        for name, value in list(found.items()):
            if name == "tags":
                value = [one for one in (value or "").split(",") if one.strip()]
            if name == "edited_answer":
                value = value or None
            try:
                found[name] = check_fields(cast(GoldFields, {name: value}))[name]
            except InvalidGold as error:
                self.add_error(name, str(error))
        return found


class EventInline(ReadOnly, TabularInline):
    model = GoldEvent
    extra = 0
    fields = ("created_at", "kind", "actor_name", "before", "after")
    readonly_fields = fields
    ordering = ("-pk",)


class RemovedFilter(admin.SimpleListFilter):
    """Those that are stars now, unless others are asked for."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("removed", "taken back"), ("all", "all")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "all":
            return queryset
        return queryset.filter(removed_at__isnull=self.value() != "removed")


@admin.register(GoldStar)
class GoldStarAdmin(FoundExactly, ScopedAdmin):
    form = GoldStarForm
    action_form = GoldActionForm
    list_display = (
        "custom_id",
        "quality_score",
        "tags",
        "is_edited",
        "model_name",
        "batch_public_id",
        "project",
        "created_by_name",
        "created_at",
    )
    list_filter = (RemovedFilter, "quality_score", "project", "model_name")
    list_select_related = ("project",)
    left_unread = ("request_body", "response_body", "prompt_text", "answer_text")
    found_by = ("public_id", "custom_id", "batch_public_id")
    search_help_text = "The whole id of a gold star or a batch, or a whole custom_id"
    ordering = ("-pk",)
    inlines = (EventInline,)
    actions = ("star_again", "set_score", "add_tag", "unstar", "undo", "export")
    fields = (
        "quality_score",
        "tags",
        "notes",
        "edited_answer",
        "seen_revision",
        "custom_id",
        "model_name",
        "batch_public_id",
        "prompt_text",
        "answer_text",
        "provenance",
        "created_by_name",
        "created_at",
        "removed_at",
    )
    readonly_fields = fields[5:]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        fields = list(self.fields)
        if not self.has_change_permission(request, obj):
            fields.remove("seen_revision")
        return fields

    @admin.display(boolean=True, description="edited")
    def is_edited(self, star: GoldStar) -> bool:
        return star.edited_answer is not None

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        given = {
            name: form.cleaned_data[name] for name in form.changed_data if name in form.cleaned_data
        }
        try:
            change_star(star=obj, revision=form.instance.revision, **given)
        except GoldChanged as error:
            # The other change came between the form's check and this one.
            messages.set_level(request, messages.ERROR)
            messages.error(request, str(error))

    def has_curate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("curation.change_goldstar")

    @admin.action(description="Give the selected stars the score", permissions=["curate"])
    def set_score(self, request: HttpRequest, queryset: QuerySet[GoldStar]) -> None:
        score = request.POST.get("score", "")
        self._each(
            request,
            queryset,
            "changed",
            lambda star, deed: change_star(
                star=star, deed=deed, quality_score=int(score) if score.isdecimal() else 0
            ),
        )

    @admin.action(description="Give the selected stars the tag", permissions=["curate"])
    def add_tag(self, request: HttpRequest, queryset: QuerySet[GoldStar]) -> None:
        tag = request.POST.get("tag", "")
        self._each(
            request, queryset, "tagged", lambda star, deed: tag_star(star=star, tag=tag, deed=deed)
        )

    @admin.action(description="Unstar", permissions=["curate"])
    def unstar(self, request: HttpRequest, queryset: QuerySet[GoldStar]) -> None:
        self._each(request, queryset, "unstarred", lambda star, deed: unstar(star=star, deed=deed))

    @admin.action(description="Star again what was taken back", permissions=["curate"])
    def star_again(self, request: HttpRequest, queryset: QuerySet[GoldStar]) -> None:
        self._each(
            request, queryset, "starred", lambda star, deed: restore_star(star=star, deed=deed)
        )

    @admin.action(description="Undo what was done last to each", permissions=["curate"])
    def undo(self, request: HttpRequest, queryset: QuerySet[GoldStar]) -> None:
        done = 0
        for star in self.curated(request, queryset):
            done += undo_last(star=star).stars
        messages.success(request, f"{done:,} were set back.")

    @admin.action(description="Export in the shape", permissions=["view"])
    def export(
        self, request: HttpRequest, queryset: QuerySet[GoldStar]
    ) -> StreamingHttpResponse | None:
        shape = SHAPES.get(request.POST.get("shape", ""))
        if shape is None:
            messages.error(request, "Choose a shape beside the action.")
            return None
        tally = Tally()
        content = shape.write(read_stars(queryset.defer(None), tally), tally)
        name = f"{stamped(f'gold-star-{shape.name}')}.{shape.extension}"
        return attach(content, name=name, media_type=shape.media_type)

    def _each(
        self, request: HttpRequest, queryset: QuerySet[GoldStar], done: str, act: Any
    ) -> None:
        deed, count, refused = new_deed(), 0, Counter[str]()
        for star in self.curated(request, queryset):
            try:
                act(star, deed)
                count += 1
            except InvalidGold as error:
                refused[f"{error.field.replace('_', ' ').capitalize()}: {error}."] += 1
        for words, times in refused.most_common(_REASONS_TOLD):
            messages.error(request, f"{times:,} gold stars are as they were. {words}")
        if count:
            messages.success(request, f"{count:,} gold stars {done}.")
