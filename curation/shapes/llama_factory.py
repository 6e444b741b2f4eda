"""ShareGPT and Alpaca, as LLaMA-Factory reads them.

Source: LLaMA-Factory's description of its data formats (`data/README.md`).
"""

from __future__ import annotations

import json
from typing import Any

from curation.conversations import Message, text_of
from curation.examples import Example
from curation.shapes.shape import Misfit, answered, jsonl, only_text, without_system


def sharegpt_row(example: Example) -> dict[str, Any]:
    system, messages = without_system(example.messages)
    turns = [_turn(message) for message in [*messages, answered(example.answer)]]
    for number, turn in enumerate(turns):
        # The reader asks for people and tools in odd places, the model in even ones.
        if (turn["from"] in ("human", "observation")) != (number % 2 == 0):
            raise Misfit(
                "role_order", "The turns do not alternate between the model and the other side."
            )
    found: dict[str, Any] = {"conversations": turns}
    if system is not None:
        found["system"] = system
    if example.tools:
        found["tools"] = json.dumps(example.tools, ensure_ascii=False, sort_keys=True)
    return found


def _turn(message: Message) -> dict[str, str]:
    role = message["role"]
    calls = message.get("tool_calls")
    if role == "assistant" and calls:
        if text_of(message):
            raise Misfit("tool_calls", "A message has both a text and calls of tools.")
        return {"from": "function_call", "value": _calls(calls)}
    names = {"user": "human", "assistant": "gpt", "tool": "observation"}
    if role not in names:
        raise Misfit("role", f"The role '{role}' is not one of {', '.join(names)}.")
    return {"from": names[role], "value": only_text(message)}


def _calls(calls: list[Any]) -> str:
    found = []
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise Misfit("tool_calls", "A call names no function.")
        arguments = function.get("arguments")
        try:
            parsed = json.loads(arguments) if isinstance(arguments, str) else arguments
        except ValueError as error:
            raise Misfit("tool_calls", "The arguments of a call are not JSON.") from error
        found.append({"name": function["name"], "arguments": parsed})
    return json.dumps(found[0] if len(found) == 1 else found, ensure_ascii=False)


def alpaca_row(example: Example) -> dict[str, Any]:
    system, messages = without_system(example.messages)
    if example.tools:
        raise Misfit("tools", "The request offers tools, which this shape cannot hold.")
    for number, message in enumerate(messages):
        if message["role"] != ("assistant" if number % 2 else "user"):
            raise Misfit("role_order", "The turns do not alternate between user and assistant.")
    if not len(messages) % 2:
        raise Misfit("role_order", "The prompt does not end with the user's message.")
    texts = [only_text(message) for message in messages]
    found: dict[str, Any] = {
        "instruction": texts[-1],
        "input": "",
        "output": only_text(answered(example.answer)),
    }
    if system is not None:
        found["system"] = system
    if len(texts) > 1:
        found["history"] = [list(pair) for pair in zip(texts[0:-1:2], texts[1:-1:2], strict=True)]
    return found


SHAREGPT = jsonl("sharegpt", "ShareGPT", "LLaMA-Factory, Axolotl", sharegpt_row)
ALPACA = jsonl("alpaca", "Alpaca", "LLaMA-Factory, Axolotl", alpaca_row)
