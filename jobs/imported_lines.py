"""The lines of output and error files as OpenAI and other servers write them, read one by one."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from jobs.answers import Answer, failure, read_answer
from jobs.lenient_json import decode_leniently, read_object
from jobs.prompts import storable_text

CODE_MAX = 64


class UnreadableResult(Exception):
    """The line is no result of a batch; the message says why."""


class _Response(Struct):
    status_code: Any = 200
    body: Raw | UnsetType = UNSET


class _Envelope(Struct):
    custom_id: Any = None
    response: _Response | None = None
    error: Raw | UnsetType = UNSET


_decode = msgspec.json.Decoder(_Envelope).decode


class ResultLine(Struct, frozen=True):
    """One result; `body` and `error` are JSON as it stood in the line, empty where it was null.

    `status_code` is None where there was no response.
    """

    custom_id: str
    status_code: int | None
    body: bytes
    error: bytes

    def answer(self) -> Answer:
        """Return what a lane would have made of it, had the answer come from an engine."""
        if self.status_code is not None:
            refused = self.status_code >= 300
            if self.body and (refused or not self.error):
                return read_answer(self.status_code, self.body)
            if refused:
                # vLLM's `run-batch` puts the engine's refusal here, and leaves the body empty.
                return read_answer(self.status_code, self.error or b"null")
        return failure(*_code_and_message(self.error))


def read_result(raw: bytes) -> ResultLine:
    """Read a line; UnreadableResult where it cannot be the result of a request."""
    envelope = _read_envelope(raw)
    if not isinstance(envelope.custom_id, str) or not envelope.custom_id:
        raise UnreadableResult("it has no custom_id")
    response, error = envelope.response, _json(envelope.error)
    if response is None:
        if not error:
            raise UnreadableResult("it holds neither a response nor an error")
        return ResultLine(envelope.custom_id, None, b"", error)
    status, body = response.status_code, _json(response.body)
    if not isinstance(status, int) or isinstance(status, bool) or not 100 <= status <= 599:
        raise UnreadableResult("its 'response.status_code' is not an HTTP status")
    if status < 300 and not body and not error:
        raise UnreadableResult("its response has no body")
    return ResultLine(envelope.custom_id, status, body, error)


def _read_envelope(raw: bytes) -> _Envelope:
    try:
        value = read_object(raw, _decode)
    except ValueError as error:
        raise UnreadableResult(f"it is {error}") from error
    if isinstance(value, _Envelope):
        return value
    response = value.get("response")
    if response is not None and not isinstance(response, dict):
        raise UnreadableResult("its 'response' is not an object")
    return _Envelope(
        custom_id=value.get("custom_id"),
        response=None
        if response is None
        else _Response(
            status_code=response.get("status_code", 200), body=_raw(response.get("body"))
        ),
        error=_raw(value.get("error")),
    )


def _raw(value: Any) -> Raw:
    return Raw(json.dumps(value).encode())


def _json(value: Raw | UnsetType) -> bytes:
    found = b"" if value is UNSET else bytes(value)
    return b"" if found == b"null" else found


def _code_and_message(raw: bytes) -> tuple[str, str]:
    """Return the code and the message of an error, which servers wrap and name differently."""
    try:
        error = decode_leniently(raw)
    except ValueError:  # Nested more deeply than the strict reader looked.
        error = raw.decode("utf-8", "replace")
    if isinstance(error, dict) and isinstance(error.get("error"), dict):
        error = error["error"]
    code, message = "unknown_error", error if isinstance(error, str) else json.dumps(error)
    if isinstance(error, dict):
        named = [error.get("code"), error.get("type")]
        code = next((storable_text(str(one), limit=CODE_MAX) for one in named if one), code)
        said = error.get("message") or error.get("detail")
        message = said if isinstance(said, str) else message
    return code, message
