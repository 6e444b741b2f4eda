"""A gold star as something to learn from: a conversation, its answer, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from curation.conversations import (
    Message,
    NotAnExample,
    answer_text,
    read_answer_message,
    read_asked,
    read_object,
    text_of,
)


class Starred(Protocol):
    """What a gold star has, or the row of a frozen data set that was made of one."""

    public_id: str
    batch_public_id: str
    custom_id: str
    model_name: str
    # Bytes, in whichever of the forms that a database driver has for them.
    request_body: Any
    response_body: Any
    prompt_sha256: Any
    finish_reason: str
    input_tokens: int
    output_tokens: int
    answered_at: datetime
    provenance: Any
    quality_score: int
    tags: Any
    notes: str
    edited_answer: str | None


@dataclass(frozen=True, kw_only=True)
class Example:
    """One conversation with its answer.

    `messages` is what was asked; `original` the assistant's message as it came; `answer` the one
    that counts: where a person edited the text, that text alone.
    """

    id: str
    batch_id: str
    custom_id: str
    model: str
    messages: list[Message]
    original: Message
    edited_answer: str | None
    tools: list[Any]
    parallel_tool_calls: bool | None
    prompt_sha256: str
    finish_reason: str
    input_tokens: int
    output_tokens: int
    quality_score: int
    tags: tuple[str, ...]
    notes: str
    provenance: dict[str, Any] = field(default_factory=dict)
    request_body: bytes = b""
    response_body: bytes = b""

    @property
    def answer(self) -> Message:
        if self.edited_answer is None:
            return self.original
        return {"role": "assistant", "content": self.edited_answer}

    @property
    def is_edited(self) -> bool:
        return self.edited_answer is not None

    @property
    def answer_text(self) -> str:
        return answer_text(self.answer)

    @property
    def prompt_text(self) -> str:
        """All that was asked, whole, as a person would read it."""
        return "\n\n".join(
            f"{message['role']}: {text_of(message) or ''}" for message in self.messages
        )

    @property
    def is_cut(self) -> bool:
        """Whether the answer reached its limit of tokens and nobody has mended it since."""
        return self.finish_reason in ("length", "incomplete") and not self.is_edited


def read_example(star: Starred) -> Example:
    """Read a star's bodies; NotAnExample if they are no conversation with an answer."""
    request = read_object(bytes(star.request_body))
    original = read_answer_message(read_object(bytes(star.response_body)))
    tools = request.get("tools")
    parallel = request.get("parallel_tool_calls")
    return Example(
        id=star.public_id,
        batch_id=star.batch_public_id,
        custom_id=star.custom_id,
        model=star.model_name,
        messages=read_asked(request),
        original=original,
        edited_answer=star.edited_answer,
        tools=tools if isinstance(tools, list) else [],
        parallel_tool_calls=parallel if isinstance(parallel, bool) else None,
        prompt_sha256=bytes(star.prompt_sha256).hex(),
        finish_reason=star.finish_reason,
        input_tokens=star.input_tokens,
        output_tokens=star.output_tokens,
        quality_score=star.quality_score,
        tags=tuple(star.tags),
        notes=star.notes,
        provenance=dict(star.provenance or {}),
        request_body=bytes(star.request_body),
        response_body=bytes(star.response_body),
    )


__all__ = ["Example", "Message", "NotAnExample", "Starred", "read_example"]
