"""The lines of an input file: reading one, checking it, and saying what is wrong with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, TypedDict

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

PROMPT_TEXT_MAX = 65_536
CUSTOM_ID_MAX = 512

# What the body of a line must hold, by endpoint. Endpoints that the operator lists on top pass
# through with no more than a model.
REQUIRED_FIELD: dict[str, str] = {
    "/v1/chat/completions": "messages",
    "/v1/completions": "prompt",
    "/v1/embeddings": "input",
    "/v1/responses": "input",
}
ENDPOINTS = tuple(REQUIRED_FIELD)


class Finding(TypedDict):
    """One thing wrong with the input, in the shape of the API's `errors.data`."""

    code: str
    message: str
    param: str | None
    line: int | None


@dataclass(slots=True, frozen=True)
class RequestLine:
    """A line that passed every check; `body` is the body's bytes as they stood in the file."""

    line: int
    position: int
    custom_id: str
    body: bytes
    prompt_text: str
    prompt_sha256: bytes


class _Line(Struct):
    custom_id: str | None | UnsetType = UNSET
    method: str | None | UnsetType = UNSET
    url: str | None | UnsetType = UNSET
    body: Raw | UnsetType = UNSET


class _Body(Struct):
    model: Any = UNSET
    stream: Any = UNSET
    messages: Any = UNSET
    prompt: Any = UNSET
    input: Any = UNSET
    tools: Any = UNSET


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_body = msgspec.json.Decoder(_Body).decode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class LineError(Exception):
    """A line cannot be accepted; `finding` says why, without its line number."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


@dataclass(slots=True)
class LineChecker:
    """Checks the lines of one file in turn and collects every finding.

    `models` holds the names that may stand in `body.model`. Memory grows with the number of
    lines by one short digest of each custom_id.
    """

    endpoint: str
    models: Collection[str]
    max_lines: int
    max_inputs: int
    max_findings: int
    line: int = 0
    total: int = 0
    model: str | None = None
    findings: list[Finding] = field(default_factory=list)
    hidden: int = 0
    _inputs: int = 0
    _seen: set[bytes] = field(default_factory=set)

    def check(self, raw: bytes) -> RequestLine | None:
        """Check the next line of the file; None where it is blank or has findings."""
        self.line += 1
        if self.line == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        raw = raw.strip()
        if not raw:
            return None
        self.total += 1
        try:
            return self._check(raw)
        except LineError as error:
            self.add(error.code, error.message, param=error.param, line=self.line)
            return None

    def too_long(self, limit: int) -> None:
        """Note that the next line of the file is longer than `limit` bytes."""
        self.line += 1
        self.total += 1
        self.add("invalid_request", f"This line is longer than {limit:,} bytes.", line=self.line)

    def finish(self) -> list[Finding]:
        """Return every finding, those about the file as a whole first."""
        whole: list[Finding] = []
        if self.total == 0:
            whole.append(_finding("empty_file", "The input file holds no requests."))
        if self.total > self.max_lines:
            whole.append(
                _finding(
                    "too_many_tasks",
                    f"The input file holds {self.total:,} requests; at most {self.max_lines:,} "
                    "are allowed. Split it into several batches.",
                )
            )
        if self._inputs > self.max_inputs:
            whole.append(
                _finding(
                    "too_many_tasks",
                    f"The input file holds {self._inputs:,} embedding inputs; at most "
                    f"{self.max_inputs:,} are allowed. Split it into several batches.",
                    param="body.input",
                )
            )
        rest: list[Finding] = []
        if self.hidden:
            rest.append(
                _finding("more_errors", f"{self.hidden:,} more errors are not listed here.")
            )
        return whole + self.findings + rest

    def add(
        self, code: str, message: str, *, param: str | None = None, line: int | None = None
    ) -> None:
        if len(self.findings) < self.max_findings:
            self.findings.append(_finding(code, message, param=param, line=line))
        else:
            self.hidden += 1

    def _check(self, raw: bytes) -> RequestLine:
        check_utf8(raw)
        envelope = _read_envelope(raw)
        custom_id = _checked_custom_id(envelope.custom_id)
        digest = hashlib.blake2b(custom_id.encode("utf-8", "surrogatepass"), digest_size=12)
        if digest.digest() in self._seen:
            raise LineError(
                "duplicate_custom_id",
                f"The custom_id '{_short(custom_id)}' stands more than once in this file.",
                "custom_id",
            )
        self._seen.add(digest.digest())
        if envelope.method is UNSET or envelope.method is None:
            raise _missing("method")
        if envelope.method != "POST":
            raise LineError(
                "invalid_method", f"Method '{_short(envelope.method)}' must be 'POST'.", "method"
            )
        if envelope.url is UNSET or envelope.url is None:
            raise _missing("url")
        if envelope.url != self.endpoint:
            raise LineError(
                "invalid_url",
                f"The URL '{_short(envelope.url)}' does not match the batch endpoint "
                f"'{self.endpoint}'.",
                "url",
            )
        if envelope.body is UNSET:
            raise _missing("body")
        body_bytes = bytes(envelope.body)
        body = self._checked_body(body_bytes)
        prompt, text = _prompt_of(body)
        return RequestLine(
            line=self.line,
            position=self.total - 1,
            custom_id=custom_id,
            body=body_bytes,
            prompt_text=text,
            prompt_sha256=_digest(prompt),
        )

    def _checked_body(self, raw: bytes) -> _Body:
        if not raw.startswith(b"{"):
            if raw == b"null":
                raise _missing("body")
            raise LineError("invalid_request", "The body must be a JSON object.", "body")
        body = _read_body(raw)
        if body.stream is not UNSET and body.stream not in (None, False):
            raise LineError(
                "streaming_unsupported",
                "Streaming is not supported in a batch. Remove 'stream' from the body.",
                "body.stream",
            )
        if not isinstance(body.model, str) or not body.model:
            raise LineError(
                "invalid_request", "The body needs 'model', the name of a model.", "body.model"
            )
        if body.model not in self.models:
            raise LineError(
                "model_not_found",
                f"The model '{_short(body.model)}' is not supported. "
                "GET /v1/models lists those that are.",
                "body.model",
            )
        self._check_prompt(body)
        if self.model is None:
            self.model = body.model
        elif body.model != self.model:
            raise LineError(
                "model_mismatch",
                f"The model '{_short(body.model)}' differs from '{_short(self.model)}', which "
                "earlier lines name. One batch is for one model.",
                "body.model",
            )
        return body

    def _check_prompt(self, body: _Body) -> None:
        name = REQUIRED_FIELD.get(self.endpoint)
        if name is None:
            return
        value = getattr(body, name)
        param = f"body.{name}"
        if value is UNSET or value is None or value == [] or value == "":
            raise LineError("invalid_request", f"The body needs '{name}'.", param)
        if name == "messages":
            if not isinstance(value, list) or not all(isinstance(m, dict) for m in value):
                raise LineError("invalid_request", "'messages' must be a list of objects.", param)
        elif not isinstance(value, str | list):
            raise LineError("invalid_request", f"'{name}' must be a string or a list.", param)
        if self.endpoint == "/v1/embeddings":
            # A list of numbers is one input, given as tokens.
            many = isinstance(value, list) and not isinstance(value[0], int)
            self._inputs += len(value) if many else 1


def prompt_text(messages: Any) -> str:
    """Return what a person would read of a prompt: a string, a list of them, or messages."""
    if isinstance(messages, str):
        return messages
    if not isinstance(messages, list):
        return ""
    if messages and all(isinstance(item, int) for item in messages):
        return f"[{len(messages)} tokens]"
    parts: list[str] = []
    for item in messages:
        if isinstance(item, dict):
            text = content_text(item.get("content"))
            role = item.get("role")
            parts.append(text if len(messages) == 1 or not role else f"{role}: {text}")
        else:
            parts.append(prompt_text(item))
    return "\n\n".join(parts)


def content_text(content: Any) -> str:
    """Return the text of a message's content; parts that are not text are named by type."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts: list[str] = []
    for part in content:
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, dict):
            text = part.get("text")
            parts.append(text if isinstance(text, str) else f"[{part.get('type', 'part')}]")
    return "\n".join(parts)


