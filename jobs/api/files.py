"""The routes of files: upload, list, look at, read, delete."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase, StreamingHttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.api import schema
from jobs.api.errors import ApiError
from jobs.api.paging import find, read_paging
from jobs.api.parameters import Parameters
from jobs.api.rendering import AnyNegotiation
from jobs.api.uploads import Form, read_form
from jobs.api.view import ApiView
from jobs.models import UPLOAD_PURPOSES, Purpose, StoredFile
from jobs.objects import file_object, list_object
from jobs.services.files import (
    InvalidFile,
    create_file,
    delete_file,
    read_content,
    visible_files,
)
from jobs.services.limits import StorageFull, check_room

LIMIT_MAX = 10_000
EXPIRES_MIN_S = 3_600
EXPIRES_MAX_S = 2_592_000
_FORM_FIELDS = ("file", "purpose", "expires_after[anchor]", "expires_after[seconds]")
_CURSOR_MAX = 2**63 - 1


class FilesView(ApiView):
    @extend_schema(**schema.LIST_FILES)
    def get(self, request: Request) -> Response:
        query = self.query()
        paging = read_paging(query, default=LIMIT_MAX, high=LIMIT_MAX, ordered=True)
        purpose = query.choice("purpose", Purpose.values)
        rows = visible_files(self.project)
        if purpose is not None:
            rows = rows.filter(purpose=purpose)
        everything = StoredFile.objects.filter(project=self.project)
        found, has_more = paging.cut(rows, everything=everything, kind="file")
        return Response(list_object([file_object(one) for one in found], has_more=has_more))

    @extend_schema(**schema.CREATE_FILE)
    def post(self, request: Request) -> Response:
        with read_form(request._request, check=self._check_room) as form:
            purpose, expires_s = _read_fields(form)
            if form.file is None:
                raise Parameters(form.values).missing("file")
            try:
                stored = create_file(
                    project=self.project,
                    upload=form.file,
                    filename=form.file.name or "upload",
                    purpose=purpose,
                    expires_s=expires_s,
                )
            except InvalidFile as error:
                raise ApiError(str(error), code="invalid_file", param="file") from error
            except StorageFull as error:
                raise no_room(error) from error
        return Response(file_object(stored))

    def _check_room(self, size: int) -> None:
        try:
            check_room(project=self.project, size=size)
        except StorageFull as error:
            raise no_room(error) from error


def no_room(error: StorageFull, *, param: str = "file") -> ApiError:
    return ApiError(str(error), status=413, code="storage_limit_exceeded", param=param)


class FileView(ApiView):
    @extend_schema(**schema.GET_FILE)
    def get(self, request: Request, file_id: str) -> Response:
        return Response(file_object(find(visible_files(self.project), file_id, kind="file")))

    @extend_schema(**schema.DELETE_FILE)
    def delete(self, request: Request, file_id: str) -> Response:
        stored = find(visible_files(self.project), file_id, kind="file")
        delete_file(stored=stored)
        return Response({"id": stored.public_id, "object": "file", "deleted": True})


class FileContentView(ApiView):
    content_negotiation_class = AnyNegotiation

    @extend_schema(**schema.GET_FILE_CONTENT)
    def get(self, request: Request, file_id: str) -> HttpResponseBase:
        after = self.query().integer("after", low=0, high=_CURSOR_MAX)
        stored = find(visible_files(self.project), file_id, kind="file")
        content = read_content(stored=stored, after=after)
        headers = {"Content-Disposition": "attachment", "Cache-Control": "no-store"}
        if content.size is not None:
            headers["Content-Length"] = str(content.size)
        if content.batch_state is not None:
            headers["x-vbatch-batch-status"] = content.batch_state
        if content.after is not None:
            headers["x-vbatch-next-after"] = str(content.after)
        return StreamingHttpResponse(
            content.chunks, content_type="application/octet-stream", headers=headers
        )


def _read_fields(form: Form) -> tuple[str, int | None]:
    """Return the purpose, and the seconds after which the file expires if it was asked for."""
    fields = Parameters(form.values, typed=False)
    fields.refuse_unknown(_FORM_FIELDS)
    purpose: Any = fields.choice("purpose", UPLOAD_PURPOSES, required=True)
    seconds = fields.integer("expires_after[seconds]", low=EXPIRES_MIN_S, high=EXPIRES_MAX_S)
    anchor = fields.choice("expires_after[anchor]", ("created_at",), required=seconds is not None)
    if anchor is not None and seconds is None:
        raise fields.missing("expires_after[seconds]")
    return purpose, seconds
