"""Lines of batches for the stub, and what it answers to them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any


def chat_line(custom_id: str, text: str, *, model: str = "toy", **body: Any) -> dict[str, Any]:
    """Return a line of a batch that asks for a chat answer."""
    message = {"role": "user", "content": text}
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": model, "messages": [message], **body},
    }


def expected_text(prompt: str) -> str:
    """Return how the stub's answer to `prompt` begins."""
    return f"Stub answer {hashlib.sha1(prompt.encode()).hexdigest()}."


def chat_lines(count: int, *, model: str = "toy", prefix: str = "line") -> Iterator[dict[str, Any]]:
    """Yield lines whose bodies all differ."""
    for number in range(count):
        yield chat_line(f"{prefix}-{number}", f"{prefix} {number}: say something.", model=model)
