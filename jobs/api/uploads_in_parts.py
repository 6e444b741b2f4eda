"""The routes of uploads in parts: begin, look at, add a part, complete, cancel."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.api import schema
from jobs.api.errors import ApiError, conflict, not_found, too_large
from jobs.api.files import no_room
from jobs.api.orders import read_lifetime
from jobs.api.paging import find
from jobs.api.parameters import Parameters, echo
from jobs.api.parsing import json_body
from jobs.api.uploads import read_form
from jobs.api.view import ApiView
from jobs.models import UPLOAD_PURPOSES, Project, Upload
from jobs.objects import upload_object, upload_part_object
from jobs.services.files import InvalidFile
from jobs.services.limits import StorageFull
from jobs.services.uploads import (
    PART_BYTES_MAX,
    PARTS_MAX,
    InvalidUpload,
    OtherParts,
    UnknownPart,
    UploadClosed,
    add_part,
    cancel_upload,
    complete_upload,
    create_upload,
)

NAME_MAX = 255
MIME_TYPE_MAX = 255
ID_MAX = 64
_FIELDS = ("bytes", "filename", "mime_type", "purpose", "expires_after")
_BYTES_MAX = 2**63 - 1


def find_upload(project: Project, upload_id: str) -> Upload:
    uploads = Upload.objects.filter(project=project).select_related("file")
    return find(uploads, upload_id, kind="upload")


class UploadsView(ApiView):
    @extend_schema(**schema.CREATE_UPLOAD)
    def post(self, request: Request) -> Response:
        order = _read_order(json_body(request))
        try:
            upload = create_upload(project=self.project, **order)
        except InvalidFile as error:
            raise ApiError(str(error), code="invalid_file", param="filename") from error
        except StorageFull as error:
            raise no_room(error, param="bytes") from error
        return Response(upload_object(upload))


class UploadView(ApiView):
    @extend_schema(**schema.GET_UPLOAD)
    def get(self, request: Request, upload_id: str) -> Response:
        return Response(upload_object(find_upload(self.project, upload_id)))


class PartsView(ApiView):
    @extend_schema(**schema.CREATE_PART)
    def post(self, request: Request, upload_id: str) -> Response:
        # The form first: most clients read no answer before they have sent everything.
        with read_form(request._request, field="data", limit=PART_BYTES_MAX) as form:
            upload = find_upload(self.project, upload_id)
            fields = Parameters(form.values, typed=False)
            if "data" in fields.values:
                raise fields.invalid("data", "it must be sent as a file of the form")
            fields.refuse_unknown(("data",))
            if form.file is None:
                raise fields.missing("data")
            try:
                part = add_part(upload=upload, data=form.file)
            except UploadClosed as error:
                raise _closed("add a part to", error) from error
            except InvalidUpload as error:
                raise _invalid(error) from error
        return Response(upload_part_object(part, upload))


class CompleteView(ApiView):
    @extend_schema(**schema.COMPLETE_UPLOAD)
    def post(self, request: Request, upload_id: str) -> Response:
        upload = find_upload(self.project, upload_id)
        part_ids, md5 = _read_complete(json_body(request))
        try:
            upload = complete_upload(upload=upload, part_ids=part_ids, md5=md5)
        except UploadClosed as error:
            raise _closed("complete", error) from error
        except OtherParts as error:
            raise conflict("This upload was completed with other parts before.") from error
        except UnknownPart as error:
            message = f"No part found with id '{echo(str(error))}'."
            raise not_found(message, param="part_ids") from error
        except InvalidUpload as error:
            raise _invalid(error) from error
        except InvalidFile as error:
            raise ApiError(str(error), code="invalid_file", param="part_ids") from error
        return Response(upload_object(upload))


class CancelView(ApiView):
    @extend_schema(**schema.CANCEL_UPLOAD)
    def post(self, request: Request, upload_id: str) -> Response:
        upload = find_upload(self.project, upload_id)
        try:
            upload = cancel_upload(upload=upload)
        except UploadClosed as error:
            raise _closed("cancel", error) from error
        return Response(upload_object(upload))


def _read_order(body: Parameters) -> dict[str, Any]:
    body.refuse_unknown(_FIELDS)
    size: Any = body.integer("bytes", low=1, high=_BYTES_MAX, required=True)
    if size > settings.MAX_FILE_BYTES:
        raise too_large(settings.MAX_FILE_BYTES, param="bytes")
    return {
        "size": size,
        "filename": _file_name(body),
        "mime_type": body.text("mime_type", max_length=MIME_TYPE_MAX, required=True),
        "purpose": body.choice("purpose", UPLOAD_PURPOSES, required=True),
        "file_expires_s": read_lifetime(body, "expires_after"),
    }


def _file_name(body: Parameters) -> str:
    """Return the name as that of an upload in one piece is kept: no folders, nothing invisible."""
    sent: Any = body.text("filename", max_length=NAME_MAX, required=True)
    last: str = re.split(r"[/\\]", sent)[-1]
    name = "".join(character for character in last if character.isprintable())
    if name in ("", ".", ".."):
        raise body.invalid("filename", "it is no name of a file")
    return name


def _read_complete(body: Parameters) -> tuple[list[str], str | None]:
    body.refuse_unknown(("part_ids", "md5"))
    part_ids = body.texts("part_ids", max_items=PARTS_MAX, max_length=ID_MAX)
    md5 = body.text("md5", max_length=ID_MAX)
    if md5 is not None and not re.fullmatch("[0-9A-Fa-f]{32}", md5):
        raise body.invalid("md5", "it must be 32 hexadecimal digits")
    return part_ids, md5


def _closed(verb: str, error: UploadClosed) -> ApiError:
    return conflict(f"Cannot {verb} an upload with status '{error.state}'.")


def _invalid(error: InvalidUpload) -> ApiError:
    return ApiError(str(error), code=error.code, param=error.param)
