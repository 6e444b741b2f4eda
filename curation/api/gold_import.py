"""`/api/gold-star/import`: a file of ratings and gold stars, taken over or refused line by line."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.response import Response

from curation.api.view import CurationView
from curation.imported_stars import UnreadableStars
from curation.models import StarImport
from curation.services.star_import import (
    BYTES_MAX,
    NothingToImport,
    create_star_import,
    discard_star_import,
    start_star_import,
)
from jobs.api.authentication import Caller
from jobs.api.errors import INVALID_REQUEST, ApiError, too_large
from jobs.api.paging import ID_MAX, find
from jobs.limited_upload import DRAIN_BYTES
from jobs.models import Project

REFUSED_TOLD = 1_000
# So long a request works on what it started; the rest is done in the background.
_AT_ONCE_S = 5.0
_BLOCK = 64 * 1024
_NAME_MAX = 400
_QUERY = ("batch_id", "dry_run", "filename", "project", "skip_refused")
_YES_NO = ("true", "false")


class ImportView(CurationView):
    def post(self, request: Request) -> Response:
        query = self.query()
        query.refuse_unknown(_QUERY)
        project = self._project(query.text("project", max_length=_NAME_MAX))
        self.check_may_change(project.pk)
        dry = query.choice("dry_run", _YES_NO) == "true"
        skip = query.choice("skip_refused", _YES_NO) == "true"
        name = query.text("filename", max_length=_NAME_MAX) or "import"
        batch_id = query.text("batch_id", max_length=ID_MAX) or ""
        with _receive(request._request) as file:
            try:
                made = create_star_import(
                    project=project, file=file, filename=name, batch_id=batch_id
                )
            except UnreadableStars as error:
                where = f"Line {error.line:,}: " if error.line else ""
                raise ApiError(f"{where}{error}", code="invalid_file") from error
            except NothingToImport as error:
                raise ApiError(str(error), code="nothing_to_import") from error
        report = render_import(made)
        if dry:
            discard_star_import(star_import=made)
            return Response({**report, "id": None})
        if made.refused and not skip:
            discard_star_import(star_import=made)
            return Response(_refused(made, report), status=400)
        start_star_import(star_import=made, for_s=_AT_ONCE_S)
        made.refresh_from_db()
        return Response(render_import(made))

    def _project(self, name: str | None) -> Project:
        """Return the key's project, or the one that a person names or has alone."""
        if isinstance(self.request.user, Caller) and name is None:
            return self.request.user.project
        projects = self.projects if name is None else self.projects.filter(name=name)
        found = list(projects[:2])
        if len(found) == 1:
            return found[0]
        words = "Name one of your projects in 'project'."
        raise ApiError(words, param="project", code="invalid_value")


class ImportedView(CurationView):
    def get(self, request: Request, import_id: str) -> Response:
        imports = StarImport.objects.filter(project__in=self.projects)
        return Response(render_import(find(imports, import_id, kind="import")))


def render_import(found: StarImport) -> dict[str, Any]:
    refused = found.lines.exclude(problem="").order_by("line")[:REFUSED_TOLD]
    return {
        "id": found.public_id,
        "object": "gold_star.import",
        "status": found.state,
        "filename": found.filename,
        "created_at": int(found.created_at.timestamp()),
        "rows": found.rows,
        "blank": found.blank,
        "silent": found.silent,
        "refused": found.refused,
        "starred": found.starred,
        "changed": found.changed,
        "same": found.same,
        "left": found.left,
        "ignored_columns": found.ignored,
        "errors": [
            {"line": one.line, "custom_id": one.named or None, "message": one.problem}
            for one in refused
        ],
    }


def _refused(made: StarImport, report: dict[str, Any]) -> dict[str, Any]:
    lines = "1 line cannot" if made.refused == 1 else f"{made.refused:,} lines cannot"
    first = report["errors"][0]
    words = (
        f"{lines} be taken over, so nothing was. Line {first['line']}: {first['message']} Mend "
        "what 'errors' lists, or send skip_refused=true to take over the other lines."
    )
    error = {"message": words, "type": INVALID_REQUEST, "param": None, "code": "lines_refused"}
    return {"error": error, "errors": report["errors"], "refused": made.refused}


@contextmanager
def _receive(request: HttpRequest) -> Iterator[IO[bytes]]:
    """Give the body as a temporary file, whole or not at all."""
    limit = min(BYTES_MAX, settings.MAX_FILE_BYTES)
    kind = request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        raise ApiError(
            "Send the file itself as the body of the request, not a form: with curl, "
            "--data-binary @FILE -H 'Content-Type: text/csv'.",
            status=415,
        )
    declared = request.META.get("CONTENT_LENGTH") or ""
    chunked = not declared and request.META.get("wsgi.input_terminated")
    stream: Any = request.META["wsgi.input"] if chunked else request
    with tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR) as file:
        size = 0
        while size < DRAIN_BYTES and (block := stream.read(_BLOCK)):
            size += len(block)
            # Most clients read no answer before they have sent everything.
            if size <= limit:
                file.write(block)
        if size > limit:
            raise too_large(limit, param="body")
        if declared.isdecimal() and size < int(declared):
            raise ApiError("The request ended before it was complete.")
        if not size:
            raise ApiError("The body of the request is empty: send a file of JSONL or CSV.")
        file.seek(0)
        yield file
