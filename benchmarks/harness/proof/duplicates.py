"""Part 4: a file of which half the lines stand twice, with reuse of answers and without."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.harness.proof.ours import Ran, answer, in_turn
from benchmarks.harness.proof.prompts import chat_lines, write
from benchmarks.harness.proof.results import Result, median, ratio
from tests.stack import Stack

PART = "duplicates"
ARMS = ("computed", "reused")
# So few that the cache of a small machine holds all of them to the end of their answers.
AT_ONCE = "--max-num-seqs 128"


def measure(
    stack: Stack, *, model: str, lines: int, max_tokens: int, rounds: int
) -> tuple[dict[str, Any], list[Result]]:
    """Run both in turn; then, once a round, the same file again with all answers known."""
    ran: dict[str, list[Ran]] = {arm: [] for arm in (*ARMS, "again")}
    for number, arm in in_turn(ARMS, rounds):
        name = f"duplicates-{number}-{arm}"
        found = half_twice(lines, model=model, seed=name, max_tokens=max_tokens)
        path = write(stack.folder / f"{name}.jsonl", found)
        ran[arm].append(answer(stack, path, reuse_answers=arm == "reused"))
        if arm == "reused":
            ran["again"].append(answer(stack, path, reuse_answers=True))
    figures = {
        "lines": lines,
        "max_tokens": max_tokens,
        **{arm: [asdict(one) for one in many] for arm, many in ran.items()},
    }
    return figures, compare(ran, lines=lines, max_tokens=max_tokens)


def compare(ran: Mapping[str, Sequence[Ran]], *, lines: int, max_tokens: int) -> list[Result]:
    took = {arm: [one.engine_s for one in many] for arm, many in ran.items()}
    return [
        ratio(
            PART,
            f"{lines:,} lines of {max_tokens} tokens out, half of them duplicates: "
            "time without reuse against with it",
            took["computed"],
            took["reused"],
            goal=1.8,
        ),
        median(
            PART,
            "the same file once more, all answers known",
            took["again"],
            unit="s",
            detail=True,
        ),
    ]


def half_twice(count: int, *, model: str, seed: str, max_tokens: int) -> Iterator[dict[str, Any]]:
    """Yield `count` lines of which each body stands twice, anywhere in the file."""
    single = list(
        chat_lines(count // 2, model=model, seed=seed, max_tokens=max_tokens, ignore_eos=True)
    )
    both = single + [{**line, "custom_id": f"{line['custom_id']}-again"} for line in single]
    random.Random(seed).shuffle(both)
    yield from both
