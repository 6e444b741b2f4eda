"""One version of a data set: what is in it, what was found, freezing and exporting it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from curation.attached import attach
from curation.models import DatasetVersion, Export, VersionState
from curation.services.datasets import (
    GROUPS,
    CannotFreeze,
    Plan,
    blockers,
    discard_version,
    freeze_version,
)
from curation.services.export_files import PARQUET
from curation.services.exports import CannotExport, create_export
from curation.shapes import SHAPES, find_shape
from curation.shapes.table import rejects_table
from curation.splits import read_splits
from curation.views.access import access_version, check_may_curate, may_curate
from curation.views.bars import bars_of
from jobs.services.files import read_content, visible_files
from jobs.services.projects import projects_of
from jobs.views.live import live_fragment


@require_GET
@login_required
def version(request: HttpRequest, public_id: str, number: int) -> HttpResponse:
    found = access_version(request.user, public_id, number)
    return render(request, "curation/version.html", _context(request, found))


@require_GET
@login_required
def version_live(request: HttpRequest, public_id: str, number: int) -> HttpResponse:
    found = access_version(request.user, public_id, number)
    return live_fragment(request, "curation/_version.html", _context(request, found))


@require_POST
@login_required
def version_freeze(request: HttpRequest, public_id: str, number: int) -> HttpResponse:
    found = access_version(request.user, public_id, number)
    check_may_curate(request.user, found.dataset.project_id)
    try:
        freeze_version(version=found, reason=request.POST.get("reason", "").replace("\0", ""))
        messages.success(request, f"Version {number} is frozen: it never changes from now on.")
    except CannotFreeze as error:
        messages.error(request, str(error))
    return redirect("dataset-version", public_id, number)


@require_POST
@login_required
def version_discard(request: HttpRequest, public_id: str, number: int) -> HttpResponse:
    found = access_version(request.user, public_id, number)
    check_may_curate(request.user, found.dataset.project_id)
    if discard_version(version=found):
        messages.success(request, f"Version {number} is discarded; its gold stars are kept.")
        return redirect("dataset", public_id)
    messages.error(request, f"Version {number} is frozen and stays.")
    return redirect("dataset-version", public_id, number)


@require_POST
@login_required
def version_export(request: HttpRequest, public_id: str, number: int) -> HttpResponse:
    found = access_version(request.user, public_id, number)
    try:
        create_export(
            version=found,
            shape=request.POST.get("shape", ""),
            split=request.POST.get("split", ""),
        )
    except CannotExport as error:
        messages.error(request, str(error))
    return redirect("dataset-version", public_id, number)


@require_GET
@login_required
def version_rejects(request: HttpRequest, public_id: str, number: int) -> StreamingHttpResponse:
    found = access_version(request.user, public_id, number)
    rows = found.reject_set.order_by("pk").iterator(chunk_size=1_000)
    table = rejects_table(one.as_reject() for one in rows)
    return attach(table, name=f"rejects-v{number}.csv", media_type="text/csv; charset=utf-8")


@require_GET
@login_required
def export_file(request: HttpRequest, public_id: str) -> StreamingHttpResponse:
    """Stream an export that is done."""
    export = (
        Export.objects.filter(
            public_id=public_id, version__dataset__project__in=projects_of(request.user)
        )
        .select_related("version__dataset__project")
        .first()
    )
    stored = None
    if export is not None and export.file_id is not None:
        project = export.version.dataset.project
        stored = visible_files(project).filter(pk=export.file_id).first()
    if stored is None:
        raise Http404("The export does not exist, or its file has expired: export it again.")
    content = read_content(stored=stored)
    media_type = "application/octet-stream"
    response = attach(content.chunks, name=stored.filename, media_type=media_type)
    response["Content-Length"] = str(content.size)
    return response


def _context(request: HttpRequest, found: DatasetVersion) -> dict[str, Any]:
    report = found.report
    plan = Plan.of(found.plan)
    shape = find_shape(plan.shape)
    rejected = sum(report.get("rejects", {}).values())
    return {
        "dataset": found.dataset,
        "version": found,
        "plan": plan,
        "group_words": GROUPS.get(plan.group, plan.group),
        "shape": shape,
        "report": report,
        "splits": bars_of(
            {
                one.name: report.get("splits", {}).get(one.name, 0)
                for one in read_splits(plan.splits)
            }
        ),
        "models": bars_of(report.get("models", {})),
        "lengths": bars_of(
            dict(sorted(report.get("lengths", {}).items(), key=lambda one: int(one[0])))
        ),
        "rejects": list(report.get("rejects", {}).items()),
        "rejected": rejected,
        "asked": found.rows + rejected,
        "blockers": blockers(found) if found.state == VersionState.DRAFT else [],
        "exports": found.exports.select_related("file").order_by("-pk")[:50],
        "may_change": may_curate(request.user, found.dataset.project_id),
        "shapes": [*SHAPES.values()],
        "parquet": PARQUET,
        "is_built": found.state in (VersionState.DRAFT, VersionState.FROZEN),
    }
