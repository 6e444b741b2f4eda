"""Review sets: all of them, one with its figures, filling, starring and closing it."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, F, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from curation.gold_fields import SCORE_MAX, SCORE_MIN
from curation.models import ReviewItem, ReviewSet
from curation.models.reviews import OVERLAP_MAX
from curation.results import KEYS, ResultFilter
from curation.rubric import DEFAULT, EXAMPLE
from curation.services.result_rows import find_results
from curation.services.reviews.adjudicating import star_reviewed
from curation.services.reviews.sets import (
    InvalidReviewSet,
    add_responses,
    change_review_set,
    create_review_set,
)
from curation.services.reviews.standing import progress_of, standing_of
from curation.views.access import (
    access_review_set,
    check_may_curate,
    may_curate,
    visible_review_sets,
)
from curation.views.bars import bars_of
from curation.views.form_values import read_number, read_text
from curation.views.starring import undoable
from jobs.models import Batch
from jobs.views.access import projects_to_submit_to

LISTED = 200
ITEMS_PAGE = 100


@require_http_methods(["GET", "POST"])
@login_required
def review_sets(request: HttpRequest) -> HttpResponse:
    projects = list(projects_to_submit_to(request.user))
    problem = ""
    if request.method == "POST":
        problem, made = _create(request, projects)
        if made is not None:
            return redirect("review-set", made.public_id)
    found = (
        visible_review_sets(request.user)
        .annotate(
            total=Count("items"),
            complete=Count("items", filter=Q(items__done__gte=F("overlap"))),
        )
        .order_by("closed_at", "-pk")[:LISTED]
    )
    context = {
        "sets": found,
        "projects": projects,
        "problem": problem,
        "given": request.POST,
        "filter": request.POST.get("filter", request.GET.get("filter", "")),
        "opens": bool(problem or "filter" in request.GET),
        "rubric": request.POST.get("rubric", DEFAULT),
        "example": EXAMPLE,
        "overlaps": range(1, OVERLAP_MAX + 1),
    }
    return render(request, "curation/review_sets.html", context, status=400 if problem else 200)


def _create(request: HttpRequest, projects: list[Any]) -> tuple[str, ReviewSet | None]:
    form = request.POST
    project = next((one for one in projects if one.name == form.get("project")), None)
    if project is None:
        return "Choose a project in which you may curate.", None
    if form.get("filter", "").strip() and (problem := _read_filter(form["filter"])[1]):
        return problem, None
    try:
        made = create_review_set(
            project=project,
            name=form.get("name", ""),
            rubric=read_text(form, "rubric"),
            guidelines=read_text(form, "guidelines"),
            overlap=read_number(form.get("overlap", "1")) or 0,
        )
    except InvalidReviewSet as error:
        return f"{error.field.capitalize()}: {str(error).rstrip('.')}.", None
    if form.get("filter", "").strip():
        _fill(request, made)
    return "", made


@require_GET
@login_required
def review_set(request: HttpRequest, public_id: str) -> HttpResponse:
    found = access_review_set(request.user, public_id)
    standing = standing_of(found)
    progress = progress_of(found)
    context = {
        "set": found,
        "progress": progress,
        "bar": [
            ("complete", progress.complete),
            ("begun", progress.begun),
            ("open", progress.open),
        ],
        "standing": standing,
        "dimensions": [(one, bars_of(one.spread)) for one in standing.dimensions],
        "may_change": may_curate(request.user, found.project_id),
    }
    return render(request, "curation/review_set.html", context)


@require_POST
@login_required
def review_set_add(request: HttpRequest, public_id: str) -> HttpResponse:
    found = access_review_set(request.user, public_id)
    check_may_curate(request.user, found.project_id)
    _fill(request, found)
    return redirect("review-set", public_id)


@require_POST
@login_required
def review_set_change(request: HttpRequest, public_id: str) -> HttpResponse:
    found = access_review_set(request.user, public_id)
    check_may_curate(request.user, found.project_id)
    fields: dict[str, Any] = {
        name: read_text(request.POST, name)
        for name in ("guidelines", "rubric")
        if name in request.POST
    }
    if "closed" in request.POST:
        fields["closed"] = request.POST["closed"] == "true"
    try:
        change_review_set(review_set=found, **fields)
        messages.success(request, "Kept.")
    except InvalidReviewSet as error:
        messages.error(request, f"{error.field.capitalize()}: {error}.")
    return redirect("review-set", public_id)


@require_POST
@login_required
def review_set_star(request: HttpRequest, public_id: str) -> HttpResponse:
    """Star what was found good: a deed that can be undone."""
    found = access_review_set(request.user, public_id)
    check_may_curate(request.user, found.project_id)
    rating = read_number(request.POST.get("min_rating", ""))
    if rating is None or not SCORE_MIN <= rating <= SCORE_MAX:
        messages.error(request, "The rating from which on to star is a number from 1 to 10.")
        return redirect("review-set", public_id)
    deed, count, refused = star_reviewed(review_set=found, min_rating=rating)
    if count:
        plural = "" if count == 1 else "s"
        messages.success(request, undoable(f"{count:,} answer{plural} starred.", deed))
    else:
        messages.warning(request, "No item has such a rating yet.")
    for why in list(dict.fromkeys(refused))[:5]:
        messages.warning(request, f"Not starred: {why}")
    return redirect("review-set", public_id)


@require_GET
@login_required
def review_items(request: HttpRequest, public_id: str) -> HttpResponse:
    found = access_review_set(request.user, public_id)
    after = read_number(request.GET.get("after", ""))
    start = -1 if after is None else min(after, 2**31 - 1)
    items = list(
        found.items.filter(position__gt=start)
        .select_related("adjudication")
        .prefetch_related("reviews")
        .defer("request_body", "response_body")
        .order_by("position")[: ITEMS_PAGE + 1]
    )
    context = {
        "set": found,
        "items": items[:ITEMS_PAGE],
        "next": items[ITEMS_PAGE - 1].position if len(items) > ITEMS_PAGE else None,
        "count": ReviewItem.objects.filter(review_set=found).count(),
    }
    return render(request, "curation/review_items.html", context)


def _read_filter(text: str) -> tuple[ResultFilter, str]:
    """Return the filter that an address of Results holds, or a batch's id; and what is wrong."""
    text = text.strip()
    query = dict(parse_qsl(text.rpartition("?")[2])) if "=" in text else {}
    if text.startswith("batch_"):
        query = {"batch": text}
    wanted, wrong = ResultFilter.read(query)
    wrong |= {name: "there is no such filter" for name in query if name not in KEYS}
    what = "; ".join(f"{name}: {why}" for name, why in wrong.items())
    if not what and not wanted.narrows:
        what = "it says nothing"
    if not what and wanted.batch and not Batch.objects.filter(public_id=wanted.batch).exists():
        what = f"there is no batch {wanted.batch}"
    if not what:
        return wanted, ""
    return wanted, (
        f"The filter is not one of Results ({what}). Give the id of a batch, or what stands "
        "behind the ? in the address of Results."
    )


def _fill(request: HttpRequest, found: ReviewSet) -> None:
    """Add what a filter of /results finds, given as the address of that page has it."""
    wanted, problem = _read_filter(request.POST.get("filter", ""))
    if problem:
        messages.error(request, f"Nothing was added. {problem}")
        return
    try:
        added = add_responses(
            review_set=found,
            rows=find_results(wanted, [found.project]),
            sample=read_number(request.POST.get("sample", "")),
            seed=read_number(request.POST.get("seed", "")) or 0,
        )
    except InvalidReviewSet as error:
        messages.error(request, f"Nothing was added: {error}.")
        return
    words = f"{added:,} answer{'' if added == 1 else 's'} added"
    where = urlencode(wanted.named())
    messages.success(request, f"{words} of those that {where or 'the project has'}.")
