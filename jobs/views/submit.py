"""Sending a file from the browser: it is stored as the input of a batch to be."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods

from jobs.csv_lines import TableFinding
from jobs.limited_upload import UploadTooLarge
from jobs.models import Project, Purpose, StoredFile
from jobs.services.files import InvalidFile, create_file
from jobs.services.input_reading import names_of_models
from jobs.services.limits import StorageFull
from jobs.services.projects import projects_of
from jobs.services.table_files import TableRefused, create_from_table
from jobs.views.access import projects_to_submit_to
from jobs.views.receiving import FormRefused, receive_form
from jobs.views.submit_forms import TemplateForm, problems_of

TABLES = (".csv", ".tsv")


class _Refused(Exception):
    """Nothing was stored; `findings` say why."""

    def __init__(self, *messages: str, status: int = 400) -> None:
        super().__init__(messages[0])
        self.findings = [TableFinding(message) for message in messages]
        self.hidden = 0
        self.status = status


@require_http_methods(["GET", "HEAD", "POST"])
@csrf_exempt  # Checked by `_receive`: the check reads the form, which must be limited before.
@login_required
def submit(request: HttpRequest) -> HttpResponse:
    projects = list(projects_to_submit_to(request.user))
    if not projects and projects_of(request.user).exists():
        raise PermissionDenied("Viewers of a project cannot submit batches to it.")
    if request.method != "POST":
        return render(request, "jobs/submit.html", _context(request, projects))
    try:
        receive_form(request, limit=settings.MAX_FILE_BYTES)
    except FormRefused as error:
        return _refuse(request, projects, _Refused(str(error), status=error.status))
    return _receive(request, projects)


@csrf_protect
def _receive(request: HttpRequest, projects: list[Project]) -> HttpResponse:
    try:
        stored = _store(request, projects)
    except (_Refused, TableRefused) as error:
        return _refuse(request, projects, error)
    address = reverse("submit-review", args=[stored.public_id])
    if _wants_json(request):
        return JsonResponse({"location": address})
    return redirect(address)


def _store(request: HttpRequest, projects: list[Project]) -> StoredFile:
    wanted = request.POST.get("project", "")
    project = next((one for one in projects if str(one.pk) == wanted), None)
    if project is None:
        raise _Refused("Choose a project of yours.")
    upload = request.FILES.get("file")
    if upload is None or not upload.name:
        raise _Refused("Choose a file.")
    try:
        if PurePath(upload.name).suffix.lower() not in TABLES:
            return create_file(
                project=project,
                upload=upload,
                filename=upload.name,
                purpose=Purpose.BATCH,
                expires_s=None,
            )
        form = TemplateForm(request.POST, models=sorted(names_of_models()))
        if not form.is_valid():
            raise _Refused(*problems_of(form))
        stored, blank = create_from_table(
            project=project, table=upload, filename=upload.name, template=form.template()
        )
    except InvalidFile as error:
        raise _Refused(str(error)) from error
    except StorageFull as error:
        raise _Refused(str(error), status=413) from error
    if blank:
        rows = "1 empty row was" if blank == 1 else f"{blank:,} empty rows were"
        messages.info(request, f"{rows} left out.")
    return stored


def _refuse(
    request: HttpRequest, projects: list[Project], error: _Refused | TableRefused
) -> HttpResponse:
    """Say what is wrong: beside the form that the browser still shows, or with it filled anew."""
    status = getattr(error, "status", 400)
    if _wants_json(request):
        html = render_to_string("jobs/_submit_refused.html", {"refused": error})
        return JsonResponse({"problem": html}, status=status)
    # Of a form that was too large nothing was read.
    given = {} if isinstance(error.__cause__, UploadTooLarge) or status == 413 else request.POST
    context = _context(request, projects) | {"refused": error, "given": given}
    return render(request, "jobs/submit.html", context, status=status)


def _wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept") == "application/json"


def _context(request: HttpRequest, projects: list[Project]) -> dict[str, Any]:
    models = sorted(names_of_models())
    return {
        "projects": projects,
        "models": models,
        "model_string": json.dumps(models[0] if models else "MODEL"),
        "given": {},
        "max_bytes": settings.MAX_FILE_BYTES,
        "max_lines": settings.MAX_LINES,
    }
