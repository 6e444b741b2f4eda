"""Reading a multipart upload: straight to disk, whole or not at all, never too large."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.utils.http import parse_header_parameters

from jobs.api.errors import ApiError, too_large
from jobs.limited_upload import (
    DRAIN_BYTES,
    FORM_BYTES,
    LimitedFileUploadHandler,
    UploadTooLarge,
)

_BLOCK = 64 * 1024
_END_BYTES = 512


@dataclass(frozen=True)
class Form:
    """The fields of a multipart form, and its file, which is gone when the request ends."""

    values: Mapping[str, str]
    file: UploadedFile[bytes] | None


class _Body:
    """A request's body that knows how much of it was read, and how it ended."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self.stream = stream
        self.limit = limit
        self.count = 0
        self.end = b""

    def read(self, size: int = _BLOCK) -> bytes:
        try:
            block = self.stream.read(size)
        except OSError as error:
            raise ApiError("The request ended before it was complete.") from error
        self.count += len(block)
        self.end = (self.end + block[-_END_BYTES:])[-_END_BYTES:]
        if self.count > self.limit:
            raise UploadTooLarge
        return block

    def drain(self) -> None:
        while self.count < DRAIN_BYTES and (block := self.stream.read(_BLOCK)):
            self.count += len(block)


@contextmanager
def read_form(
    request: HttpRequest,
    *,
    field: str = "file",
    limit: int | None = None,
    check: Callable[[int], None] | None = None,
) -> Iterator[Form]:
    """Read the multipart form of a request; its temporary file is removed at the end.

    The file stands in `field` and has at most `limit` bytes, else what the operator allows.
    Raises ApiError for what is not a multipart form, is cut off, or is too large. `check` is
    given the least size that the file can have by the length of the body, before it is read, and
    may raise ApiError too.
    """
    limit = settings.MAX_FILE_BYTES if limit is None else limit
    content_type = request.META.get("CONTENT_TYPE", "")
    if not re.match("multipart/form-data *(;|$)", content_type, flags=re.I):
        raise ApiError(
            f"Unsupported media type '{content_type[:100]}': send multipart/form-data.",
            status=415,
        )
    length, stream = _body_of(request)
    body = _Body(stream, limit + FORM_BYTES)
    if length is not None and length > limit + FORM_BYTES:
        body.drain()
        raise too_large(limit, param=field)
    if check is not None and length is not None:
        try:
            check(max(0, length - FORM_BYTES))
        except ApiError:
            body.drain()
            raise
    handler = LimitedFileUploadHandler(request, limit)
    try:
        post, files = _parse(request, content_type, length, body, handler)
    except UploadTooLarge as error:
        body.drain()
        raise too_large(limit, param=field) from error
    # LookupError: a part names a character set that does not exist.
    except (MultiPartParserError, LookupError, ValueError) as error:
        raise ApiError(f"The multipart form is malformed: {error}") from error
    try:
        _check_complete(body, length, content_type)
        uploads = files.getlist(field)
        if len(uploads) > 1:
            raise ApiError("Send one file a request.", param=field)
        yield Form(values=post.dict(), file=uploads[0] if uploads else None)
    finally:
        for _, group in files.lists():
            for upload in group:
                upload.close()


def _parse(
    request: HttpRequest,
    content_type: str,
    length: int | None,
    body: _Body,
    handler: LimitedFileUploadHandler,
) -> tuple[Any, Any]:
    meta = {
        **request.META,
        # Django's parser knows the media type in small letters only.
        "CONTENT_TYPE": f"multipart/form-data{content_type[len('multipart/form-data') :]}",
        # Only 0 means something to the parser; a body in chunks has no length.
        "CONTENT_LENGTH": "1" if length is None else str(length),
    }
    stream: Any = body
    try:
        return MultiPartParser(meta, stream, [handler], "utf-8").parse()
    except BaseException:
        if hasattr(handler, "file"):
            handler.file.close()
        raise


def _body_of(request: HttpRequest) -> tuple[int | None, IO[bytes]]:
    """Return the length of the body, None where it comes in chunks, and the body."""
    declared = request.META.get("CONTENT_LENGTH") or ""
    if not declared and request.META.get("wsgi.input_terminated"):
        # Django reads nothing without a length; the server marks the end of a chunked body.
        return None, request.META["wsgi.input"]
    stream: Any = request
    return int(declared) if declared.isdecimal() else 0, stream


def _check_complete(body: _Body, length: int | None, content_type: str) -> None:
    """Refuse a form that broke off: Django takes what has come for the whole of it."""
    boundary = parse_header_parameters(content_type)[1].get("boundary", "")
    if (length is not None and body.count < length) or f"--{boundary}--".encode() not in body.end:
        raise ApiError("The multipart form ended before it was complete.")
