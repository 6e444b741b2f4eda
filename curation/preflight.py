"""Whether examples fit their target: shape, length, completeness, and enough of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from curation.conversations import NotAnExample, answer_text
from curation.examples import Example
from curation.shapes import Shape

# What a chat template puts around each message, about.
TOKENS_A_MESSAGE = 4


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a version is made for; `count` returns how many tokens a text has."""

    shape: Shape
    count: Callable[[str], int]
    max_tokens: int | None = None
    min_rows: int = 1
    keep_cut: bool = False


class Preflight:
    """Checks example after example; equal ones are taken once."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._seen: set[bytes] = set()

    def check(self, example: Example) -> int:
        """Return the tokens of an example; NotAnExample if it is not fit for the target."""
        target = self._target
        target.shape.row(example)
        if example.is_cut and not target.keep_cut:
            raise NotAnExample(
                "cut", f"The answer was cut off at its limit of tokens ({example.finish_reason})."
            )
        if not any(text.strip() for text in _texts(example)[:-1]):
            raise NotAnExample("empty_prompt", "The prompt has no text.")
        tokens = count_tokens(example, target.count)
        if target.max_tokens is not None and tokens > target.max_tokens:
            raise NotAnExample(
                "too_long",
                f"It has about {tokens:,} tokens; {target.max_tokens:,} are allowed.",
            )
        both = f"{example.prompt_text}\0{example.answer_text}".encode("utf-8", "replace")
        same = hashlib.sha256(both).digest()
        if same in self._seen:
            raise NotAnExample(
                "duplicate", "The same prompt with the same answer is in the set already."
            )
        self._seen.add(same)
        return tokens


def count_tokens(example: Example, count: Callable[[str], int]) -> int:
    """Return about how many tokens an example has: its texts, and what is put around them."""
    texts = _texts(example)
    return sum(count(text) for text in texts) + TOKENS_A_MESSAGE * len(texts)


def _texts(example: Example) -> list[str]:
    return [answer_text(message) for message in [*example.messages, example.answer]]


def shortage(rows: int, target: Target) -> str | None:
    """Say that there are too few rows, None if there are enough."""
    if rows >= target.min_rows:
        return None
    return f"{rows:,} rows are fit; the target asks for {target.min_rows:,} at least."


def histogram(lengths: Iterable[int]) -> dict[str, int]:
    """Count lengths by powers of two: the key is the lower bound."""
    found: dict[str, int] = {}
    for length in lengths:
        bound = str(1 << max(0, length.bit_length() - 1)) if length else "0"
        found[bound] = found.get(bound, 0) + 1
    return dict(sorted(found.items(), key=lambda one: int(one[0])))
