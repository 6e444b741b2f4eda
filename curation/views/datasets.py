"""Data sets: all of them, one with its versions, and what differs between two."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Count, Max, OuterRef, Subquery
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from curation.gold_fields import SCORE_MAX, SCORE_MIN
from curation.models import DatasetVersion, VersionState
from curation.services.dataset_diff import compare_versions
from curation.services.datasets import (
    GROUPS,
    InvalidDataset,
    Plan,
    create_dataset,
    create_version,
)
from curation.services.gold_filter import GoldFilter
from curation.shapes import SHAPES
from curation.splits import InvalidSplits
from curation.views.access import (
    access_dataset,
    check_may_curate,
    may_curate,
    visible_datasets,
)
from jobs.models import ServedModel
from jobs.views.access import projects_to_submit_to

LISTED = 200


@require_http_methods(["GET", "POST"])
@login_required
def datasets(request: HttpRequest) -> HttpResponse:
    projects = list(projects_to_submit_to(request.user))
    problem = ""
    if request.method == "POST":
        name = request.POST.get("project", "")
        project = next((one for one in projects if one.name == name), None)
        if project is None:
            problem = "Choose a project in which you may curate."
        else:
            try:
                made = create_dataset(
                    project=project,
                    name=request.POST.get("name", ""),
                    description=request.POST.get("description", ""),
                )
                return redirect("dataset", made.public_id)
            except InvalidDataset as error:
                problem = f"{error.field.capitalize()}: {error}."
    newest = DatasetVersion.objects.filter(dataset=OuterRef("pk")).order_by("-number")
    found = (
        visible_datasets(request.user)
        .annotate(
            versions_made=Count("versions"),
            changed_at=Max("versions__created_at"),
            newest_rows=Subquery(newest.values("rows")[:1]),
            newest_state=Subquery(newest.values("state")[:1]),
            newest_number=Subquery(newest.values("number")[:1]),
        )
        .order_by("-pk")[:LISTED]
    )
    context = {"datasets": found, "projects": projects, "problem": problem, "given": request.POST}
    return render(request, "curation/datasets.html", context)


@require_GET
@login_required
def dataset(request: HttpRequest, public_id: str) -> HttpResponse:
    return _dataset_page(request, public_id, problem="")


@require_POST
@login_required
def version_create(request: HttpRequest, public_id: str) -> HttpResponse:
    found = access_dataset(request.user, public_id)
    check_may_curate(request.user, found.project_id)
    try:
        made = create_version(dataset=found, plan=_read_plan(request))
    except InvalidSplits as error:
        return _dataset_page(request, public_id, problem=f"Splits: {error}")
    except InvalidDataset as error:
        words = f"{error.field.replace('_', ' ').capitalize()}: {error}."
        return _dataset_page(request, public_id, problem=words)
    return redirect("dataset-version", public_id, made.number)


@require_GET
@login_required
def dataset_diff(request: HttpRequest, public_id: str) -> HttpResponse:
    found = access_dataset(request.user, public_id)
    versions = {
        str(one.number): one
        for one in found.versions.exclude(state__in=(VersionState.BUILDING, VersionState.FAILED))
    }
    old = versions.get(request.GET.get("from", ""))
    new = versions.get(request.GET.get("to", ""))
    if old is None or new is None:
        raise Http404("Name two versions that are built, as in ?from=1&to=2.")
    context = {"dataset": found, "old": old, "new": new, "diff": compare_versions(old, new)}
    return render(request, "curation/dataset_diff.html", context)


def _dataset_page(request: HttpRequest, public_id: str, *, problem: str) -> HttpResponse:
    found = access_dataset(request.user, public_id)
    versions = list(found.versions.order_by("-number")[:LISTED])
    last = Plan.of(versions[0].plan) if versions else Plan()
    context: dict[str, Any] = {
        "dataset": found,
        "versions": versions,
        "pairs": [(one.number - 1, one.number) for one in versions if one.number > 1],
        "may_change": may_curate(request.user, found.project_id),
        "plan": last,
        "given": request.POST,
        "problem": problem,
        "groups": list(GROUPS.items()),
        "shapes": [shape for shape in SHAPES.values() if not shape.name.startswith("icl-")],
        "models": ServedModel.objects.order_by("name").values_list("name", flat=True)[:LISTED],
        "scores": range(SCORE_MIN, SCORE_MAX + 1),
    }
    return render(request, "curation/dataset.html", context, status=400 if problem else 200)


def _read_plan(request: HttpRequest) -> Plan:
    form = request.POST

    def number(name: str, *, needed: bool = False) -> int | None:
        text = form.get(name, "").strip().replace(",", "")
        if not text and not needed:
            return None
        if not text.isascii() or not text.isdecimal() or len(text) > 10:
            raise InvalidDataset(name, "it must be a whole number")
        return int(text)

    def text(name: str) -> str | None:
        return form.get(name, "").replace("\0", "").strip() or None

    return Plan(
        stars=GoldFilter(
            min_quality=number("min_quality"),
            tag=text("tag"),
            batch_id=text("batch_id"),
            model=text("answered_by"),
            edited=True if form.get("edited") == "true" else None,
        ),
        splits=text("splits") or "",
        seed=number("seed", needed=True) or 0,
        group=form.get("group", ""),
        shape=form.get("shape", ""),
        model=text("model") or "",
        max_tokens=number("max_tokens"),
        min_rows=number("min_rows", needed=True) or 0,
        keep_cut=form.get("keep_cut") == "true",
    )
