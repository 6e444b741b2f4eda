"""HTTP/1.1, as little of it as the clients of an engine speak, and as fast as Python allows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CONTINUE = re.compile(rb"\r\nexpect: *100-continue", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


class Exchange(asyncio.Protocol):
    """One connection: a request at a time, each given to `handle(exchange, method, path, body)`.

    The handler answers with `reply`, now or later, or with `drop`; `on_gone`, if it was set, is
    called when the client leaves before that.
    """

    def __init__(self, handle: Callable[[Exchange, str, str, bytes], None]) -> None:
        self._handle = handle
        self._buffer = b""
        self._busy = False
        self._close = False
        self.transport: Any = None
        self.on_gone: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._busy and self.on_gone is not None:
            self.on_gone()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if not self._busy:
            self._take()

    def _take(self) -> None:
        data = self._buffer
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return
        head = data[:end]
        length = _LENGTH.search(head)
        start = end + 4
        if length is not None:
            stop = start + int(length[1])
            if len(data) < stop:
                if _CONTINUE.search(head) and len(data) == start:
                    self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            body = data[start:stop]
        elif _CHUNKED.search(head):
            whole = _unchunk(data, start)
            if whole is None:
                return
            body, stop = whole
        else:
            body, stop = b"", start
        self._buffer = data[stop:]
        self._busy = True
        self._close = _CLOSE.search(head) is not None
        method, target, _ = head.split(b" ", 2)
        self._handle(self, method.decode(), target.partition(b"?")[0].decode(), body)

    def reply(
        self,
        status: int,
        body: bytes,
        *,
        content_type: bytes = b"application/json",
        headers: bytes = b"",
        cut: bool = False,
    ) -> None:
        """Answer the request; `cut` closes the connection in the middle of the body."""
        self._busy = False
        self.on_gone = None
        if self.transport.is_closing():
            return
        self.transport.write(
            b"HTTP/1.1 %d %b\r\nserver: uvicorn\r\n"
            b"content-length: %d\r\ncontent-type: %b\r\n%b\r\n%b"
            % (
                status,
                _REASONS.get(status, b"Unknown"),
                len(body),
                content_type,
                headers,
                body[: len(body) // 2] if cut else body,
            )
        )
        if cut or self._close:
            self.transport.close()
        elif self._buffer:
            self._take()

    def drop(self) -> None:
        """Close the connection without an answer."""
        self._busy = False
        self.transport.abort()


def _unchunk(data: bytes, start: int) -> tuple[bytes, int] | None:
    """Return a chunked body and where it ends; None while it is not whole."""
    parts = []
    while True:
        line_end = data.find(b"\r\n", start)
        if line_end < 0:
            return None
        size = int(data[start:line_end].partition(b";")[0], 16)
        start = line_end + 2
        if len(data) < start + size + 2:
            return None
        if size == 0:
            return b"".join(parts), start + 2
        parts.append(data[start : start + size])
        start += size + 2
