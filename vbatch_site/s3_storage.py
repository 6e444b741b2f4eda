"""Stored files on S3: sent in parts, read as a stream that goes on after a lost connection."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from django.core.files.base import File
from storages.backends.s3 import S3Storage
from storages.utils import clean_name
from urllib3.exceptions import HTTPError

from jobs.services.stored_bytes import StorageUnavailable

log = structlog.get_logger()

_MIB = 1024 * 1024
BUFFER_BYTES = 256 * 1024
# A stream gives up after so many losses in a row between which nothing came.
TRIES = 6
PAUSE_S = 0.5
# Of a single request, the first included.
ATTEMPTS = 4
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 30


class StreamingS3Storage(S3Storage):  # type: ignore[misc]  # It carries no types.
    """django-storages' S3, whose files are read as they come instead of fetched whole first.

    Errors are those of a file system: FileNotFoundError, or another OSError.
    """

    def __init__(self, **options: Any) -> None:
        # One part at a time: with threads a single upload would hold a dozen parts in memory.
        options["transfer_config"] = TransferConfig(
            multipart_threshold=8 * _MIB, multipart_chunksize=8 * _MIB, use_threads=False
        )
        options["client_config"] = Config(
            s3={"addressing_style": options.pop("addressing_style")},
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"mode": "standard", "max_attempts": ATTEMPTS},
            # More than S3 itself asks for is more than many servers of its kind understand.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        # Names of stored files are random, so none is taken.
        super().__init__(file_overwrite=True, querystring_auth=False, **options)

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        if mode != "rb":
            raise ValueError(f"Files on S3 are read as bytes, not '{mode}'.")
        key = self._normalize_name(clean_name(name))
        stream = _Stream(self.connection.meta.client, self.bucket_name, key)
        return File(io.BufferedReader(stream, BUFFER_BYTES), name)

    def _save(self, name: str, content: Any) -> str:
        with _as_os_error(name):
            saved: str = super()._save(name, content)
        return saved

    def delete(self, name: str) -> None:
        with _as_os_error(name):
            super().delete(name)

    def exists(self, name: str) -> bool:
        with _as_os_error(name):
            return bool(super().exists(name))

    def size(self, name: str) -> int:
        with _as_os_error(name):
            size: int = super().size(name)
        return size


class _Stream(io.RawIOBase):
    """The bytes of one object, from where the reader stands; opened again when it breaks off.

    An object that was replaced meanwhile is refused by its tag, so that two never get mixed.
    """

    def __init__(self, client: Any, bucket: str, key: str) -> None:
        self._client = client
        self._where = {"Bucket": bucket, "Key": key}
        self._body: Any = None
        self._at = 0
        with _as_os_error(key):
            answer = client.get_object(**self._where)
        self._size: int = answer["ContentLength"]
        self._tag: str = answer["ETag"]
        self._body = answer["Body"]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if at < 0:
            raise ValueError("before the beginning of the file")
        if at != self._at:
            self._drop()
            self._at = at
        return at

    def readinto(self, buffer: Any) -> int:
        losses = 0
        while self._at < self._size:
            try:
                block = self._read(len(buffer))
                if block:
                    buffer[: len(block)] = block
                    self._at += len(block)
                    return len(block)
                fault: Exception = StorageUnavailable("it ended too early")
            # The body raises urllib3's errors too, where botocore does not wrap them.
            except (HTTPClientError, BotoCoreError, HTTPError, OSError) as error:
                if isinstance(error, FileNotFoundError):
                    raise
                fault = error
            self._drop()
            losses += 1
            key = self._where["Key"]
            log.warning("s3_stream_lost", key=key, at=self._at, of=self._size, losses=losses)
            if losses >= TRIES:
                raise StorageUnavailable(f"{key} broke off at byte {self._at}: {fault}") from fault
            time.sleep(PAUSE_S * 2 ** (losses - 1))
        return 0

    def close(self) -> None:
        self._drop()
        super().close()

    def _read(self, count: int) -> bytes:
        if self._body is None:
            with _as_os_error(self._where["Key"]):
                answer = self._client.get_object(
                    **self._where, Range=f"bytes={self._at}-", IfMatch=self._tag
                )
            self._body = answer["Body"]
        block: bytes = self._body.read(count)
        return block

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None


@contextmanager
def _as_os_error(name: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code == 404 and error.response.get("Error", {}).get("Code") != "NoSuchBucket":
            raise FileNotFoundError(f"There is no {name}.") from error
        raise StorageUnavailable(f"S3 refuses {name}: {error}") from error
    except BotoCoreError as error:
        raise StorageUnavailable(f"S3 does not answer for {name}: {error}") from error
    # What an upload raises wraps neither of the two.
    except Boto3Error as error:
        raise StorageUnavailable(f"S3 did not take {name}: {error}") from error
