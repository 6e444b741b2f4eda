"""Files that are streamed to whoever asked for them, from a page, the API or the admin."""

from __future__ import annotations

from collections.abc import Iterable

from django.http import StreamingHttpResponse
from django.utils import timezone
from django.utils.http import content_disposition_header


def attach(content: Iterable[bytes], *, name: str, media_type: str) -> StreamingHttpResponse:
    """Return a download that grows as it is read; no proxy keeps it back or for later."""
    return StreamingHttpResponse(
        content,
        content_type=media_type,
        headers={
            "Content-Disposition": str(content_disposition_header(True, name)),
            "Cache-Control": "private, no-store",
            "X-Accel-Buffering": "no",
        },
    )


def stamped(stem: str) -> str:
    """Return the beginning of a file's name, with the time in it."""
    return f"{stem}-{timezone.now():%Y%m%d-%H%M%S}"
