"""What an engine's answer says: text, finish reason, tokens, error."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from jobs.lenient_json import check_utf8, decode_leniently
from jobs.prompts import content_text, storable_text

ERROR_MESSAGE_MAX = 4_000
_INT_MAX = 2**31 - 1
# As far as the engine was to go; embeddings have no reason. Not one that was broken off.
_WHOLE = frozenset({"", "stop", "length", "tool_calls", "function_call", "completed", "incomplete"})


class Answer(Struct, frozen=True):
    """The final answer to one request; see `BatchResponse` for the meaning of each field."""

    ok: bool
    status_code: int | None
    body: bytes
    text: str = ""
    finish_reason: str = ""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    error_code: str = ""
    error_message: str = ""


class _Details(Struct):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


_NO_USAGE = _Usage()
_NO_DETAILS = _Details()


class _Message(Struct):
    content: Any = None
    tool_calls: Any = None
    refusal: str | None = None


class _Choice(Struct):
    message: _Message | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Item(Struct):
    type: str | None = None
    content: Any = None
    name: str | None = None
    arguments: Any = None


class _Body(Struct):
    choices: list[_Choice] | None = None
    output: list[_Item] | None = None
    status: Any = None
    usage: _Usage | None = None


_decode_body = msgspec.json.Decoder(_Body).decode


def read_answer(status_code: int, body: bytes) -> Answer:
    """Return the answer that stands in an engine's HTTP reply.

    The body is kept as it came, but for line breaks between its tokens, which a line of a
    JSONL file cannot hold. A body that is not JSON cannot stand in a result file at all: such
    a reply becomes an error with the reply's beginning as its message.
    """
    if b"\n" in body or b"\r" in body:
        body = body.replace(b"\r", b" ").replace(b"\n", b" ")
    body = body.strip()
    if not 200 <= status_code < 300:
        return _refusal(status_code, body)
    try:
        # A result file can hold nothing else.
        check_utf8(body)
    except UnicodeDecodeError:
        return failure("invalid_response", f"The engine's answer is not UTF-8: {_start(body)}")
    try:
        parsed = _decode_body(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            value = decode_leniently(body)
        except ValueError:
            return failure("invalid_response", f"The engine's answer is not JSON: {_start(body)}")
        try:
            parsed = msgspec.convert(value, _Body)
        except (msgspec.ValidationError, UnicodeEncodeError):
            # JSON of another shape: kept as it is, without text and figures.
            return Answer(ok=True, status_code=status_code, body=body)
    usage = parsed.usage or _NO_USAGE
    inputs = usage.prompt_tokens_details or usage.input_tokens_details or _NO_DETAILS
    outputs = usage.completion_tokens_details or usage.output_tokens_details or _NO_DETAILS
    text, finish_reason = _text_of(parsed)
    return Answer(
        ok=True,
        status_code=status_code,
        body=body,
        text=storable_text(text),
        finish_reason=storable_text(finish_reason, limit=64),
        input_tokens=_count(usage.prompt_tokens or usage.input_tokens),
        cached_tokens=_count(inputs.cached_tokens),
        output_tokens=_count(usage.completion_tokens or usage.output_tokens),
        reasoning_tokens=_count(outputs.reasoning_tokens),
    )


def is_whole(answer: Answer) -> bool:
    """Say whether an equal request would get the same answer: a good one, not broken off."""
    return answer.ok and answer.status_code == 200 and answer.finish_reason in _WHOLE


def failure(code: str, message: str) -> Answer:
    """Return the answer of a request that got none from the engine."""
    return Answer(
        ok=False,
        status_code=None,
        body=b"",
        error_code=code,
        error_message=storable_text(message, limit=ERROR_MESSAGE_MAX),
    )


def _refusal(status_code: int, body: bytes) -> Answer:
    """Read an error reply; servers differ in the envelope, so look in each known place."""
    try:
        parsed = decode_leniently(body)
    except ValueError:
        return failure(f"http_{status_code}", f"HTTP {status_code}: {_start(body)}")
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else parsed
    code, message = f"http_{status_code}", f"HTTP {status_code}"
    if isinstance(error, dict):
        found = error.get("message") or error.get("detail")
        message = found if isinstance(found, str) else message
        # vLLM gives the HTTP status as `code`, a number; its `type` says more.
        for candidate in (error.get("code"), error.get("type")):
            if isinstance(candidate, str) and candidate:
                code = candidate
                break
    elif isinstance(error, str):
        message = error
    return Answer(
        ok=False,
        status_code=status_code,
        body=body,
        error_code=storable_text(code, limit=64),
        error_message=storable_text(message, limit=ERROR_MESSAGE_MAX),
    )


def _text_of(body: _Body) -> tuple[str, str]:
    """Return the text of every choice, and the first finish reason."""
    if body.choices:
        texts = [c.text or _message_text(c.message) for c in body.choices]
        return "\n\n".join(texts), body.choices[0].finish_reason or ""
    if body.output:
        texts = []
        for item in body.output:
            if item.type == "function_call":
                texts.append(f"{item.name}({item.arguments})")
            elif item.type != "reasoning":
                texts.append(content_text(item.content))
        return "\n\n".join(texts), body.status if isinstance(body.status, str) else ""
    return "", ""


def _message_text(message: _Message | None) -> str:
    if message is None:
        return ""
    text = content_text(message.content) or message.refusal or ""
    if not text and message.tool_calls:
        calls = message.tool_calls if isinstance(message.tool_calls, list) else []
        functions = [c.get("function") for c in calls if isinstance(c, dict)]
        text = "\n".join(
            f"{f.get('name')}({f.get('arguments')})" for f in functions if isinstance(f, dict)
        )
    return text


def _count(value: int | None) -> int:
    return min(max(value or 0, 0), _INT_MAX)


def _start(body: bytes) -> str:
    return body[:500].decode("utf-8", "replace")
