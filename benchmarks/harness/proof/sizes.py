"""Part 5: what batches of 1,000, 10,000 and 100,000 lines cost, with a stub for an engine."""

from __future__ import annotations

import statistics
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

PART = "control"
# How often each size is measured in one round: a short run tells little by itself.
SIZES = {1_000: 7, 10_000: 3, 100_000: 1}


@dataclass(frozen=True, kw_only=True)
class Sized:
    """One batch of a size, with what memory did meanwhile."""

    lines: int
    ran: Ran
    web_growth_mb: float
    worker_growth_mb: float


def measure(stack: Stack, *, line_bytes: int, rounds: int) -> tuple[dict[str, Any], list[Result]]:
    """Run all sizes in turn; return the figures and results."""
    warm_up(stack)
    paths = {lines: _input(stack, lines, line_bytes) for lines in SIZES}
    found: list[Sized] = []
    for _, name in in_turn(tuple(str(lines) for lines in SIZES), rounds):
        found += [_measure(stack, int(name), paths[int(name)]) for _ in range(SIZES[int(name)])]
    largest = max(SIZES)
    figures = {
        "line_bytes": line_bytes,
        "input_mb": {str(lines): path.stat().st_size / 1e6 for lines, path in paths.items()},
        "batches": [asdict(one) for one in found],
    }
    return figures, compare(found, input_mb=paths[largest].stat().st_size / 1e6)


def compare(found: Sequence[Sized], *, input_mb: float) -> list[Result]:
    """Return the rates of the sizes, how near they are, and what the largest took."""
    rates = {
        lines: [
            one.ran.steady_per_s for one in found if one.lines == lines and one.ran.steady_per_s
        ]
        for lines in sorted({one.lines for one in found})
    }
    medians = [statistics.median(values) for values in rates.values()]
    largest = [one for one in found if one.lines == max(rates)]
    return [
        *(
            median(
                PART,
                f"{lines:,} lines, stub engine: commits between 10 % and 90 %",
                [rate for rate in values if rate],
                unit="per s",
            )
            for lines, values in rates.items()
        ),
        Result(
            part=PART,
            what="… the slowest size against the fastest",
            value=min(medians) / max(medians),
            sign=">=",
            goal=0.9,
            repeats=len(largest),
        ),
        median(
            PART,
            f"{max(rates):,} lines: growth of the worker's memory",
            [one.worker_growth_mb for one in largest],
            unit="MB",
            sign="<=",
            goal=150,
        ),
        median(
            PART,
            "… of the web server's memory",
            [one.web_growth_mb for one in largest],
            unit="MB",
            sign="<=",
            goal=150,
        ),
        median(
            PART,
            f"… validation of {input_mb:,.0f} MB",
            [input_mb / one.ran.validation_s for one in largest],
            unit="MB/s",
            sign=">=",
            goal=50,
        ),
        median(
            PART,
            "… download of the answers",
            [one.ran.output_bytes / 1e6 / one.ran.download_s for one in largest],
            unit="MB/s",
        ),
    ]


def _input(stack: Stack, lines: int, line_bytes: int) -> Path:
    path = stack.folder / f"lines-{lines}.jsonl"
    make_input(path, lines=lines, line_bytes=line_bytes, model=MODEL, max_tokens=1000)
    return path


def _measure(stack: Stack, lines: int, path: Path) -> Sized:
    with MemoryWatch(stack) as memory:
        ran = answer(stack, path)
    return Sized(
        lines=lines,
        ran=ran,
        web_growth_mb=memory.growth_mb("web"),
        worker_growth_mb=memory.growth_mb("worker"),
    )
