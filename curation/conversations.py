"""Bodies of requests and answers as one conversation in the chat form, whole and to the letter."""

from __future__ import annotations

import json
from typing import Any

from jobs.lenient_json import decode_leniently

Message = dict[str, Any]


class NotAnExample(Exception):
    """Nothing can be learned from this; `code` is for machines, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def read_object(body: bytes) -> dict[str, Any]:
    """Return a body as an object; NotAnExample if it is none."""
    try:
        found = decode_leniently(body)
    except (ValueError, RecursionError) as error:
        raise NotAnExample("not_json", f"The body is not JSON: {error}.") from error
    if not isinstance(found, dict):
        raise NotAnExample("not_json", "The body is not a JSON object.")
    return found


def read_asked(body: dict[str, Any]) -> list[Message]:
    """Return what was asked as messages: of a chat, a completion or a responses request."""
    if "messages" in body:
        return _messages(body["messages"])
    if "prompt" in body:
        if not isinstance(body["prompt"], str):
            raise NotAnExample("not_text", "The prompt is not one text.")
        return [{"role": "user", "content": body["prompt"]}]
    if "input" in body and "encoding_format" not in body:
        return _of_responses(body)
    raise NotAnExample("not_a_conversation", "The request asks for no text, such as embeddings do.")


def read_answer_message(body: dict[str, Any]) -> Message:
    """Return the answer as the assistant's message: of several choices the first.

    Holds `content`, and where they were given `tool_calls`, `reasoning_content` and `refusal`.
    """
    choices = body.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return _of_choice(choices[0])
    if isinstance(body.get("output"), list):
        return _of_output(body["output"])
    raise NotAnExample("no_answer", "The answer holds no text, such as embeddings do.")


def text_of(message: Message) -> str | None:
    """Return a message's whole text; None where it has parts that are not text."""
    content = message.get("content")
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            return None
    return "\n".join(texts)


def answer_text(message: Message) -> str:
    """Return what a person reads of an answer: its text, else its calls, one a line."""
    text = text_of(message)
    if text:
        return text
    calls = [call.get("function") or {} for call in message.get("tool_calls") or []]
    return "\n".join(f"{call.get('name')}({call.get('arguments')})" for call in calls)


def whole_answer(body: bytes, shown: str) -> str:
    """Return an answer's whole text; `shown`, which is cut at 64 KB, where there is no message."""
    try:
        return answer_text(read_answer_message(read_object(body))) or shown
    except NotAnExample:
        return shown


def _messages(value: Any) -> list[Message]:
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if not isinstance(value, list) or not value:
        raise NotAnExample("no_messages", "The request has no messages.")
    found = []
    for one in value:
        if not isinstance(one, dict) or not isinstance(one.get("role"), str):
            raise NotAnExample("odd_message", "A message of the request has no role.")
        found.append(one)
    return found


def _of_choice(choice: dict[str, Any]) -> Message:
    said = choice.get("message")
    if not isinstance(said, dict):
        if isinstance(choice.get("text"), str):
            return {"role": "assistant", "content": choice["text"]}
        raise NotAnExample("no_answer", "The answer has no message.")
    found: Message = {"role": "assistant", "content": said.get("content")}
    calls = said.get("tool_calls")
    if isinstance(calls, list) and calls:
        found["tool_calls"] = [one for one in calls if isinstance(one, dict)]
    reasoning = said.get("reasoning_content") or said.get("reasoning")
    for key, value in (("reasoning_content", reasoning), ("refusal", said.get("refusal"))):
        if isinstance(value, str) and value:
            found[key] = value
    return found


def _of_responses(body: dict[str, Any]) -> list[Message]:
    found: list[Message] = []
    if isinstance(body.get("instructions"), str):
        found.append({"role": "system", "content": body["instructions"]})
    items = body["input"]
    if isinstance(items, str):
        return [*found, {"role": "user", "content": items}]
    if not isinstance(items, list) or not items:
        raise NotAnExample("not_text", "The input is neither a text nor a list of items.")
    for item in items:
        found.append(_of_item(item))
    return found


def _of_item(item: Any) -> Message:
    if isinstance(item, dict) and item.get("type") == "function_call":
        return {"role": "assistant", "content": None, "tool_calls": [_call(item)]}
    if isinstance(item, dict) and item.get("type") == "function_call_output":
        output = item.get("output")
        text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
        return {"role": "tool", "tool_call_id": item.get("call_id"), "content": text}
    if isinstance(item, dict) and isinstance(item.get("role"), str):
        text_found = text_of(item)
        return {
            "role": item["role"],
            "content": item.get("content") if text_found is None else text_found,
        }
    raise NotAnExample("odd_message", "An item of the input is neither a message nor a call.")


def _of_output(items: list[Any]) -> Message:
    texts, calls, reasoning = [], [], []
    for item in items:
        if not isinstance(item, dict):
            continue
        if item.get("type") == "message":
            text = text_of(item)
            if text is None:
                raise NotAnExample("not_text", "The answer has parts that are not text.")
            texts.append(text)
        elif item.get("type") == "function_call":
            calls.append(_call(item))
        elif item.get("type") == "reasoning":
            reasoning.append(text_of(item) or "")
    if not texts and not calls:
        raise NotAnExample("no_answer", "The answer holds no message.")
    found: Message = {"role": "assistant", "content": "\n".join(texts) if texts else None}
    if calls:
        found["tool_calls"] = calls
    if any(reasoning):
        found["reasoning_content"] = "\n".join(reasoning)
    return found


def _call(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": item.get("call_id") or item.get("id"),
        "type": "function",
        "function": {"name": item.get("name"), "arguments": item.get("arguments")},
    }
