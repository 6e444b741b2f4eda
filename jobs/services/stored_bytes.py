"""The bytes of an uploaded file, which may lie in the storage in several pieces."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import IO, cast

from django.core.files.storage import default_storage

READ_BYTES = 256 * 1024


class StorageUnavailable(OSError):
    """The storage does not answer, or refuses: nothing that the file itself is at fault for."""


def open_bytes(paths: Sequence[str]) -> IO[bytes]:
    """Open the pieces one after the other as one file, to be read from its start.

    They are read as they come, from S3 too: neither memory nor disk holds a whole piece.
    The first one is opened at once: FileNotFoundError if it is not there.
    """
    if len(paths) == 1:
        return cast(IO[bytes], default_storage.open(paths[0]))
    return io.BufferedReader(cast(io.RawIOBase, _Pieces(paths)), READ_BYTES)


def remove_bytes(paths: Sequence[str]) -> None:
    """Remove the pieces; one that is gone already is no error."""
    for path in paths:
        default_storage.delete(path)


class _Pieces(io.RawIOBase):
    """A stream over several files of the storage, of which one is open at a time."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._left = list(paths)
        self._file: IO[bytes] | None = None
        self._open_next()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        while self._file is not None:
            block = self._file.read(len(buffer))
            if block:
                buffer[: len(block)] = block
                return len(block)
            self._open_next()
        return 0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()

    def _open_next(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = (
            cast(IO[bytes], default_storage.open(self._left.pop(0))) if self._left else None
        )
