"""The bodies of the stub's answers, in the shape of vLLM's, made from the prompt alone."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

_FILLER = b"lorem ipsum dolor sit amet " * 40_000
_dumps = json.dumps


class Refused(Exception):
    """A request that vLLM's server refuses, with its status."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.param = status, kind, param


def error_body(status: int, kind: str, message: str, param: str | None = None) -> bytes:
    """Return vLLM's error envelope: `code` is the HTTP status, as a number."""
    error = {"message": message, "type": kind, "param": param, "code": status}
    return _dumps({"error": error}).encode()


def parse(body: bytes, names: frozenset[str]) -> dict[str, Any]:
    """Return the request; Refused where vLLM's server would refuse it."""
    try:
        request = json.loads(body)
    except ValueError as error:
        raise Refused(400, "BadRequestError", f"JSON decode error: {error}") from None
    if not isinstance(request, dict):
        raise Refused(400, "BadRequestError", "Input should be a valid dictionary")
    model = request.get("model")
    if model is not None and model not in names:
        aliases = ", ".join(sorted(names))
        message = f"The model `{model}` does not exist. Valid aliases: {aliases}."
        raise Refused(404, "NotFoundError", message, "model")
    return request


def content_text(content: object) -> str:
    """Return the text in a message's content, a string or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(content_text(part) for part in content)
    if isinstance(content, dict):
        return content_text(content.get("content") or content.get("text") or "")
    return "" if content is None else str(content)


def answer_text(prompt: str) -> str:
    """Return what the stub says to `prompt`: the same each time, telling prompts apart."""
    digest = hashlib.sha1(prompt.encode("utf-8", "surrogatepass")).hexdigest()
    return f"Stub answer {digest}."


def _prompt(request: dict[str, Any], key: str) -> str:
    value = request.get(key)
    if value is None:
        raise Refused(400, "BadRequestError", f"Field required: {key}", key)
    prompt = content_text(value)
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise Refused(400, "BadRequestError", str(error)) from None
    return prompt


def _tokens(text: str | bytes) -> int:
    return len(text) // 4 + 1


def _usage(prompt: str, output: int) -> bytes:
    tokens = _tokens(prompt)
    return (
        b'{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d,'
        b'"prompt_tokens_details":{"cached_tokens":%d}}'
        % (tokens, tokens + output, output, tokens // 16 * 16)
    )


def _sized(make: Callable[[bytes, int], bytes], text: str, size: int, limit: int | None) -> bytes:
    """Return `make(JSON string without quotes, tokens)`, its text filled up to `size` bytes.

    A `limit` in tokens cuts the text before that.
    """
    encoded = _dumps(text).encode()[1:-1]
    if limit is not None and limit < _tokens(encoded):
        return make(encoded[: max(limit, 1) * 4 - 4], max(limit, 1))
    if not size:
        return make(encoded, _tokens(encoded))
    # Counted with the full size: the number of digits then fits to within a byte or two.
    missing = size - len(make(encoded, size // 4))
    if missing > 1:
        encoded += b" " + _FILLER[: missing - 1]
    if limit is not None and limit < _tokens(encoded):
        return make(encoded[: limit * 4 - 4], limit)
    return make(encoded, _tokens(encoded))


def _limit(request: dict[str, Any], *keys: str) -> int | None:
    for key in keys:
        value = request.get(key)
        if isinstance(value, int):
            return value
    return None


def chat(request: dict[str, Any], model: str, identity: str, size: int, extra: str) -> bytes:
    prompt = _prompt(request, "messages")
    limit = _limit(request, "max_completion_tokens", "max_tokens")
    n = request.get("n") or 1

    def make(text: bytes, tokens: int) -> bytes:
        finish = b"length" if tokens == limit else b"stop"
        choices = b",".join(
            b'{"index":%d,"message":{"role":"assistant","content":"%b","refusal":null,'
            b'"annotations":null,"audio":null,"function_call":null,"tool_calls":[],'
            b'"reasoning":null},"logprobs":null,"finish_reason":"%b","stop_reason":null,'
            b'"token_ids":null}' % (index, text, finish)
            for index in range(n)
        )
        return (
            b'{"id":"chatcmpl-%b","object":"chat.completion","created":%d,"model":%b,'
            b'"choices":[%b],"service_tier":null,"system_fingerprint":null,"usage":%b,'
            b'"prompt_logprobs":null,"prompt_token_ids":null,"kv_transfer_params":null}'
            % (
                identity.encode(),
                int(time.time()),
                _dumps(model).encode(),
                choices,
                _usage(prompt, tokens * n),
            )
        )

    return _sized(make, answer_text(prompt) + extra, size, limit)


def completions(request: dict[str, Any], model: str, identity: str, size: int, extra: str) -> bytes:
    prompt = _prompt(request, "prompt")
    limit = _limit(request, "max_tokens")

    def make(text: bytes, tokens: int) -> bytes:
        return (
            b'{"id":"cmpl-%b","object":"text_completion","created":%d,"model":%b,"choices":'
            b'[{"index":0,"text":"%b","logprobs":null,"finish_reason":"%b","stop_reason":null,'
            b'"token_ids":null,"prompt_logprobs":null,"prompt_token_ids":null}],'
            b'"service_tier":null,"system_fingerprint":null,"usage":%b,'
            b'"kv_transfer_params":null}'
            % (
                identity.encode(),
                int(time.time()),
                _dumps(model).encode(),
                text,
                b"length" if tokens == limit else b"stop",
                _usage(prompt, tokens),
            )
        )

    return _sized(make, answer_text(prompt) + extra, size, limit)


def responses(request: dict[str, Any], model: str, identity: str, size: int, extra: str) -> bytes:
    prompt = _prompt(request, "input")
    tokens_in = _tokens(prompt)

    def make(text: bytes, tokens: int) -> bytes:
        return (
            b'{"id":"resp_%b","created_at":%d,"incomplete_details":null,"instructions":null,'
            b'"metadata":null,"model":%b,"object":"response","output":[{"id":"msg_%b",'
            b'"content":[{"annotations":[],"text":"%b","type":"output_text","logprobs":null}],'
            b'"role":"assistant","status":"completed","type":"message"}],'
            b'"parallel_tool_calls":true,"tool_choice":"auto","tools":[],"background":false,'
            b'"max_tool_calls":null,"previous_response_id":null,"service_tier":"auto",'
            b'"status":"completed","truncation":"disabled","usage":{"input_tokens":%d,'
            b'"input_tokens_details":{"cached_tokens":%d},"output_tokens":%d,'
            b'"output_tokens_details":{"reasoning_tokens":0},"total_tokens":%d},"user":null}'
            % (
                identity.encode(),
                int(time.time()),
                _dumps(model).encode(),
                identity.encode(),
                text,
                tokens_in,
                tokens_in // 16 * 16,
                tokens,
                tokens_in + tokens,
            )
        )

    return _sized(make, answer_text(prompt) + extra, size, None)


def embeddings(request: dict[str, Any], model: str, identity: str, size: int, extra: str) -> bytes:
    prompt = _prompt(request, "input")
    inputs = request["input"]
    several = isinstance(inputs, list) and inputs and not isinstance(inputs[0], int)
    data = []
    for index, text in enumerate(inputs if several else [inputs]):
        digest = hashlib.sha256(content_text(text).encode()).digest()
        vector = [round((byte - 127.5) / 127.5, 6) for byte in digest]
        data.append({"index": index, "object": "embedding", "embedding": vector})
    tokens = _tokens(prompt)
    body = {
        "id": f"embd-{identity}",
        "object": "list",
        "created": int(time.time()),
        "model": model,
        "data": data,
        "usage": {
            "prompt_tokens": tokens,
            "total_tokens": tokens,
            "completion_tokens": 0,
            "prompt_tokens_details": None,
        },
    }
    return _dumps(body).encode()


MAKERS = {
    "/v1/chat/completions": chat,
    "/v1/completions": completions,
    "/v1/responses": responses,
    "/v1/embeddings": embeddings,
}
