"""The page of all answers: found, filtered, page by page."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from curation.gold_fields import SCORE_MAX, SCORE_MIN
from curation.models import ResponseSearch
from curation.results import SINCE, STARRED, STATUS, ResultFilter
from curation.services.result_rows import (
    CLAMP_CHARS,
    COUNT_MAX,
    count_results,
    find_results,
    page_of_results,
)
from curation.services.search_index import batch_behind_by, behind_by
from curation.views.chips import chips_of
from jobs.models import Batch, Project, ServedModel
from jobs.services.projects import projects_of
from jobs.views.access import may_change_any
from jobs.views.list_filters import Chip, with_chosen

CHOICES_MAX = 100
_CURSOR = re.compile(r"[0-9]{1,18}")


class Column(NamedTuple):
    """A column: its name in the page, its heading, whether it starts shown."""

    name: str
    heading: str
    shown: bool = True
    is_number: bool = False


COLUMNS = (
    Column("batch", "Batch", shown=False),
    Column("model", "Model"),
    Column("prompt", "Prompt"),
    Column("answer", "Answer"),
    Column("finish", "Finish"),
    Column("tokens", "Tokens", is_number=True),
    Column("latency", "Latency", shown=False, is_number=True),
    Column("answered", "Answered"),
    Column("rating", "Rating", is_number=True),
    Column("tags", "Tags", shown=False),
    Column("project", "Project", shown=False),
)


@require_GET
@login_required
def results(request: HttpRequest) -> HttpResponse:
    wanted, wrong = ResultFilter.read(request.GET.dict())
    projects = list(projects_of(request.user).order_by("name"))
    scope = None if request.user.is_superuser else projects
    rows = find_results(wanted, scope)
    page = page_of_results(rows, before=_cursor(request, "before"), after=_cursor(request, "after"))
    context = {
        "wanted": wanted,
        "wrong": wrong,
        "page": page,
        # One page needs no question.
        "count": count_results(wanted, scope) if page.newer or page.older else len(page.rows),
        "count_max": COUNT_MAX,
        "clamp": CLAMP_CHARS,
        "scores": range(SCORE_MIN, SCORE_MAX + 1),
        "columns": COLUMNS,
        "hidden_columns": " ".join(one.name for one in COLUMNS if not one.shown),
        "newer": wanted.address(after=page.newer) if page.newer else "",
        "older": wanted.address(before=page.older) if page.older else "",
        "behind": _behind(wanted),
        "may_pick": may_change_any(request.user),
        **_choices(wanted, projects),
    }
    return render(request, "curation/results.html", context)


def _cursor(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return int(text) if _CURSOR.fullmatch(text) else None


def _behind(wanted: ResultFilter) -> int:
    batch = Batch.objects.filter(public_id=wanted.batch).first() if wanted.batch else None
    return behind_by() if batch is None else batch_behind_by(batch=batch)


def _choices(wanted: ResultFilter, projects: list[Project]) -> dict[str, Any]:
    served = ServedModel.objects.order_by("name").values_list("name", flat=True)
    models = with_chosen(list(served[:CHOICES_MAX]), wanted.model)
    names = with_chosen([project.name for project in projects[:CHOICES_MAX]], wanted.project)
    return {
        "status_chips": chips_of(wanted, "status", list(STATUS.items())),
        "starred_chips": chips_of(wanted, "starred", list(STARRED.items())),
        "since_chips": chips_of(wanted, "since", [(key, one[0]) for key, one in SINCE.items()]),
        "model_chips": chips_of(wanted, "model", [(name, name) for name in models]),
        "project_chips": chips_of(wanted, "project", [(name, name) for name in names]),
        "finish_chips": chips_of(wanted, "finish", _with_words(wanted.finish)),
        "other_chips": _others(wanted),
    }


def _with_words(chosen: str) -> list[tuple[str, str]]:
    known = [("stop", "stop"), ("length", "length: cut"), ("tool_calls", "tool_calls")]
    return known if not chosen or chosen in dict(known) else [(chosen, chosen), *known]


# What a field of the form narrows to, in words; the chip takes it off again.
_WORDS = {
    "q": "“{}”",
    "batch": "batch {}",
    "error": "error {}",
    "custom_id": "custom_id {}",
    "tag": "tag {}",
    "min_tokens": "{} tokens or more",
    "max_tokens": "{} tokens or fewer",
    "min_rating": "rated {} or more",
    "max_rating": "rated {} or less",
}


def _others(wanted: ResultFilter) -> list[Chip]:
    named = wanted.named()
    return [
        Chip(word=words.format(named[name]), href=wanted.address(**{name: ""}), on=True)
        for name, words in _WORDS.items()
        if name in named
    ]


def rows_of(request: HttpRequest, wanted: ResultFilter) -> QuerySet[ResponseSearch]:
    """Return all rows that the page would show, on however many pages."""
    projects = None if request.user.is_superuser else list(projects_of(request.user))
    return find_results(wanted, projects)
