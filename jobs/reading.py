"""A request's or an answer's body as a conversation that a person can read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from jobs.lenient_json import decode_leniently
from jobs.prompts import content_text, prompt_text

TEXT_MAX = 50_000
ITEMS_MAX = 200
SETTING_MAX = 300
# What is shown as a conversation, or named by itself; the other keys are settings.
_SPOKEN = {"messages", "prompt", "input", "instructions", "tools"}


@dataclass(frozen=True, kw_only=True)
class Call:
    """A tool that a model asks for, with its arguments as they came."""

    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What one side says. `chars` counts the whole text, of which `text` is the beginning."""

    role: str
    text: str = ""
    chars: int = 0
    reasoning: str = ""
    calls: list[Call] = field(default_factory=list)
    finish_reason: str = ""

    @property
    def is_cut(self) -> bool:
        return self.chars > len(self.text)

    @property
    def as_json(self) -> str:
        """The text laid out, where it is a JSON object or list; else empty."""
        if self.is_cut or not self.text.lstrip().startswith(("{", "[")):
            return ""
        try:
            return json.dumps(json.loads(self.text), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            return ""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The turns of a body, none if it has no such shape; `settings` and `tools` are a request's.

    `left_out` counts the turns beyond those.
    """

    turns: list[Turn] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    tools: list[str] = field(default_factory=list)
    left_out: int = 0


def read_request(body: bytes) -> Reading:
    """Read the body of a chat, completion, responses or embeddings request."""
    parsed = _object(body)
    turns: list[Turn] = []
    if isinstance(parsed.get("instructions"), str):
        turns.append(_turn("instructions", parsed["instructions"]))
    for key in ("messages", "input"):
        if isinstance(parsed.get(key), str):
            turns.append(_turn("user" if key == "messages" else "input", parsed[key]))
        elif isinstance(parsed.get(key), list):
            turns += [_spoken(item) for item in parsed[key][:ITEMS_MAX]]
    if "prompt" in parsed:
        turns.append(_turn("prompt", prompt_text(parsed["prompt"])))
    given = [parsed.get(key) for key in ("messages", "input")]
    return Reading(
        turns=turns,
        settings={
            _short(key): _short(_json(value))
            for key, value in list(parsed.items())[:ITEMS_MAX]
            if key not in _SPOKEN
        },
        tools=_tool_names(parsed.get("tools")),
        left_out=sum(max(0, len(one) - ITEMS_MAX) for one in given if isinstance(one, list)),
    )


def read_response(body: bytes) -> Reading:
    """Read the body of an engine's answer."""
    parsed = _object(body)
    for key, read in (("choices", _choice), ("output", _output), ("data", _datum)):
        items = parsed.get(key)
        if isinstance(items, list) and items:
            turns = [read(item) for item in items[:ITEMS_MAX] if isinstance(item, dict)]
            return Reading(turns=turns, left_out=max(0, len(items) - ITEMS_MAX))
    return Reading()


def _object(body: bytes) -> dict[str, Any]:
    try:
        parsed = decode_leniently(body)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _turn(role: str, text: str, **more: Any) -> Turn:
    return Turn(role=_short(role), text=_clean(text[:TEXT_MAX]), chars=len(text), **more)


def _spoken(item: Any) -> Turn:
    """Read a message of a request, or an item of a responses request."""
    if not isinstance(item, dict):
        return _turn("input", prompt_text(item) if isinstance(item, list) else _plain(item))
    kind = item.get("type")
    if kind in ("function_call", "function_call_output"):
        return _output(item)
    role = item.get("role")
    return _turn(
        role if isinstance(role, str) else "message",
        content_text(item.get("content")),
        reasoning=_reasoning(item),
        calls=_calls(item.get("tool_calls")),
    )


def _choice(choice: dict[str, Any]) -> Turn:
    message = choice.get("message")
    reason = choice.get("finish_reason")
    finish_reason = _short(reason) if isinstance(reason, str) else ""
    if not isinstance(message, dict):
        return _turn("answer", _plain(choice.get("text")), finish_reason=finish_reason)
    text = content_text(message.get("content")) or _plain(message.get("refusal"))
    role = message.get("role")
    return _turn(
        role if isinstance(role, str) else "assistant",
        text,
        reasoning=_reasoning(message),
        calls=_calls(message.get("tool_calls")),
        finish_reason=finish_reason,
    )


def _output(item: dict[str, Any]) -> Turn:
    """Read an item of the responses API: a message, a call, its result, or reasoning."""
    kind = item.get("type")
    if kind == "function_call":
        call = Call(name=_short(_plain(item.get("name"))), arguments=_cut(item.get("arguments")))
        return _turn("assistant", "", calls=[call])
    if kind == "function_call_output":
        return _turn("tool", content_text(item.get("output")) or _plain(item.get("output")))
    if kind == "reasoning":
        text = content_text(item.get("content")) or content_text(item.get("summary"))
        return _turn("reasoning", "", reasoning=_clean(text[:TEXT_MAX]))
    role = item.get("role")
    return _turn(role if isinstance(role, str) else "assistant", content_text(item.get("content")))


def _datum(item: dict[str, Any]) -> Turn:
    """Read an item of an answer that is numbers: an embedding or a score."""
    embedding = item.get("embedding")
    if isinstance(embedding, list):
        first = ", ".join(_json(number) for number in embedding[:8])
        return _turn("embedding", f"{len(embedding):,} numbers: {first}, …")
    return _turn("data", _json(item))


def _reasoning(message: dict[str, Any]) -> str:
    for key in ("reasoning_content", "reasoning"):
        text = content_text(message.get(key))
        if text:
            return _clean(text[:TEXT_MAX])
    return ""


def _calls(found: Any) -> list[Call]:
    if not isinstance(found, list):
        return []
    functions = [one.get("function") for one in found[:ITEMS_MAX] if isinstance(one, dict)]
    return [
        Call(name=_short(_plain(one.get("name"))), arguments=_cut(one.get("arguments")))
        for one in functions
        if isinstance(one, dict)
    ]


def _tool_names(tools: Any) -> list[str]:
    if not isinstance(tools, list):
        return []
    named = [one.get("function", one) for one in tools[:ITEMS_MAX] if isinstance(one, dict)]
    return [_short(_plain(one.get("name"))) for one in named if isinstance(one, dict)]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else _json(value)


def _cut(value: Any) -> str:
    return _clean(_plain(value)[:TEXT_MAX])


def _short(text: str) -> str:
    clean = _clean(text[: SETTING_MAX + 1])
    return clean if len(clean) <= SETTING_MAX else f"{clean[:SETTING_MAX]}…"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _clean(text: str) -> str:
    """Return `text` as a page can hold it: a lone surrogate has no UTF-8."""
    return text.encode("utf-8", "replace").decode()
