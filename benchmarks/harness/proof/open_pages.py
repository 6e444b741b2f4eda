"""Part 5: the engine's throughput with five pages open, against none."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from benchmarks.harness.proof.ours import Ran, answer, in_turn
from benchmarks.harness.proof.prompts import chat_lines, write
from benchmarks.harness.proof.results import Result, interval_of_median
from benchmarks.harness.proof.viewers import Viewers
from tests.stack import Stack

PART = "pages"
ARMS = ("open", "none")
PAIRS = 7


def measure(
    stack: Stack,
    *,
    model: str,
    lines: int,
    max_tokens: int,
    pairs: int,
    body: Mapping[str, Any],
) -> tuple[dict[str, Any], list[Result]]:
    """Run pairs of batches, one of each with the pages open; return the figures and results."""
    token = stack.login_token()
    ran: dict[str, list[Ran]] = {arm: [] for arm in ARMS}
    asked: list[dict[str, int]] = []
    viewers = Viewers(stack.url, token)
    for number, arm in in_turn(ARMS, pairs):
        name = f"pages-{number}-{arm}"
        requests = chat_lines(lines, model=model, seed=name, max_tokens=max_tokens, **body)
        path = write(stack.folder / f"{name}.jsonl", requests)
        if arm == "open":
            with viewers.watching():
                ran[arm].append(answer(stack, path))
            asked.append(viewers.asked())
        else:
            ran[arm].append(answer(stack, path))
    figures = {
        "lines": lines,
        "pairs": pairs,
        "asked": asked,
        **{arm: [asdict(one) for one in found] for arm, found in ran.items()},
    }
    return figures, [compare(ran["open"], ran["none"])]


def compare(with_pages: list[Ran], without: list[Ran]) -> Result:
    """Return the median of the pairs' ratios, with its bootstrap interval."""
    ratios = [
        (one.output_tokens / one.engine_s) / (other.output_tokens / other.engine_s)
        for one, other in zip(with_pages, without, strict=True)
    ]
    low, high = interval_of_median(ratios)
    return Result(
        part=PART,
        what="Engine's output tokens/s with five pages open, against none",
        value=statistics.median(ratios),
        unit="times",
        low=low,
        high=high,
        repeats=len(ratios),
        sign=">=",
        goal=0.95,
        note=f"median of {len(ratios)} pairs, 95 % interval",
    )
