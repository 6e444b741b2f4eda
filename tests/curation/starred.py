"""Gold stars for tests of what is made of them: no database, and any conversation."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from curation.examples import Example, read_example

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@dataclass(kw_only=True)
class Star:
    """What the reader of examples asks of a gold star."""

    request: dict[str, Any]
    response: dict[str, Any]
    public_id: str = "gold_1"
    batch_public_id: str = "batch_1"
    custom_id: str = "a"
    model_name: str = "small"
    finish_reason: str = "stop"
    input_tokens: int = 10
    output_tokens: int = 4
    answered_at: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    provenance: Any = field(default_factory=lambda: {"sampling": {"temperature": 0.5}})
    quality_score: int = 8
    tags: tuple[str, ...] = ("good",)
    notes: str = ""
    edited_answer: str | None = None

    @property
    def request_body(self) -> bytes:
        return json.dumps(self.request).encode()

    @property
    def response_body(self) -> bytes:
        return json.dumps(self.response).encode()

    @property
    def prompt_sha256(self) -> bytes:
        return hashlib.sha256(json.dumps(self.request.get("messages")).encode()).digest()


def chat(
    *said: str | dict[str, Any], answer: Any = "fine", tools: list | None = None, **fields: Any
) -> Star:
    """Make a star of a chat: texts are a user's and the assistant's in turn."""
    messages = [
        one
        if isinstance(one, dict)
        else {"role": "assistant" if at % 2 else "user", "content": one}
        for at, one in enumerate(said or ("how are you?",))
    ]
    message = answer if isinstance(answer, dict) else {"role": "assistant", "content": answer}
    request = {"model": "small", "messages": messages, **({"tools": tools} if tools else {})}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return Star(request=request, response={"choices": [choice]}, **fields)


def example(*said: str | dict[str, Any], **fields: Any) -> Example:
    return read_example(chat(*said, **fields))


def call(name: str = "weather", arguments: str = '{"city": "Bern"}', id: str = "c1") -> dict:
    function = {"name": name, "arguments": arguments}
    return {"id": id, "type": "function", "function": function}


def with_a_tool(**fields: Any) -> Example:
    """A chat in which the model asked a tool and then answered."""
    return example(
        {"role": "user", "content": "Is it warm in Bern?"},
        {"role": "assistant", "content": None, "tool_calls": [call()]},
        {"role": "tool", "tool_call_id": "c1", "content": '{"celsius": 21}'},
        answer="Yes: 21 °C.",
        tools=[WEATHER],
        **fields,
    )


# --- Any conversation ------------------------------------------------------------------------
# What a line of a batch can hold: all of Unicode but half of a character pair.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
SAID = TEXTS.filter(bool)
LONG = st.sampled_from(["x", "\n", "é", "\U0001f600", '"', "\\", "</s>", "\t=1+1"]).map(
    lambda one: (one * 100_000)[:100_000]
)


@st.composite
def examples(draw: st.DrawFn, *, tools: bool = True, systems: bool = True) -> Example:
    """Draw an example that every shape can hold, unless it has tools or no edit."""
    said: list[dict[str, Any]] = []
    if systems and draw(st.booleans()):
        said.append({"role": "system", "content": draw(TEXTS)})
    offers = tools and draw(st.booleans())
    for _ in range(draw(st.integers(0, 2))):
        said.append({"role": "user", "content": draw(TEXTS)})
        said.append({"role": "assistant", "content": draw(SAID)})
    said.append({"role": "user", "content": draw(TEXTS)})
    if offers and draw(st.booleans()):
        arguments = json.dumps({draw(TEXTS): draw(TEXTS | st.integers() | st.booleans())})
        said.append(
            {"role": "assistant", "content": None, "tool_calls": [call(arguments=arguments)]}
        )
        said.append({"role": "tool", "tool_call_id": "c1", "content": draw(TEXTS)})
    return example(
        *said,
        answer=draw(SAID | LONG),
        tools=[WEATHER] if offers else None,
        quality_score=draw(st.integers(1, 10)),
        edited_answer=draw(st.none() | SAID),
        notes=draw(TEXTS),
        tags=tuple(draw(st.lists(SAID, max_size=3))),
        custom_id=draw(SAID),
    )
