"""`/api/gold-star/import`: a file of ratings and gold stars, taken over or refused line by line."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from curation.api.receiving import receive
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
from jobs.api.errors import INVALID_REQUEST, ApiError
from jobs.api.paging import ID_MAX, find

REFUSED_TOLD = 1_000
# So long a request works on what it started; the rest is done in the background.
_AT_ONCE_S = 5.0
_NAME_MAX = 400
_QUERY = ("batch_id", "dry_run", "filename", "project", "skip_refused")
_YES_NO = ("true", "false")


class ImportView(CurationView):
    def post(self, request: Request) -> Response:
        query = self.query()
        query.refuse_unknown(_QUERY)
        project = self.project_named(query.text("project", max_length=_NAME_MAX))
        self.check_may_change(project.pk)
        dry = query.choice("dry_run", _YES_NO) == "true"
        skip = query.choice("skip_refused", _YES_NO) == "true"
        name = query.text("filename", max_length=_NAME_MAX) or "import"
        batch_id = query.text("batch_id", max_length=ID_MAX) or ""
        with receive(
            request._request, limit=BYTES_MAX, what="a file of JSONL or CSV", media_type="text/csv"
        ) as file:
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
