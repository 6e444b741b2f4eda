"""The files of a batch, for a person who is logged in."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET

from jobs.services.files import read_content, visible_files
from jobs.views.access import access_batch


@require_GET
@login_required
def batch_file(request: HttpRequest, public_id: str, kind: str) -> StreamingHttpResponse:
    """Stream the input, output or error file; of a live batch, what is there by now."""
    batch = access_batch(request.user, public_id)
    file_id = getattr(batch, f"{kind}_file_id")
    stored = visible_files(batch.project).filter(pk=file_id).first()
    if stored is None:
        raise Http404("The file does not exist (any more).")
    content = read_content(stored=stored)
    response = StreamingHttpResponse(content.chunks, content_type="application/jsonl")
    if content.size is not None:
        response["Content-Length"] = str(content.size)
    response["Content-Disposition"] = str(content_disposition_header(True, stored.filename))
    response["Cache-Control"] = "private, no-store"
    return response
