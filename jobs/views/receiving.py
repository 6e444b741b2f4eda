"""A form with a file, as a page takes it in: to disk, whole or not at all, never too large."""

from __future__ import annotations

from django.http import HttpRequest, UnreadablePostError

from jobs.limited_upload import (
    DRAIN_BYTES,
    FORM_BYTES,
    LimitedFileUploadHandler,
    UploadTooLarge,
)

# The last field of such a form: without it the body broke off, and Django takes what came for all.
LAST_FIELD = "complete"
_BLOCK = 64 * 1024


class FormRefused(Exception):
    """The form was not taken in; the message says why, and `status` is that of the answer."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


def receive_form(request: HttpRequest, *, limit: int) -> None:
    """Read the form of a request, with a file of at most `limit` bytes; raises FormRefused.

    To be called before anything looks at `request.POST`, the check for forgery included: hence
    from a view that is exempt from it and hands on to one that is not.
    """
    try:
        _receive(request, limit)
    except UploadTooLarge as error:
        words = f"The file is too large: at most {limit:,} bytes are allowed. Split it."
        raise FormRefused(words, status=413) from error


def _receive(request: HttpRequest, limit: int) -> None:
    declared = request.META.get("CONTENT_LENGTH") or "0"
    if declared.isdecimal() and int(declared) > limit + FORM_BYTES:
        _drain(request)
        raise UploadTooLarge
    handler = LimitedFileUploadHandler(request, limit)
    request.upload_handlers = [handler]
    try:
        whole = request.POST.get(LAST_FIELD) == "1"
    except UnreadablePostError as error:
        raise _cut_off() from error
    except UploadTooLarge:
        handler.file.close()
        _drain(request)
        raise
    if not whole:
        raise _cut_off()


def _cut_off() -> FormRefused:
    words = "The upload broke off before it was complete. Send the file again."
    return FormRefused(words, status=400)


def _drain(request: HttpRequest) -> None:
    """Read what is still to come, since a browser reads no answer before it has sent all."""
    left = DRAIN_BYTES
    try:
        while left > 0 and (block := request.read(_BLOCK)):
            left -= len(block)
    except UnreadablePostError:
        pass  # It has gone away, and needs no answer.
