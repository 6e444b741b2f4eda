"""A file that is the body of a request, received whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from django.conf import settings
from django.http import HttpRequest

from jobs.api.errors import ApiError, too_large
from jobs.limited_upload import DRAIN_BYTES

_BLOCK = 64 * 1024


@contextmanager
def receive(request: HttpRequest, *, limit: int, what: str, media_type: str) -> Iterator[IO[bytes]]:
    """Give the body as a temporary file, whole or not at all; `what` says what it should be."""
    limit = min(limit, settings.MAX_FILE_BYTES)
    kind = request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        raise ApiError(
            "Send the file itself as the body of the request, not a form: with curl, "
            f"--data-binary @FILE -H 'Content-Type: {media_type}'.",
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
            raise ApiError(f"The body of the request is empty: send {what}.")
        file.seek(0)
        yield file
