"""Part 2: ten small batches that arrive at once, against `run-batch` ten times."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.harness.proof.ours import answer
from benchmarks.harness.proof.prompts import chat_lines, write
from benchmarks.harness.proof.results import Result, median, ratio
from benchmarks.harness.proof.turns import Turns
from jobs.engines.run_batch import Timed

PART = "small"
BATCHES = 10
LINES = 20


def measure(
    turns: Turns, *, invocations: int, max_tokens: int
) -> tuple[dict[str, Any], list[Result]]:
    """Time ours before, amid and after theirs; return the figures and results.

    With fewer than ten `invocations` their time is extrapolated, and the result says so.
    """

    def requests(name: str) -> Path:
        lines = chat_lines(LINES, model=turns.model, seed=name, max_tokens=max_tokens)
        return write(turns.stack.folder / f"small-{name}.jsonl", lines)

    ours: list[float] = []
    theirs: list[Timed] = []
    turns.compile("identical")
    half = invocations // 2
    for at, between in enumerate((half, invocations - half, 0)):
        paths = [requests(f"{at}-{number}") for number in range(BATCHES)]
        turns.warm()
        ours.append(_together(turns, paths))
        for number in range(between):
            theirs.append(turns.theirs("identical", requests(f"theirs-{at}-{number}")))
    each_s = [one.start_to_file_s for one in theirs]
    whole_s = sum(each_s) / invocations * BATCHES
    note = "" if invocations == BATCHES else f"theirs from {invocations} invocations"
    figures = {
        "batches": BATCHES,
        "lines_each": LINES,
        "ours_s": ours,
        "invocations": [asdict(one) for one in theirs],
        "extrapolated": invocations != BATCHES,
    }
    title = f"{BATCHES} batches of {LINES} lines at once"
    return figures, [
        ratio(
            PART,
            f"{title}, engine warm, against `run-batch` {BATCHES} times",
            [whole_s],
            ours,
            goal=8.0,
            note=note,
        ),
        median(PART, "vbatch, all ten", ours, unit="s", detail=True),
        median(PART, "`run-batch`, each", each_s, unit="s", detail=True),
    ]


def _together(turns: Turns, paths: list[Path]) -> float:
    """Return the seconds from the first upload to the last downloaded file."""
    started = time.monotonic()
    with ThreadPoolExecutor(len(paths)) as pool:
        list(pool.map(lambda path: answer(turns.stack, path), paths))
    return time.monotonic() - started
