"""An upload that goes straight to disk and stops when it has grown too large."""

from __future__ import annotations

import os
from typing import Any

from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, TemporaryFileUploadHandler
from django.http import HttpRequest

# What the other fields, the boundaries and the headers of the parts may take.
FORM_BYTES = 64 * 1024
# A body that is refused is still read up to here, since most clients read no answer before
# they have sent everything.
DRAIN_BYTES = 1024 * 1024 * 1024


class UploadTooLarge(Exception):
    """More bytes have come than are allowed."""


class LimitedFileUploadHandler(TemporaryFileUploadHandler):
    """Write a file to disk as it comes, and stop when it has grown larger than `limit` bytes."""

    def __init__(self, request: HttpRequest, limit: int) -> None:
        super().__init__(request)
        self.limit = limit

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        FileUploadHandler.new_file(self, *args, **kwargs)
        # Django would end the temporary name like the client's, which may be too long for that.
        self.file = TemporaryUploadedFile("upload", self.content_type, 0, self.charset, {})
        self.file.name = self.file_name

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        if start + len(raw_data) > self.limit:
            raise UploadTooLarge
        self.file.write(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile[bytes] | None:
        # The row that will name these bytes is on disk once it is committed; so must they be.
        self.file.flush()
        os.fsync(self.file.fileno())
        return super().file_complete(file_size)
