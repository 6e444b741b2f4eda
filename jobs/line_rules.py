"""One line of an input file by itself: its envelope, its body, and what is wrong with either."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from jobs.lenient_json import decode_leniently, read_object

CUSTOM_ID_MAX = 512
# Of English text; what else is in a body, such as an image, is taken for more than it is.
_BYTES_PER_TOKEN = 4

# What the body of a line must hold, by endpoint. Endpoints that the operator lists on top pass
# through with no more than a model.
REQUIRED_FIELD: dict[str, str] = {
    "/v1/chat/completions": "messages",
    "/v1/completions": "prompt",
    "/v1/embeddings": "input",
    "/v1/responses": "input",
}
ENDPOINTS = tuple(REQUIRED_FIELD)


class Problem(NamedTuple):
    """One thing wrong with a line; `param` names the field in which it lies."""

    code: str
    message: str
    param: str | None = None


class UnreadableLine(Exception):
    """The line is no JSON object, so that nothing more can be said of it than `problem`."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.problem = Problem("invalid_json_line", message)


class Envelope(Struct):
    """What stands around a body; fields of any type, since a wrong one is no wrong line yet."""

    custom_id: Any = UNSET
    method: Any = UNSET
    url: Any = UNSET
    body: Raw | UnsetType = UNSET


class Body(Struct):
    """The fields of a body that are looked at."""

    model: Any = UNSET
    stream: Any = UNSET
    messages: Any = UNSET
    prompt: Any = UNSET
    input: Any = UNSET
    tools: Any = UNSET
    temperature: Any = UNSET
    seed: Any = UNSET
    previous_response_id: Any = UNSET


_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_body = msgspec.json.Decoder(Body).decode


def read_envelope(raw: bytes) -> Envelope:
    """Read a line; UnreadableLine where it is no JSON object."""
    try:
        value = read_object(raw, _decode_envelope)
    except ValueError as error:
        raise UnreadableLine(f"This line is {error}.") from error
    if isinstance(value, Envelope):
        return value
    fields = {name: value[name] for name in Envelope.__struct_fields__ if name in value}
    if "body" in fields:
        fields["body"] = Raw(json.dumps(fields["body"]).encode())
    return Envelope(**fields)


def read_body(raw: bytes) -> Body | Problem:
    """Read the body of a line, empty where the line has none, or say what is wrong with it."""
    if not raw.startswith(b"{"):
        if raw in (b"", b"null"):
            return _missing("body")
        return Problem("invalid_request", "The body must be a JSON object.", "body")
    try:
        return _decode_body(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        value = decode_leniently(raw)
    except ValueError as error:
        return Problem("invalid_json_line", f"The body is not valid JSON: {error}.", "body")
    return Body(**{name: value[name] for name in Body.__struct_fields__ if name in value})


def custom_id_problem(value: Any) -> Problem | None:
    if value is UNSET or value is None or value == "":
        return _missing("custom_id")
    if not isinstance(value, str):
        return _not_a_string("custom_id", "invalid_request")
    if len(value) > CUSTOM_ID_MAX:
        wrong = f"has {len(value):,} characters; at most {CUSTOM_ID_MAX} are allowed"
    elif "\0" in value:
        wrong = "holds a NUL character"
    elif not _has_whole_characters(value):
        wrong = "holds half of a character pair"
    else:
        return None
    return Problem("invalid_request", f"The custom_id {wrong}.", "custom_id")


def method_problem(value: Any) -> Problem | None:
    if value == "POST":
        return None
    if value is UNSET or value is None:
        return _missing("method")
    if not isinstance(value, str):
        return _not_a_string("method", "invalid_method")
    return Problem("invalid_method", f"Method '{short(value)}' must be 'POST'.", "method")


def url_problem(value: Any, endpoint: str) -> Problem | None:
    if value == endpoint:
        return None
    if value is UNSET or value is None:
        return _missing("url")
    if not isinstance(value, str):
        return _not_a_string("url", "invalid_url")
    message = f"The URL '{short(value)}' does not match the batch endpoint '{endpoint}'."
    return Problem("invalid_url", message, "url")


def stream_problem(body: Body) -> Problem | None:
    if body.stream is UNSET or body.stream in (None, False):
        return None
    return Problem(
        "streaming_unsupported",
        "Streaming is not supported in a batch. Remove 'stream' from the body.",
        "body.stream",
    )


def prompt_problem(body: Body, endpoint: str) -> Problem | None:
    """Say what is wrong with what `endpoint` requires of a body."""
    name = REQUIRED_FIELD.get(endpoint)
    if name is None:
        return None
    value = getattr(body, name)
    if value is UNSET or value is None or value == [] or value == "":
        message = f"The body needs '{name}'."
    elif name == "messages":
        if isinstance(value, list) and all(isinstance(one, dict) for one in value):
            return None
        message = "'messages' must be a list of objects."
    elif isinstance(value, str | list):
        return None
    else:
        message = f"'{name}' must be a string or a list."
    return Problem("invalid_request", message, f"body.{name}")


def short(text: str) -> str:
    """Return the beginning of `text` as a finding can hold it: JSON in the database takes no NUL
    and no half of a character pair.
    """
    text = text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text if len(text) <= 80 else f"{text[:77]}..."


def _missing(name: str) -> Problem:
    return Problem("missing_required_parameter", f"Missing required parameter: '{name}'.", name)


def _not_a_string(name: str, code: str) -> Problem:
    return Problem(code, f"'{name}' must be a string.", name)


def _has_whole_characters(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def estimate_tokens(body: bytes) -> int:
    """Return about how many tokens a line's body has: one for every four bytes begun."""
    return -(-len(body) // _BYTES_PER_TOKEN)
