"""Choosing few examples that are unlike each other, within a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence

from curation.examples import Example

# Without a tokenizer: English has about four characters a token.
_CHARS_A_TOKEN = 4
_SHINGLE = 3


def estimated_tokens(example: Example) -> int:
    """Return how many tokens an example takes: as counted, or ≈ by its length where edited."""
    if example.input_tokens and example.output_tokens and not example.is_edited:
        return example.input_tokens + example.output_tokens
    chars = len(example.prompt_text) + len(example.answer_text)
    return max(1, chars // _CHARS_A_TOKEN)


def choose_diverse(
    examples: Sequence[Example], *, count: int, max_tokens: int | None = None
) -> list[Example]:
    """Return at most `count` examples, each the least like those already chosen.

    Begins with the best (by score, then as given). One that does not fit into what is left of
    `max_tokens` is passed over. The same examples in the same order give the same choice. Takes
    time in proportion to `count` times the number of examples.
    """
    shingles = [_shingles(example) for example in examples]
    costs = [estimated_tokens(example) for example in examples]
    nearest = [0.0] * len(examples)
    left = set(range(len(examples)))
    budget = max_tokens
    chosen: list[int] = []
    while left and len(chosen) < count:
        if budget is not None:
            left = {index for index in left if costs[index] <= budget}
            if not left:
                break
        best = min(left, key=lambda index: (nearest[index], -examples[index].quality_score, index))
        chosen.append(best)
        left.discard(best)
        if budget is not None:
            budget -= costs[best]
        for index in left:
            nearest[index] = max(nearest[index], _likeness(shingles[best], shingles[index]))
    return [examples[index] for index in chosen]


def _shingles(example: Example) -> frozenset[str]:
    words = f"{example.prompt_text} {example.answer_text}".lower().split()[:2_000]
    if len(words) <= _SHINGLE:
        return frozenset([" ".join(words)])
    return frozenset(" ".join(words[at : at + _SHINGLE]) for at in range(len(words) - _SHINGLE + 1))


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the Jaccard index: 1 for the same words, 0 for none in common."""
    both = len(one & other)
    return both / (len(one) + len(other) - both) if one or other else 1.0