def storable_text(text: str, *, limit: int = PROMPT_TEXT_MAX) -> str:
    """Return `text` as PostgreSQL can keep it: no NUL, no lone surrogate, at most `limit` bytes."""
    if "\0" in text:
        text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    raw = text.encode("utf-8", "replace")
    if len(raw) > limit:
        raw = raw[:limit]
    return raw.decode("utf-8", "ignore")


def _prompt_of(body: _Body) -> tuple[Any, str]:
    for value in (body.messages, body.prompt, body.input):
        if value is not UNSET and value is not None:
            tools = None if body.tools is UNSET else body.tools
            return [value, tools], storable_text(prompt_text(value))
    return None, ""


def check_utf8(raw: bytes) -> None:
    """Raise LineError where `raw` is not UTF-8: the decoder looks only at what it reads."""
    if raw.isascii():
        return
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise LineError("invalid_json_line", f"This line is not valid JSON: {error}.") from error


def decode_leniently(raw: bytes) -> Any:
    """Decode JSON that a strict decoder refuses: half a character pair is valid JSON by its
    grammar, and people's files hold it. Raises ValueError where it is not JSON at all.
    """
    try:
        # From bytes, `json` would also take UTF-16 and a byte order mark, which no line can hold.
        return json.loads(raw.decode(), parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _read_envelope(raw: bytes) -> _Line:
    try:
        return _decode_line(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # Not JSON, or of another shape: the slow reader tells which.
    try:
        value = decode_leniently(raw)
    except ValueError as error:
        raise LineError("invalid_json_line", f"This line is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise LineError("invalid_json_line", "This line is not a JSON object.")
    for name, code in (
        ("custom_id", "invalid_request"),
        ("method", "invalid_method"),
        ("url", "invalid_url"),
    ):
        if not isinstance(value.get(name), str | None):
            raise LineError(code, f"'{name}' must be a string.", name)
    return _Line(
        custom_id=value.get("custom_id"),
        method=value.get("method"),
        url=value.get("url"),
        body=Raw(json.dumps(value["body"]).encode()) if "body" in value else UNSET,
    )


def _read_body(raw: bytes) -> _Body:
    try:
        return _decode_body(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        value = decode_leniently(raw)
    except ValueError as error:
        raise LineError("invalid_json_line", f"The body is not valid JSON: {error}.") from error
    return _Body(**{name: value[name] for name in _Body.__struct_fields__ if name in value})


def _digest(prompt: Any) -> bytes:
    try:
        canonical = _encode_sorted(prompt)
    except UnicodeEncodeError:
        canonical = json.dumps(prompt, sort_keys=True).encode()
    return hashlib.sha256(canonical).digest()


def _checked_custom_id(value: str | None | UnsetType) -> str:
    if value is UNSET or value is None or value == "":
        raise _missing("custom_id")
    if len(value) > CUSTOM_ID_MAX:
        raise LineError(
            "invalid_request",
            f"The custom_id has {len(value):,} characters; at most {CUSTOM_ID_MAX} are allowed.",
            "custom_id",
        )
    if "\0" in value:
        raise LineError("invalid_request", "The custom_id holds a NUL character.", "custom_id")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise LineError(
            "invalid_request", "The custom_id holds half of a character pair.", "custom_id"
        ) from error
    return value


def _missing(name: str) -> LineError:
    return LineError("missing_required_parameter", f"Missing required parameter: '{name}'.", name)


def _finding(
    code: str, message: str, *, param: str | None = None, line: int | None = None
) -> Finding:
    return {"code": code, "message": message, "param": param, "line": line}


def _short(text: str) -> str:
    # A finding is kept as JSON in the database, which takes no NUL either.
    text = text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text if len(text) <= 80 else f"{text[:77]}..."
