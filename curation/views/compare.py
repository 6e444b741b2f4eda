"""The page that sets answers of models or batches side by side, its figures, and one row whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from curation.comparing import BY, MODEL, SHOW, SIDES_MAX, Comparing, Place
from curation.services.compare_cells import Side
from curation.services.compare_figures import measure
from curation.services.compare_rows import page_of_rows, read_texts, row_at
from curation.services.compare_sides import find_sides
from curation.services.search_index import batch_behind_by, behind_by
from curation.views.compare_shown import LETTERS, show_row, show_rows, show_sides
from jobs.models import Batch, Project, ServedModel
from jobs.services.projects import projects_of
from jobs.views.access import projects_to_submit_to, visible_batches
from jobs.views.list_filters import Chip

BATCHES_OFFERED = 30
MODELS_OFFERED = 100


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a request compares, as far as the person may see it."""

    wanted: Comparing
    sides: list[Side]
    project: Project | None
    projects: list[Project]
    wrong: list[str]


def read_asked(request: HttpRequest) -> Asked:
    wanted, wrong = Comparing.read(request.GET.dict(), request.GET.getlist("side"))
    projects = list(projects_of(request.user).order_by("name"))
    sides, project, missing = find_sides(
        wanted, batches=visible_batches(request.user, projects), projects=projects
    )
    return Asked(
        wanted=wanted, sides=sides, project=project, projects=projects, wrong=[*wrong, *missing]
    )


@require_GET
@login_required
def compare(request: HttpRequest) -> HttpResponse:
    asked = read_asked(request)
    wanted, sides = asked.wanted, asked.sides
    context: dict[str, Any] = {
        "wanted": wanted,
        "sides": show_sides(sides),
        "wrong": asked.wrong,
        "project": asked.project,
        "inputs": _inputs(wanted),
        "projects": [one.name for one in asked.projects],
        "by_choices": BY,
        **_offers(request, asked),
    }
    if len(sides) > 1:
        start = Place.read(request.GET.get("from", ""))
        page = page_of_rows(sides, wanted.by, show=wanted.show, start=start)
        context |= {
            "page": page,
            "rows": show_rows(page.rows, sides, wanted.by),
            "next": wanted.address(**{"from": str(page.next)}) if page.next else "",
            "first": wanted.address() if start else "",
            "by_chips": [_chip(wanted, "by", key, word) for key, word in BY.items()],
            "show_chips": [_chip(wanted, "show", key, word) for key, word in SHOW.items()],
            "may_vote": _may_vote(request, asked.project),
            "behind": _behind(asked),
        }
    return render(request, "curation/compare.html", context)


@require_GET
@login_required
def compare_figures(request: HttpRequest) -> HttpResponse:
    asked = read_asked(request)
    if len(asked.sides) < 2:
        raise Http404("There is nothing to compare.")
    figures = measure(asked.sides, asked.wanted.by)
    context = {
        "figures": figures,
        "side_rows": list(zip(LETTERS, figures.sides, strict=False)),
        "pair_rows": list(zip(LETTERS[1:], figures.pairs, strict=False)),
        "any_hidden": any(side.hidden for side in figures.sides),
        "wanted": asked.wanted,
    }
    return render(request, "curation/_compare_figures.html", context)


@require_GET
@login_required
def compare_row(request: HttpRequest) -> HttpResponse:
    """Return one row, its texts whole and all their differences marked."""
    asked = read_asked(request)
    place = Place.read(request.GET.get("at", ""))
    row = row_at(asked.sides, asked.wanted.by, place) if place is not None else None
    if row is None:
        raise Http404("There is no such row.")
    read_texts([row], clamp=None)
    context = {"row": show_row(row, asked.sides, asked.wanted.by), "wanted": asked.wanted}
    return render(request, "curation/_compare_row.html", {**context, "opened": True})


def _chip(wanted: Comparing, field: str, value: str, word: str) -> Chip:
    # What is said and what is usual may differ: a join is always named.
    return Chip(
        word=word, href=wanted.address(**{field: value}), on=getattr(wanted, field) == value
    )


def _inputs(wanted: Comparing) -> list[str]:
    """Return what stands in the fields of the form: the sides, and a field more."""
    blank = 1 if len(wanted.sides) > 1 else 2 - len(wanted.sides)
    return [*wanted.sides, *[""] * min(blank, SIDES_MAX - len(wanted.sides))]


def _offers(request: HttpRequest, asked: Asked) -> dict[str, Any]:
    batches = visible_batches(request.user, asked.projects).order_by("-created_at", "-pk")
    served = ServedModel.objects.order_by("name").values_list("name", flat=True)
    return {
        "batches": batches.only("public_id", "model_name", "total", "created_at")[:BATCHES_OFFERED],
        "models": [f"{MODEL}{name}" for name in served[:MODELS_OFFERED]],
    }


def _may_vote(request: HttpRequest, project: Project | None) -> bool:
    if project is None:
        return False
    return projects_to_submit_to(request.user).filter(pk=project.pk).exists()


def _behind(asked: Asked) -> int:
    """Say how many answers cannot be found yet; by custom_id batches are read as they are."""
    batches: list[Batch] = [side.batch for side in asked.sides if side.batch is not None]
    if len(batches) < len(asked.sides):
        return behind_by()
    if asked.wanted.by == "custom_id":
        return 0
    return sum(batch_behind_by(batch=batch) for batch in batches if not batch.is_live)
