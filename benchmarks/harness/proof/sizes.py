"""Part 5: what batches of 1,000, 10,000 and 100,000 lines cost, with a stub for an engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.large_batch import MODEL, warm_up
from benchmarks.harness.memory import MemoryWatch
from benchmarks.harness.proof.ours import Ran, answer, in_turn
from benchmarks.harness.proof.results import Result, median
from benchmarks.harness.transfer import make_input
from tests.stack import Stack

PART = "sizes"
# How often each size runs on an engine that answers as fast as vLLM's own front end at its best,
# and in each round on one that answers at once. There 1,000 lines are two commits: no rate.
PACED = {1_000: 7, 10_000: 3, 100_000: 1}
AT_ONCE = {10_000: 3, 100_000: 1}
ENGINE_PER_S = 1_000
IN_ENGINE = 200
ANSWER_BYTES = 1_024
SEARCHABLE_WITHIN_S = 120


@dataclass(frozen=True, kw_only=True)
class Sized:
    """One batch of a size, with what memory did meanwhile."""

    lines: int
    ran: Ran
    web_growth_mb: float
    worker_growth_mb: float


def measure(stack: Stack, *, line_bytes: int, rounds: int) -> tuple[dict[str, Any], list[Result]]:
    """Run all sizes on an engine with a pace, then in turn on one that answers at once."""
    warm_up(stack)
    paths = {lines: _input(stack, lines, line_bytes) for lines in PACED}
    mean_ms = IN_ENGINE / ENGINE_PER_S * 1000
    _pace(stack, latency_ms=[mean_ms / 2, mean_ms * 3 / 2], max_concurrency=IN_ENGINE)
    paced = [
        _measure(stack, size, paths[size]) for size, times in PACED.items() for _ in range(times)
    ]
    _pace(stack)
    found: list[Sized] = []
    for _, name in in_turn(tuple(str(lines) for lines in AT_ONCE), rounds):
        size = int(name)
        found += [_measure(stack, size, paths[size]) for _ in range(AT_ONCE[size])]
    figures = {
        "line_bytes": line_bytes,
        "answer_bytes": ANSWER_BYTES,
        "input_mb": {str(lines): path.stat().st_size / 1e6 for lines, path in paths.items()},
        "paced": [asdict(one) for one in paced],
        "at_once": [asdict(one) for one in found],
    }
    return figures, compare(paced, found, input_mb=paths[max(AT_ONCE)].stat().st_size / 1e6)


def compare(paced: Sequence[Sized], found: Sequence[Sized], *, input_mb: float) -> list[Result]:
    """Return the rates of the sizes, how near they are, and what the largest took."""
    largest = [one for one in found if one.lines == max(AT_ONCE)]
    return [
        *_rates(f"engine of {ENGINE_PER_S:,} answers/s", paced),
        *_rates("engine that answers at once", found),
        median(
            PART,
            f"{max(AT_ONCE):,} lines: growth of the worker's memory",
            [one.worker_growth_mb for one in largest],
            unit="MB",
            sign="<=",
            goal=150,
        ),
        median(
            PART,
            f"{max(AT_ONCE):,} lines: growth of the web server's memory",
            [one.web_growth_mb for one in largest],
            unit="MB",
            sign="<=",
            goal=150,
        ),
        median(
            PART,
            f"validation of {max(AT_ONCE):,} lines, {input_mb:,.0f} MB",
            [input_mb / one.ran.validation_s for one in largest],
            unit="MB/s",
            sign=">=",
            goal=50,
        ),
        median(
            PART,
            f"download of {max(AT_ONCE):,} answers",
            [one.ran.output_bytes / 1e6 / one.ran.download_s for one in largest],
            unit="MB/s",
        ),
    ]


def _rates(engine: str, found: Sequence[Sized]) -> list[Result]:
    rates: dict[int, list[float]] = {}
    for one in found:
        if one.ran.steady_per_s is not None:
            rates.setdefault(one.lines, []).append(one.ran.steady_per_s)
    results = [
        median(
            PART,
            f"{lines:,} lines, {engine}: commits between 10 % and 90 %",
            values,
            unit="per s",
            detail=True,
        )
        for lines, values in sorted(rates.items())
    ]
    medians = [one.value for one in results]
    sizes = " and ".join(f"{lines:,}" for lines in sorted(rates)) + " lines"
    slowest = Result(
        part=PART,
        what=f"{sizes}, {engine}: the slowest rate of commits against the fastest",
        value=min(medians) / max(medians),
        sign=">=",
        goal=0.9,
        repeats=min(one.repeats for one in results),
    )
    return [*results, slowest]


def _pace(stack: Stack, **plan: Any) -> None:
    """Let the stub answer as `plan` says; it looks at its plan each second at the most."""
    stack.write_plan(MODEL, answer_bytes=ANSWER_BYTES, **plan)
    time.sleep(1.5)


def _unsearchable(stack: Stack) -> int:
    query = (
        "SELECT coalesce(sum(b.last_seq - coalesce(p.seq, 0)), 0)::int FROM jobs_batch b "
        "LEFT JOIN curation_searchprogress p ON p.batch_id = b.id"
    )
    behind: int = stack.sql(query)[0][0]
    return behind


def _input(stack: Stack, lines: int, line_bytes: int) -> Path:
    path = stack.folder / f"lines-{lines}.jsonl"
    make_input(path, lines=lines, line_bytes=line_bytes, model=MODEL, max_tokens=1000)
    return path


def _measure(stack: Stack, lines: int, path: Path) -> Sized:
    # The answers of the batch before are still being made searchable, behind everybody's back.
    stack.wait(lambda: _unsearchable(stack) == 0, SEARCHABLE_WITHIN_S, "the search index")
    with MemoryWatch(stack) as memory:
        ran = answer(stack, path)
    return Sized(
        lines=lines,
        ran=ran,
        web_growth_mb=memory.growth_mb("web"),
        worker_growth_mb=memory.growth_mb("worker"),
    )
