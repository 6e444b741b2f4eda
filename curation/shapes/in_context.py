"""Examples to stand in a prompt: as one text, and as messages."""

from __future__ import annotations

from curation.conversations import Message
from curation.examples import Example
from curation.shapes.openai import plain_message
from curation.shapes.shape import Shape, answered, encode_line, only_text, without_system


def text_row(example: Example) -> str:
    """Return the example as a text: who says what, in turn."""
    said = [(message["role"], only_text(message)) for message in example.messages]
    said.append(("assistant", only_text(answered(example.answer))))
    return "\n\n".join(f"{role.capitalize()}: {text}" for role, text in said)


def messages_row(example: Example) -> list[Message]:
    """Return the example's messages, answer last; put them before the real question.

    A system's message is put before the user's text: a chat may have only one of its own.
    """
    system, messages = without_system(example.messages)
    found = [plain_message(message) for message in messages]
    if system:
        for message in found:
            if message["role"] == "user":
                message["content"] = f"{system}\n\n{only_text(message)}"
                break
        else:
            found.insert(0, {"role": "user", "content": system})
    return [*found, plain_message(answered(example.answer))]


def _encode_messages(row: list[Message]) -> bytes:
    return b",\n".join(encode_line(message).rstrip(b"\n") for message in row)


ICL_TEXT = Shape(
    name="icl-text",
    title="Examples for a prompt, as text",
    reader="any prompt",
    extension="txt",
    media_type="text/plain; charset=utf-8",
    row=text_row,
    encode=str.encode,
    between=b"\n\n---\n\n",
    foot=b"\n",
)
ICL_MESSAGES = Shape(
    name="icl-messages",
    title="Examples for a prompt, as messages",
    reader="any chat API",
    extension="json",
    media_type="application/json",
    row=messages_row,
    encode=_encode_messages,
    head=b"[",
    between=b",\n",
    foot=b"]\n",
)
