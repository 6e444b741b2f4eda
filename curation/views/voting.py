"""Voting blind between two answers, and what the votes say."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from curation.comparing import Comparing, Place
from curation.models import Comparison
from curation.ranking import Duel
from curation.services.compare_cells import Side
from curation.services.compare_rows import read_texts
from curation.services.compare_sides import find_sides
from curation.services.voting import (
    CannotVote,
    cast_vote,
    create_comparison,
    find_pair,
    read_standing,
    undo_vote,
)
from curation.views.compare import read_asked
from curation.views.compare_shown import LETTERS
from jobs.services.projects import projects_of
from jobs.views.access import projects_to_submit_to, visible_batches


@require_POST
@login_required
def comparison_create(request: HttpRequest) -> HttpResponse:
    """Open the votes on what the address compares; it may be there already."""
    asked = read_asked(request)
    if asked.project is None or len(asked.sides) != len(asked.wanted.sides):
        raise Http404("There is nothing to vote on.")
    _check_may_vote(request, asked.project.pk)
    try:
        made = create_comparison(wanted=asked.wanted, sides=asked.sides)
    except CannotVote as error:
        messages.error(request, str(error))
        return redirect(f"{reverse('compare')}{asked.wanted.address()}")
    return redirect("comparison-vote", made.public_id)


@require_GET
@login_required
def comparison(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show who wins against whom."""
    found = _access(request, public_id)
    standing = read_standing(comparison=found)
    names = list(zip(LETTERS, found.model_names, found.sides, strict=False))
    context = {
        "comparison": found,
        "names": names,
        "address": _wanted(found).address(),
        "standing": standing,
        "ranks": [(one, *names[one.side]) for one in standing.ranks],
        "matrix": [
            (
                *names[a],
                [standing.duels.get((a, b), Duel()) if a != b else None for b in range(len(names))],
            )
            for a in range(len(names))
        ],
        "may_vote": _may_vote(request, found.project_id),
    }
    return render(request, "curation/comparison.html", context)


@require_http_methods(["GET", "POST"])
@login_required
def comparison_vote(request: HttpRequest, public_id: str) -> HttpResponse:
    """Show two answers, not whose they are; a POST keeps a vote and goes on."""
    found = _access(request, public_id)
    _check_may_vote(request, found.project_id)
    sides, gone = _sides(request, found)
    if request.method == "POST" and sides:
        return _keep(request, found, sides)
    start = Place.read(request.GET.get("from", ""))
    step = (
        find_pair(comparison=found, sides=sides, voter=request.user, start=start) if sides else None
    )
    pair = step.pair if step is not None else None
    context: dict[str, Any] = {"comparison": found, "gone": gone, "step": step, "pair": pair}
    if pair is not None:
        read_texts([pair.row], clamp=None)
        cells = pair.row.cells
        left, right = cells[pair.left], cells[pair.right]
        context |= {
            "texts": [left.text if left else "", right.text if right else ""],
            "prompt": (left.facts or {}).get("prompt", "") if left else "",
            "skip": _behind(sides, pair.row.place),
        }
    context["voted"] = found.votes.filter(voter=request.user.pk, removed_at__isnull=True).count()
    return render(request, "curation/comparison_vote.html", context)


@require_POST
@login_required
def comparison_undo(request: HttpRequest, public_id: str) -> HttpResponse:
    """Take one's last vote back, and ask again."""
    found = _access(request, public_id)
    _check_may_vote(request, found.project_id)
    last = undo_vote(comparison=found, voter=request.user)
    if last is None:
        messages.warning(request, "There is no vote of yours to take back.")
        return redirect("comparison-vote", public_id)
    return redirect(f"{reverse('comparison-vote', args=[public_id])}?from={last.place}")


def _keep(request: HttpRequest, found: Comparison, sides: list[Side]) -> HttpResponse:
    place = Place.read(request.POST.get("place", ""))
    try:
        if place is None:
            raise CannotVote("Nothing was voted on.")
        cast_vote(
            comparison=found,
            sides=sides,
            voter=request.user,
            place=place,
            token=request.POST.get("token", ""),
            choice=request.POST.get("choice", ""),
        )
    except CannotVote as error:
        messages.error(request, str(error))
    return redirect("comparison-vote", found.public_id)


def _access(request: HttpRequest, public_id: str) -> Comparison:
    found = Comparison.objects.filter(
        public_id=public_id, project__in=projects_of(request.user)
    ).first()
    if found is None:
        raise Http404(f"No comparison found with id '{public_id}'.")
    return found


def _wanted(found: Comparison) -> Comparing:
    return Comparing(sides=tuple(found.sides), by=found.by, project=found.project.name)


def _sides(request: HttpRequest, found: Comparison) -> tuple[list[Side], list[str]]:
    """Return all sides, or none and in words which are gone: votes name them by their number."""
    projects = [found.project]
    sides, _, gone = find_sides(
        _wanted(found), batches=visible_batches(request.user, projects), projects=projects
    )
    return (sides, []) if len(sides) == len(found.sides) else ([], gone)


def _behind(sides: list[Side], place: Place) -> Place:
    """Return the place behind a row; a model's rows are counted down, and 0 is their beginning."""
    if sides[place.stage].batch is not None:
        return Place(place.stage, place.number + 1)
    return Place(place.stage, place.number - 1) if place.number > 1 else Place(place.stage + 1, 0)


def _may_vote(request: HttpRequest, project_id: int) -> bool:
    return projects_to_submit_to(request.user).filter(pk=project_id).exists()


def _check_may_vote(request: HttpRequest, project_id: int) -> None:
    if not _may_vote(request, project_id):
        raise PermissionDenied("Viewers of a project cannot vote in it.")
