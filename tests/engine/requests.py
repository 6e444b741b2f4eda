"""Lines of batches for the real models, and reading what came of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tests.stack import Stack

SYSTEM = "You are a helpful assistant who answers in one short sentence."
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        # Else vLLM holds the arguments to no schema.
        "strict": True,
        "description": "Looks up the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Oslo", "Lima"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Z][a-z]{1,8}$"},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
        "colour": {"enum": ["red", "green", "blue"]},
    },
    "required": ["name", "age", "colour"],
    "additionalProperties": False,
}


def line(custom_id: str, url: str, **body: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


def chat(custom_id: str, content: Any, *, system: str = SYSTEM, **body: Any) -> dict[str, Any]:
    """Return a line that asks for a short chat answer, greedy unless told otherwise."""
    messages = [{"role": "system", "content": system}, {"role": "user", "content": content}]
    wanted = {"model": "chat", "messages": messages, "max_tokens": 16, "temperature": 0, **body}
    return line(custom_id, "/v1/chat/completions", **wanted)


def submit(stack: Stack, lines: Iterable[dict[str, Any]]) -> str:
    """Upload and create with the official client; half a character pair travels as its escape."""
    made = list(lines)
    data = "".join(json.dumps(each) + "\n" for each in made).encode()
    client = stack.client
    stored = client.files.create(file=("lines.jsonl", data), purpose="batch")
    batch = client.batches.create(
        input_file_id=stored.id, endpoint=made[0]["url"], completion_window="24h"
    )
    return batch.id


def waiting_for(stack: Stack, batch_id: str) -> str:
    """Return why a batch is not moving, as the API tells; empty while it moves."""
    extra = stack.client.batches.retrieve(batch_id).model_extra or {}
    return extra["waiting_for"] or ""
