"""Importing ratings and gold stars from a file: sent, looked at, and then taken over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from curation.imported_stars import UnreadableStars
from curation.models import GoldEvent, StarImport, StarImportState
from curation.services.star_import import (
    BYTES_MAX,
    ROWS_MAX,
    NothingToImport,
    create_star_import,
    discard_star_import,
    start_star_import,
)
from curation.shapes.table import encode_cells
from curation.views.access import check_may_curate, may_curate
from jobs.models import Project
from jobs.services.projects import projects_of
from jobs.views.access import projects_to_submit_to
from jobs.views.live import live_fragment
from jobs.views.receiving import FormRefused, receive_form

LISTED = 20
REFUSED_SHOWN = 100
LINES_SHOWN = 10
# So long a press of the button works at once; the rest is done in the background.
_AT_ONCE_S = 3.0


class _Refused(Exception):
    """Nothing was kept; the message says why."""


@require_http_methods(["GET", "HEAD", "POST"])
@csrf_exempt  # Checked by `_receive`: the check reads the form, which must be limited before.
@login_required
def star_import_new(request: HttpRequest) -> HttpResponse:
    projects = list(projects_to_submit_to(request.user))
    if not projects and projects_of(request.user).exists():
        raise PermissionDenied("Viewers of a project cannot change anything in it.")
    if request.method != "POST":
        return _form(request, projects)
    try:
        receive_form(request, limit=_limit())
    except FormRefused as error:
        return _form(request, projects, problem=str(error), status=error.status)
    return _receive(request, projects)


@csrf_protect
def _receive(request: HttpRequest, projects: list[Project]) -> HttpResponse:
    try:
        made = _create(request, projects)
    except UnreadableStars as error:
        where = f"Line {error.line:,}: " if error.line else ""
        return _form(request, projects, problem=f"{where}{error}", status=400)
    except (_Refused, NothingToImport) as error:
        return _form(request, projects, problem=str(error), status=400)
    return redirect("star-import", made.public_id)


def _create(request: HttpRequest, projects: list[Project]) -> StarImport:
    wanted = request.POST.get("project", "")
    project = next((one for one in projects if str(one.pk) == wanted), None)
    if project is None:
        raise _Refused("Choose a project in which you may curate.")
    upload = request.FILES.get("file")
    if upload is None or not upload.name or upload.file is None:
        raise _Refused("Choose a file.")
    return create_star_import(
        project=project,
        file=upload.file,
        filename=upload.name,
        batch_id=request.POST.get("batch_id", "").replace("\0", "").strip(),
    )


@require_GET
@login_required
def star_import(request: HttpRequest, public_id: str) -> HttpResponse:
    found = _access(request, public_id)
    return render(request, "curation/star_import.html", _context(request, found))


@require_GET
@login_required
def star_import_live(request: HttpRequest, public_id: str) -> HttpResponse:
    found = _access(request, public_id)
    return live_fragment(request, "curation/_star_import.html", _context(request, found))


@require_POST
@login_required
def star_import_start(request: HttpRequest, public_id: str) -> HttpResponse:
    found = _access(request, public_id)
    check_may_curate(request.user, found.project_id)
    if not start_star_import(star_import=found, for_s=_AT_ONCE_S):
        messages.warning(request, "It was started already.")
    return redirect("star-import", public_id)


@require_POST
@login_required
def star_import_discard(request: HttpRequest, public_id: str) -> HttpResponse:
    found = _access(request, public_id)
    check_may_curate(request.user, found.project_id)
    if not discard_star_import(star_import=found):
        messages.warning(request, "It was started already; what it did can be undone.")
        return redirect("star-import", public_id)
    messages.success(request, "Discarded. No answer was changed.")
    return redirect("star-import-new")


@require_GET
@login_required
def star_import_refused(request: HttpRequest, public_id: str) -> StreamingHttpResponse:
    """Stream every line that was refused, and why."""
    found = _access(request, public_id)
    response = StreamingHttpResponse(_refused_table(found), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="refused-{found.public_id[-8:]}.csv"'
    response["Cache-Control"] = "private, no-store"
    return response


def _refused_table(found: StarImport) -> Iterator[bytes]:
    yield "\ufeff".encode() + encode_cells(("line", "answer", "reason"))
    for one in found.lines.exclude(problem="").order_by("line").iterator(chunk_size=1_000):
        yield encode_cells((str(one.line), one.named, one.problem))


def _form(
    request: HttpRequest, projects: list[Project], *, problem: str = "", status: int = 200
) -> HttpResponse:
    imports = StarImport.objects.filter(project__in=projects_of(request.user))
    context = {
        "projects": projects,
        "problem": problem,
        # Of a form that was too large nothing was read.
        "given": request.POST if problem and status != 413 else {},
        "imports": imports.select_related("project").order_by("-pk")[:LISTED],
        "max_bytes": _limit(),
        "max_rows": ROWS_MAX,
    }
    return render(request, "curation/star_import_new.html", context, status=status)


def _context(request: HttpRequest, found: StarImport) -> dict[str, Any]:
    refused = found.lines.exclude(problem="").order_by("line")
    context: dict[str, Any] = {
        "import": found,
        "refused": refused[:REFUSED_SHOWN],
        "unlisted": max(0, found.refused - REFUSED_SHOWN),
        "new": found.left - found.known,
        "may_change": may_curate(request.user, found.project_id),
    }
    if found.state == StarImportState.CHECKED:
        context["first"] = found.lines.filter(problem="").order_by("line")[:LINES_SHOWN]
    if found.state == StarImportState.DONE:
        context["can_undo"] = GoldEvent.objects.filter(deed=found.deed).exists()
    return context


def _access(request: HttpRequest, public_id: str) -> StarImport:
    found = (
        StarImport.objects.filter(public_id=public_id, project__in=projects_of(request.user))
        .select_related("project")
        .first()
    )
    if found is None:
        raise Http404(f"No import found with id '{public_id}'.")
    return found


def _limit() -> int:
    return min(BYTES_MAX, int(settings.MAX_FILE_BYTES))
