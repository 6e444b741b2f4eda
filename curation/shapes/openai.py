"""OpenAI's fine-tuning shapes: chat (supervised) and preference (DPO).

Sources: OpenAI's guides to supervised fine-tuning and to direct preference optimization.
"""

from __future__ import annotations

from typing import Any

from curation.conversations import Message
from curation.examples import Example
from curation.shapes.shape import Misfit, answered, edit_pair, jsonl

# What a message may have; anything else is refused by the reader.
_KEYS = ("role", "content", "name", "tool_calls", "tool_call_id", "refusal", "weight")
_ROLES = ("system", "developer", "user", "assistant", "tool")


def plain_message(message: Message) -> Message:
    """Return a message with the keys that the shape knows; Misfit for an unknown role."""
    if message["role"] not in _ROLES:
        raise Misfit("role", f"The role '{message['role']}' is not one of {', '.join(_ROLES)}.")
    return {key: message[key] for key in _KEYS if key in message}


def _asked(example: Example) -> list[Message]:
    found = [plain_message(message) for message in example.messages]
    if found[-1]["role"] == "assistant":
        raise Misfit("role_order", "The prompt already ends with an assistant's message.")
    return found


def _tools(example: Example) -> dict[str, Any]:
    found: dict[str, Any] = {"tools": example.tools} if example.tools else {}
    if example.tools and example.parallel_tool_calls is not None:
        found["parallel_tool_calls"] = example.parallel_tool_calls
    return found


def sft_row(example: Example) -> dict[str, Any]:
    answer = plain_message(answered(example.answer))
    return {"messages": [*_asked(example), answer], **_tools(example)}


def dpo_row(example: Example) -> dict[str, Any]:
    preferred, other = edit_pair(example)
    return {
        "input": {"messages": _asked(example), **_tools(example)},
        "preferred_output": [plain_message(preferred)],
        "non_preferred_output": [plain_message(other)],
    }


OPENAI_SFT = jsonl("openai-sft", "OpenAI fine-tuning", "OpenAI's supervised fine-tuning", sft_row)
OPENAI_DPO = jsonl(
    "openai-dpo",
    "OpenAI preference",
    "OpenAI's direct preference optimization",
    dpo_row,
    needs_edit=True,
)
