"""Part 3: prompts that share prefixes which do not all fit into the cache, in three orders."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.harness.proof.ours import Ran, answer, in_turn
from benchmarks.harness.proof.prompts import TASKS, passage, write
from benchmarks.harness.proof.results import Result, median, ratio
from jobs.engines.figures import scrape
from tests.stack import Stack, chat_line

PART = "prefixes"
ARMS = ("file", "auto", "best")
GROUPS = 24
EACH = 6
PREFIX_WORDS = 300
MAX_TOKENS = 8
# A cache of 4,096 tokens, and prefixes of two to three times as many. A block is as small as vLLM
# takes it on a CPU without slowing down.
CACHE = "--block-size 32 --num-gpu-blocks-override 128 --max-num-seqs 4 --max-model-len 1024"


@dataclass(frozen=True, kw_only=True)
class Ordered:
    """One batch in an order, and the share of its prompt tokens that the cache held."""

    ran: Ran
    queries: float
    hits: float

    @property
    def hit_rate(self) -> float:
        return self.hits / self.queries


def measure(stack: Stack, *, model: str, rounds: int) -> tuple[dict[str, Any], list[Result]]:
    """Run the same shape of file as it stands, put in order by us, and in the best order."""
    found: dict[str, list[Ordered]] = {arm: [] for arm in ARMS}
    for number, arm in in_turn(ARMS, rounds):
        found[arm].append(_measure(stack, model=model, arm=arm, seed=f"{number}-{arm}"))
    figures = {
        "groups": GROUPS,
        "lines_each": EACH,
        "prefix_words": PREFIX_WORDS,
        "engine_args": CACHE,
        **{
            arm: [{**asdict(one), "hit_rate": one.hit_rate} for one in many]
            for arm, many in found.items()
        },
    }
    return figures, compare(found)


def compare(found: Mapping[str, Sequence[Ordered]]) -> list[Result]:
    rates = {arm: [one.hit_rate for one in many] for arm, many in found.items()}
    took = {arm: [one.ran.engine_s for one in many] for arm, many in found.items()}
    title = f"{GROUPS * EACH} lines with {GROUPS} prefixes, more than the cache holds"
    return [
        ratio(
            PART,
            f"{title}: prefix-cache hit rate, put in order by vbatch against the best order",
            rates["auto"],
            rates["best"],
            goal=0.9,
        ),
        *(
            median(
                PART,
                f"prefix-cache hit rate, {words}",
                [rate * 100 for rate in rates[arm]],
                unit="%",
                detail=True,
            )
            for arm, words in (
                ("file", "in file order"),
                ("auto", "put in order"),
                ("best", "best order"),
            )
        ),
        ratio(
            PART, f"{title}: time in file order against put in order", took["file"], took["auto"]
        ),
    ]


def prefix_lines(*, model: str, seed: str, by_group: bool) -> Iterator[dict[str, Any]]:
    """Yield the lines, a group after the other or one of each group in turn.

    Another seed gives other texts of the same shape, so that no run finds those of another in
    the cache.
    """
    draw = random.Random(seed)
    prefixes = [f"{seed}, text {group}. {passage(PREFIX_WORDS, draw)}" for group in range(GROUPS)]
    places = [(group, number) for number in range(EACH) for group in range(GROUPS)]
    for group, number in sorted(places) if by_group else places:
        yield chat_line(
            f"{group}-{number}",
            f"{prefixes[group]}\n\n{number}: {TASKS[number % len(TASKS)]}",
            model=model,
            max_tokens=MAX_TOKENS,
            temperature=0,
            ignore_eos=True,
        )


def _measure(stack: Stack, *, model: str, arm: str, seed: str) -> Ordered:
    lines = prefix_lines(model=model, seed=seed, by_group=arm == "best")
    path = write(stack.folder / f"prefixes-{seed}.jsonl", lines)
    queries, hits = _counters(stack)
    ran = answer(stack, path, request_order="auto" if arm == "auto" else "file")
    queries_after, hits_after = _counters(stack)
    return Ordered(ran=ran, queries=queries_after - queries, hits=hits_after - hits)


def _counters(stack: Stack) -> tuple[float, float]:
    """Return how many prompt tokens the engine looked for in its cache, and how many it found."""
    query = "SELECT engine_socket FROM jobs_lane WHERE engine_state = 'ready'"
    socket: str = stack.sql(query)[0][0]
    counters = asyncio.run(scrape(socket, timeout_s=30)).counters
    return counters["prefix_cache_queries"], counters["prefix_cache_hits"]
