"""Taking over a result file of `vllm bench`."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods

from benchmarks.services.imports import BYTES_MAX, import_results
from benchmarks.vllm_results import UnreadableResults
from jobs.models import Project
from jobs.services.projects import projects_of
from jobs.views.access import projects_to_submit_to
from jobs.views.receiving import FormRefused, receive_form


@require_http_methods(["GET", "HEAD", "POST"])
@csrf_exempt  # Checked by `_receive`: the check reads the form, which must be limited before.
@login_required
def import_file(request: HttpRequest) -> HttpResponse:
    projects = list(projects_to_submit_to(request.user))
    if not projects and projects_of(request.user).exists():
        raise PermissionDenied("Viewers of a project cannot import benchmarks into it.")
    if request.method != "POST":
        return _form(request, projects)
    try:
        receive_form(request, limit=_limit())
    except FormRefused as error:
        return _form(request, projects, problem=str(error), status=error.status)
    return _receive(request, projects)


@csrf_protect
def _receive(request: HttpRequest, projects: list[Project]) -> HttpResponse:
    wanted = request.POST.get("project", "")
    project = next((one for one in projects if str(one.pk) == wanted), None)
    if project is None:
        words = "Choose a project in which you may start benchmarks."
        return _form(request, projects, problem=words, status=400)
    upload = request.FILES.get("file")
    if upload is None or upload.file is None:
        return _form(request, projects, problem="Choose a file.", status=400)
    note = request.POST.get("note", "").replace("\0", "").strip()
    try:
        made = import_results(project=project, content=upload.read(), note=note)
    except UnreadableResults as error:
        return _form(request, projects, problem=str(error), status=400)
    return redirect("benchmark", made.public_id)


def _limit() -> int:
    return min(BYTES_MAX, settings.MAX_FILE_BYTES)


def _form(
    request: HttpRequest, projects: list[Project], *, problem: str = "", status: int = 200
) -> HttpResponse:
    context = {
        "projects": projects,
        "problem": problem,
        "max_bytes": _limit(),
        # What did not come whole cannot be read.
        "given": request.POST if status == 400 and request.FILES else {},
    }
    return render(request, "benchmarks/import.html", context, status=status)
