"""What a person reads of a prompt or an answer, as the database keeps it, and a prompt's digest."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any
from zlib import crc32

import msgspec

PROMPT_TEXT_MAX = 65_536
_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")

_encode_sorted = msgspec.json.Encoder(order="sorted").encode


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


def is_storable(text: str) -> bool:
    """Say whether PostgreSQL can keep a text: not with a NUL or half of a character pair."""
    return _NOT_STORABLE.search(text) is None


def storable_text(text: str, *, limit: int = PROMPT_TEXT_MAX) -> str:
    """Return `text` as PostgreSQL can keep it: no NUL, no lone surrogate, at most `limit` bytes."""
    if "\0" in text:
        text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    raw = text.encode("utf-8", "replace")
    if len(raw) > limit:
        raw = raw[:limit]
    return raw.decode("utf-8", "ignore")


def prompt_digest(prompt: Any) -> bytes:
    """Return a SHA-256 that is equal for equal prompts, whatever the order of their keys."""
    return hashlib.sha256(_canonical(prompt)).digest()


def tools_seed(tools: Any) -> int:
    """Return a short digest of tools, with which digests of what follows them begin."""
    return crc32(_canonical(tools))


def _canonical(value: Any) -> bytes:
    try:
        return _encode_sorted(value)
    except UnicodeEncodeError:
        return json.dumps(value, sort_keys=True).encode()
