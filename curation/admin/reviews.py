"""Review sets, their items, and reviews within them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from curation.admin.scoped import ScopedAdmin
from curation.gold_fields import InvalidGold, check_fields
from curation.models import Review, ReviewItem, ReviewSet, ReviewState
from curation.models.reviews import ENDED
from curation.rubric import (
    CHOICE,
    CHOICES,
    GOOD_BAD,
    RATING,
    Dimension,
    InvalidRubric,
    InvalidValue,
    check_values,
    read_rubric,
)
from curation.services.reviews.claiming import assign_item
from curation.services.reviews.judging import (
    Judgement,
    PlaceTaken,
    discard_item,
    save_draft,
    submit_review,
)
from curation.services.reviews.sets import (
    InvalidReviewSet,
    change_review_set,
    create_review_set,
)
from jobs.admin.readonly import FoundExactly, ModelForm, TabularInline
from jobs.services.projects import projects_of
from jobs.views.access import projects_to_submit_to

_KEEP = {
    ReviewState.DRAFT: save_draft,
    ReviewState.SUBMITTED: submit_review,
    ReviewState.DISCARDED: discard_item,
}


class ReviewSetForm(ModelForm):
    class Meta:
        model = ReviewSet
        fields = ("project", "name", "guidelines", "rubric", "overlap")

    def clean_rubric(self) -> str:
        text = str(self.cleaned_data["rubric"])
        try:
            read_rubric(text)
        except InvalidRubric as error:
            raise forms.ValidationError(str(error)) from error
        return text


@admin.register(ReviewSet)
class ReviewSetAdmin(FoundExactly, ScopedAdmin):
    form = ReviewSetForm
    list_display = ("name", "project", "overlap", "created_by_name", "created_at", "page")
    list_filter = ("project",)
    list_select_related = ("project",)
    found_by = ("public_id", "name")
    search_help_text = "The whole name or id of a review set"
    ordering = ("-pk",)
    fields = ("project", "name", "guidelines", "rubric", "overlap")

    @admin.display(description="page")
    def page(self, row: ReviewSet) -> SafeString:
        url = reverse("review-set", args=[row.public_id])
        return format_html('<a href="{}">figures</a>', url)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("curation.add_reviewset")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("project", "name", "overlap") if obj is not None else ()

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "project":
            kwargs["queryset"] = projects_to_submit_to(request.user)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        try:
            if change:
                given = {name: form.cleaned_data[name] for name in form.changed_data}
                change_review_set(review_set=ReviewSet.objects.get(pk=obj.pk), **given)
            else:
                made = create_review_set(**form.cleaned_data)
                obj.__dict__.update(made.__dict__)
        except InvalidReviewSet as error:
            messages.set_level(request, messages.ERROR)
            messages.error(request, f"Nothing was kept. {error.field.capitalize()}: {error}.")


class ReviewForm(ModelForm):
    """A review with a field for each question of its rubric."""

    rubric: tuple[Dimension, ...] = ()
    tags = forms.CharField(required=False, help_text="With commas between")

    class Meta:
        model = Review
        fields = ("state", "tags", "notes", "edited_answer")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        values = self.instance.values or {}
        if self.instance.pk:
            self.initial["tags"] = ", ".join(self.instance.tags)
        for number, one in enumerate(self.rubric):
            self.initial[f"value_{number}"] = values.get(one.name)
        self.fields["edited_answer"].required = False

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        values = {one.name: found.get(f"value_{number}") for number, one in enumerate(self.rubric)}
        complete = found.get("state") == ReviewState.SUBMITTED
        try:
            found["values"] = check_values(list(self.rubric), values, complete=complete)
        except InvalidValue as error:
            at = next((n for n, one in enumerate(self.rubric) if one.name == error.name), None)
            self.add_error(None if at is None else f"value_{at}", str(error))
        try:
            found |= check_fields(
                {
                    "tags": [one for one in (found.get("tags") or "").split(",") if one.strip()],
                    "notes": found.get("notes") or "",
                    "edited_answer": found.get("edited_answer") or None,
                }
            )
        except InvalidGold as error:
            self.add_error(error.field, str(error))
        return found


def _field(one: Dimension) -> forms.Field:
    if one.kind == CHOICES:
        return forms.MultipleChoiceField(
            label=one.name,
            required=False,
            choices=[(option, option) for option in one.options],
            widget=forms.CheckboxSelectMultiple,
        )
    if one.kind in (CHOICE, GOOD_BAD, RATING):
        choices = [("", "–"), *((key, key) for key in one.keys)]
        return forms.ChoiceField(label=one.name, required=False, choices=choices)
    return forms.CharField(label=one.name, required=False, widget=forms.Textarea({"rows": 2}))


class ReviewInline(TabularInline):
    """The reviews of an item; one's own can be changed, by the rubric of the set."""

    model = Review
    extra = 0
    ordering = ("pk",)
    show_change_link = False
    template = "admin/edit_inline/stacked.html"

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        rubric = tuple(read_rubric(obj.review_set.rubric)) if obj is not None else ()
        fields = {f"value_{number}": _field(one) for number, one in enumerate(rubric)}
        form = type("RubricForm", (ReviewForm,), {"rubric": rubric, **fields})
        return super().get_formset(request, obj, form=form, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        rubric = read_rubric(obj.review_set.rubric) if obj is not None else []
        values = [f"value_{number}" for number in range(len(rubric))]
        return ["state", *values, "tags", "notes", "edited_answer"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(reviewer=request.user.pk)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ItemActionForm(ActionForm):
    """Whom items are assigned to."""

    reviewer = forms.CharField(required=False, max_length=150, label="Reviewer")


@admin.register(ReviewItem)
class ReviewItemAdmin(FoundExactly, ScopedAdmin):
    project_path = "review_set__project"
    action_form = ItemActionForm
    list_display = ("custom_id", "review_set", "position", "taken", "done", "is_open")
    list_filter = ("is_open", "review_set")
    list_select_related = ("review_set",)
    left_unread = ("request_body", "response_body", "prompt_text", "answer_text")
    found_by = ("custom_id", "batch_public_id")
    search_help_text = "A whole custom_id, or the whole id of a batch"
    ordering = ("-review_set", "position")
    readonly_fields = (
        "review_set",
        "custom_id",
        "model_name",
        "prompt_text",
        "answer_text",
        "others",
    )
    inlines = (ReviewInline,)
    actions = ("assign",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Leave out what others said until one has said something oneself."""
        fields = list(self.readonly_fields)
        if obj is None or self.has_curate_permission(request):
            return fields
        mine = obj.reviews.filter(reviewer=request.user.pk, state__in=ENDED)
        return fields if mine.exists() else fields[:-1]

    @admin.display(description="reviews")
    def others(self, item: ReviewItem) -> str:
        rows = item.reviews.order_by("pk").values_list("reviewer_name", "state", "values")
        return "\n".join(f"{name}: {state} {values}" for name, state, values in rows) or "none"

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> Any:
        item = self.get_object(request, object_id)
        # Who opens an item that is free takes it, so that there is a review to fill in.
        if (
            request.method == "GET"
            and item is not None
            and self.has_change_permission(request, item)
        ):
            assign_item(item=item, reviewer=request.user)
        return super().change_view(request, object_id, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """An item itself does not change."""

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        formset.save(commit=False)
        for review, _ in formset.changed_objects:
            given = next(one for one in formset.forms if one.instance.pk == review.pk).cleaned_data
            keep = _KEEP.get(given["state"], save_draft)
            judgement = Judgement(
                values=given["values"],
                edited_answer=given["edited_answer"],
                notes=given["notes"],
                tags=tuple(given["tags"]),
            )
            try:
                keep(
                    review=Review.objects.select_related("review_set").get(pk=review.pk),
                    judgement=judgement,
                )
            except PlaceTaken as error:
                messages.warning(request, str(error))

    def has_curate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("curation.change_reviewset")

    @admin.action(description="Assign to the reviewer", permissions=["curate"])
    def assign(self, request: HttpRequest, queryset: QuerySet[ReviewItem]) -> None:
        person = User.objects.filter(username=request.POST.get("reviewer", "").strip()).first()
        if person is None:
            messages.error(request, "Name a user beside the action.")
            return
        theirs = self.curated(request, queryset).filter(review_set__project__in=projects_of(person))
        done = sum(assign_item(item=item, reviewer=person) is not None for item in theirs)
        left = queryset.count() - done
        messages.success(request, f"{done:,} items assigned to {person.get_username()}.")
        if left:
            messages.warning(
                request,
                f"{left:,} were not: their places are taken, or they are of another project.",
            )
