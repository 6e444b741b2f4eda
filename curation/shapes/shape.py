"""What a shape is: a name, a reader, and how one example becomes one row of its file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from curation.conversations import Message, NotAnExample, text_of
from curation.examples import Example

_encode = msgspec.json.Encoder(order="deterministic").encode


class Misfit(NotAnExample):
    """The example does not fit this shape; `code` is for machines, the message for people."""


@dataclass(frozen=True, kw_only=True)
class Reject:
    """An example that is not in the file, and why."""

    id: str
    custom_id: str
    batch_id: str
    code: str
    reason: str


@dataclass(kw_only=True)
class Tally:
    """What became of the examples: each is a row or a reject."""

    rows: int = 0
    rejects: list[Reject] = field(default_factory=list)

    @property
    def read(self) -> int:
        return self.rows + len(self.rejects)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A file format of training examples, as its reader loads it.

    `row` makes one row of an example, or raises Misfit. `head` comes before the rows, and
    `between` between them. `encode` gives equal bytes for equal rows.
    """

    name: str
    title: str
    reader: str
    extension: str
    media_type: str
    row: Callable[[Example], Any]
    encode: Callable[[Any], bytes]
    head: bytes = b""
    between: bytes = b""
    foot: bytes = b""
    # Needs a person's edit: the original is what it is preferred to.
    needs_edit: bool = False

    def rows(self, examples: Iterable[Example], tally: Tally) -> Iterator[Any]:
        """Yield a row for each example that fits; `tally` counts them and keeps the others."""
        for example in examples:
            try:
                row = self.row(example)
            except NotAnExample as error:
                tally.rejects.append(reject(example, error))
                continue
            tally.rows += 1
            yield row

    def write(self, examples: Iterable[Example], tally: Tally) -> Iterator[bytes]:
        """Yield the file, piece by piece; memory holds one example at a time."""
        if self.head:
            yield self.head
        for number, row in enumerate(self.rows(examples, tally)):
            yield self.between + self.encode(row) if number else self.encode(row)
        if self.foot:
            yield self.foot


def reject(example: Example, error: NotAnExample) -> Reject:
    return Reject(
        id=example.id,
        custom_id=example.custom_id,
        batch_id=example.batch_id,
        code=error.code,
        reason=str(error),
    )


def encode_line(row: Any) -> bytes:
    """Encode one line of JSONL; half a character pair, which UTF-8 cannot hold, is escaped."""
    try:
        return _encode(row) + b"\n"
    except UnicodeEncodeError:
        return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def jsonl(
    name: str,
    title: str,
    reader: str,
    row: Callable[[Example], Any],
    *,
    needs_edit: bool = False,
) -> Shape:
    return Shape(
        name=name,
        title=title,
        reader=reader,
        extension="jsonl",
        media_type="application/jsonl",
        row=row,
        encode=encode_line,
        needs_edit=needs_edit,
    )


# --- Parts that several shapes take ---------------------------------------------------------


def answered(message: Message) -> Message:
    """Return the assistant's message if it says anything; Misfit if it is empty."""
    if not text_of(message) and not message.get("tool_calls"):
        raise Misfit("empty_answer", "The answer is empty.")
    return message


def only_text(message: Message) -> str:
    """Return a message's text; Misfit where it has pictures, sounds or calls."""
    text = text_of(message)
    if text is None:
        raise Misfit("not_text", f"A message of role '{message['role']}' is not text alone.")
    if message.get("tool_calls"):
        raise Misfit("tool_calls", "A message calls tools, which this shape cannot hold.")
    return text


def edit_pair(example: Example) -> tuple[Message, Message]:
    """Return the edited answer, preferred, and the original, rejected; Misfit without an edit."""
    if not example.is_edited:
        raise Misfit("no_pair", "The answer was not edited, so there is no pair to prefer from.")
    return answered(example.answer), answered(example.original)


def without_system(messages: list[Message]) -> tuple[str | None, list[Message]]:
    """Split off the system's message, which may only come first."""
    system = None
    rest = messages
    if messages and messages[0]["role"] in ("system", "developer"):
        system, rest = only_text(messages[0]), messages[1:]
    if any(message["role"] in ("system", "developer") for message in rest):
        raise Misfit("role_order", "A system message comes after the first message.")
    return system, rest
