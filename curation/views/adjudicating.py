"""Where reviewers differ: what each of them said, and the last word."""

from __future__ import annotations

from itertools import islice
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from curation.gold_fields import InvalidGold
from curation.models import Review, ReviewItem, ReviewSet
from curation.rubric import TEXT, InvalidValue, read_rubric
from curation.services.reviews.adjudicating import (
    adjudicate,
    disagreements,
    withdraw_adjudication,
)
from curation.services.reviews.judging import ReviewChanged
from curation.services.reviews.standing import final_values
from curation.views.access import access_review_set, check_may_curate, may_curate
from curation.views.form_values import (
    problem_words,
    read_edit,
    read_number,
    read_text,
    read_values,
)
from jobs.reading import read_request

PAGE_ITEMS = 10


@require_GET
@login_required
def disagreed(request: HttpRequest, public_id: str) -> HttpResponse:
    found = access_review_set(request.user, public_id)
    settled = request.GET.get("settled") == "yes"
    after = read_number(request.GET.get("after", ""))
    start = -1 if after is None else min(after, 2**31 - 1)
    rows = list(islice(disagreements(found, after=start, settled=settled), PAGE_ITEMS + 1))
    context = {
        "set": found,
        "rows": [_row(found, *row) for row in rows[:PAGE_ITEMS]],
        "next": rows[PAGE_ITEMS - 1][0].position if len(rows) > PAGE_ITEMS else None,
        "settled": settled,
        "may_change": may_curate(request.user, found.project_id),
    }
    return render(request, "curation/adjudicate.html", context)


@require_POST
@login_required
def adjudicate_item(request: HttpRequest, public_id: str, position: str) -> HttpResponse:
    found = access_review_set(request.user, public_id)
    check_may_curate(request.user, found.project_id)
    item = found.items.select_related("review_set").filter(position=int(position)).first()
    if item is None:
        raise Http404("There is no such item.")
    if request.POST.get("verb") == "withdraw":
        withdraw_adjudication(item=item)
        messages.success(request, "The last word is taken back; the reviews are as they were.")
    else:
        _keep(request, found, item)
    settled = "?settled=yes" if request.POST.get("settled") else ""
    return redirect(f"{reverse('adjudicate', args=[public_id])}{settled}")


def _keep(request: HttpRequest, found: ReviewSet, item: ReviewItem) -> None:
    form = request.POST
    try:
        adjudicate(
            item=item,
            values=read_values(form, read_rubric(found.rubric)),
            edited_answer=read_edit(form),
            notes=read_text(form, "notes"),
            revision=read_number(form.get("revision", "")),
        )
        messages.success(request, f"The last word on {item.custom_id[:80]} is kept.")
    except (InvalidValue, InvalidGold, ReviewChanged) as error:
        messages.error(request, problem_words(error))


def _row(
    found: ReviewSet, item: ReviewItem, judged: list[Review], names: list[str]
) -> dict[str, Any]:
    rubric = read_rubric(found.rubric)
    last = getattr(item, "adjudication", None)
    proposed = final_values(rubric, [one.values for one in judged], last.values if last else None)
    edits = [one.edited_answer for one in judged if one.edited_answer is not None]
    edited = last.edited_answer if last else (edits[-1] if edits else None)
    return {
        "item": item,
        "reading": read_request(bytes(item.request_body)),
        "judged": judged,
        "names": names,
        "last": last,
        "answer": item.answer_text if edited is None else edited,
        "table": [
            (one, [review.values.get(one.name) for review in judged], one.name in names)
            for one in rubric
        ],
        "rubric": [
            (one, None if one.kind == TEXT and not last else proposed.get(one.name))
            for one in rubric
        ],
        "revision": last.revision if last else 0,
    }
