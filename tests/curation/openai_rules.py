"""OpenAI's documented rules for fine-tuning files, checked line by line.

Source: OpenAI's guides to supervised fine-tuning and direct preference optimization, and the
checks of its cookbook's data preparation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

MIN_EXAMPLES = 10
_MESSAGE_KEYS = {"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "weight"}
_ROLES = {"system", "developer", "user", "assistant", "tool"}
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is wrong with a line; 0 is the file as a whole."""

    line: int
    message: str


def check_sft(lines: Iterable[bytes]) -> Iterator[Finding]:
    """Yield what is wrong with a chat fine-tuning file."""
    return _check(lines, _sft)


def check_dpo(lines: Iterable[bytes]) -> Iterator[Finding]:
    """Yield what is wrong with a preference file."""
    return _check(lines, _dpo)


def _check(lines: Iterable[bytes], check: Any) -> Iterator[Finding]:
    count = 0
    for count, line in enumerate(lines, start=1):
        try:
            found = json.loads(line)
        except ValueError as error:
            yield Finding(line=count, message=f"not JSON: {error}")
            continue
        if not isinstance(found, dict):
            yield Finding(line=count, message="not an object")
            continue
        for message in check(found):
            yield Finding(line=count, message=message)
    if count < MIN_EXAMPLES:
        yield Finding(line=0, message=f"{count} examples; OpenAI asks for {MIN_EXAMPLES} at least")


def _sft(row: dict[str, Any]) -> Iterator[str]:
    yield from _keys(row, {"messages", "tools", "parallel_tool_calls"})
    messages = row.get("messages")
    yield from _messages(messages, "messages")
    if isinstance(messages, list) and messages:
        last = messages[-1]
        if not isinstance(last, dict) or last.get("role") != "assistant":
            yield "the last message is not the assistant's"
    yield from _tools(row)


def _dpo(row: dict[str, Any]) -> Iterator[str]:
    yield from _keys(row, {"input", "preferred_output", "non_preferred_output"})
    asked = row.get("input")
    if not isinstance(asked, dict):
        yield "input is not an object"
    else:
        yield from _keys(asked, {"messages", "tools", "parallel_tool_calls"})
        yield from _messages(asked.get("messages"), "input.messages")
        yield from _tools(asked)
    for key in ("preferred_output", "non_preferred_output"):
        output = row.get(key)
        yield from _messages(output, key)
        if isinstance(output, list) and (
            len(output) != 1
            or not isinstance(output[0], dict)
            or output[0].get("role") != "assistant"
        ):
            yield f"{key} is not one message of the assistant's"


def _keys(row: dict[str, Any], known: set[str]) -> Iterator[str]:
    for key in row:
        if key not in known:
            yield f"unknown key '{key}'"


def _messages(value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, list) or not value:
        yield f"{where} is not a list with messages"
        return
    for index, message in enumerate(value):
        at = f"{where}[{index}]"
        if not isinstance(message, dict):
            yield f"{at} is not an object"
            continue
        yield from (f"{at}: {one}" for one in _keys(message, _MESSAGE_KEYS))
        role, content = message.get("role"), message.get("content")
        if role not in _ROLES:
            yield f"{at}: unknown role '{role}'"
        calls = message.get("tool_calls")
        if calls is not None:
            yield from _calls(calls, role, at)
        elif not isinstance(content, str | list) or (role == "assistant" and not content):
            yield f"{at}: no content"
        if role == "tool" and not isinstance(message.get("tool_call_id"), str):
            yield f"{at}: no tool_call_id"
        if "weight" in message and (role != "assistant" or message["weight"] not in (0, 1)):
            yield f"{at}: weight is 0 or 1, on the assistant's messages"


def _calls(calls: Any, role: Any, at: str) -> Iterator[str]:
    if role != "assistant" or not isinstance(calls, list) or not calls:
        yield f"{at}: tool_calls is a list, on the assistant's messages"
        return
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            yield f"{at}: a call without a function"
        elif not isinstance(function.get("name"), str) or not _NAME.fullmatch(function["name"]):
            yield f"{at}: a function's name has 1 to 64 letters, digits, '_' or '-'"
        elif not isinstance(function.get("arguments"), str):
            yield f"{at}: a call's arguments are JSON text"
        elif not isinstance(call.get("id"), str):
            yield f"{at}: a call without an id"


def _tools(row: dict[str, Any]) -> Iterator[str]:
    if "tools" in row and not isinstance(row["tools"], list):
        yield "tools is not a list"
