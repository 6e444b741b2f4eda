"""The lines of output and error files, made from a response's columns."""

from __future__ import annotations

import re

import msgspec

_encode = msgspec.json.Encoder().encode
# A batch's id has 32 digits; a position has six or, far beyond the limit of lines, more.
_LINE_ID = re.compile(r"batch_req_([0-9a-f]{32})([0-9a-f]{6,8})")


def line_id(batch_public_id: str, position: int) -> str:
    """Return the id of a result line: the same each time it is read."""
    return f"batch_req_{batch_public_id.removeprefix('batch_')}{position:06x}"


def line_of_id(identity: str) -> tuple[str, int] | None:
    """Return the batch's public id and the position that `line_id` made an id of, else None."""
    found = _LINE_ID.fullmatch(identity)
    return (f"batch_{found[1]}", int(found[2], 16)) if found else None


def result_line(
    *,
    batch_public_id: str,
    position: int,
    custom_id: str,
    status_code: int | None,
    body: bytes,
    error_code: str,
    error_message: str,
) -> bytes:
    """Return one line of a result file, newline included.

    A line with a body carries it untouched; one without (`status_code` None) has
    `response: null`. Its length is what the batch's byte counters are made of, so the same
    columns must give the same bytes for ever.
    """
    identity = line_id(batch_public_id, position)
    head = b'{"id":"%b","custom_id":%b,"response":' % (identity.encode(), _encode(custom_id))
    if status_code is None:
        response = b"null"
    else:
        response = b'{"status_code":%d,"request_id":"%b","body":%b}' % (
            status_code,
            identity.replace("batch_req_", "req_").encode(),
            body,
        )
    error = b"null"
    if error_code:
        error = _encode({"code": error_code, "message": error_message})
    return b'%b%b,"error":%b}\n' % (head, response, error)
