"""Which requests are answered alike each time, and the key under which such an answer is known."""

from __future__ import annotations

import hashlib
from typing import Any

from msgspec import UNSET

from jobs.line_rules import Body

_EMBEDDINGS = "/v1/embeddings"
_TEXT_PARTS = frozenset({"text", "input_text", "output_text", "refusal"})


def is_repeatable(body: Body, raw: bytes, *, endpoint: str) -> bool:
    """Say whether one engine gives this request the same answer each time.

    It does where nothing is drawn (temperature 0), or all is drawn from a seed; an embedding
    always. Not where the answer hangs on what stands elsewhere: behind an address, or in an
    earlier answer that the request only names.
    """
    if endpoint != _EMBEDDINGS and not _is_zero(body.temperature) and type(body.seed) is not int:
        return False
    if body.previous_response_id not in (UNSET, None):
        return False
    return b"://" not in raw or not _has_media(body)


def body_digest(raw: bytes, *, endpoint: str) -> bytes:
    """Return a SHA-256 of a request, its body as it stands."""
    return hashlib.sha256(b"%b\n%b" % (endpoint.encode(), raw)).digest()


def engine_digest(*, revision: str, engine_args: str, version: str) -> bytes:
    """Return a SHA-256 of all that makes engines answer alike; empty where that is not known."""
    if not revision or not version:
        return b""
    told = "\0".join((revision, engine_args, version))
    return hashlib.sha256(told.encode()).digest()


def answer_key(engine: bytes, body_sha256: bytes) -> bytes:
    """Return the key under which the answer of that engine to that request is known."""
    return hashlib.sha256(engine + body_sha256).digest()


def _is_zero(value: Any) -> bool:
    return type(value) in (int, float) and value == 0


def _has_media(body: Body) -> bool:
    """Say whether a message has parts that are no text, such as an image."""
    for items in (body.messages, body.input):
        for item in items if isinstance(items, list) else ():
            content = item.get("content") if isinstance(item, dict) else None
            for part in content if isinstance(content, list) else ():
                if isinstance(part, dict) and part.get("type") not in _TEXT_PARTS:
                    return True
    return False
