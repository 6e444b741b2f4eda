"""Part 1: one file of chat requests, beside `run-batch` with the same settings and as installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.harness.proof.ours import Ran, in_turn
from benchmarks.harness.proof.prompts import chat_lines, write
from benchmarks.harness.proof.results import Result, median, ratio
from benchmarks.harness.proof.steady import steady_rate
from benchmarks.harness.proof.turns import Turns
from jobs.engines.run_batch import Timed

PART = "chat"
WHO = ("ours", "identical", "installed")


def measure(
    turns: Turns, *, lines: int, max_tokens: int, rounds: int, body: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Result]]:
    """Answer a file of its own in each round by all three; return the figures and results."""

    def requests(name: str) -> Path:
        found = chat_lines(lines, model=turns.model, seed=name, max_tokens=max_tokens, **body)
        return write(turns.stack.folder / f"chat-{name}.jsonl", found)

    for kind in WHO[1:]:
        turns.compile(kind)
    ran: list[Ran] = []
    timed: dict[str, list[Timed]] = {kind: [] for kind in WHO[1:]}
    for number, who in in_turn(WHO, rounds):
        path = requests(f"round-{number}")
        if who == "ours":
            ran.append(turns.ours(path))
        else:
            timed[who].append(turns.theirs(who, path))
            if timed[who][-1].lines != lines:
                raise RuntimeError(f"run-batch answered {timed[who][-1].lines} of {lines} lines")
    figures = {
        "lines": lines,
        "max_tokens": max_tokens,
        "ours": [asdict(one) for one in ran],
        **{kind: [asdict(one) for one in found] for kind, found in timed.items()},
        "commands": {kind: turns.command(kind) for kind in timed},
        "loads_s": turns.loads_s,
    }
    return figures, compare(ran, timed["identical"], timed["installed"], lines=lines)


def compare(
    ran: Sequence[Ran], identical: Sequence[Timed], installed: Sequence[Timed], *, lines: int
) -> list[Result]:
    """Return what ours is of theirs.

    The engine's part is counted from the moment when it is up and may begin: to the last answer
    that is committed, and to the file that is written.
    """
    title = f"{lines:,} chat requests"
    ours = [one.output_tokens / one.engine_s for one in ran]
    rates = {
        kind: [one.output_tokens / one.warm_to_file_s for one in found]
        for kind, found in (("identical", identical), ("installed", installed))
    }
    whole = [one.start_to_file_s for one in ran]
    results = [
        ratio(
            PART,
            f"{title}, engine up: output tokens/s against `run-batch`, same settings",
            ours,
            rates["identical"],
            goal=1.0,
        ),
        ratio(
            PART,
            f"{title}, engine up: output tokens/s against `run-batch` as installed",
            ours,
            rates["installed"],
            goal=1.5,
        ),
        *_steady(ran, identical, lines),
        ratio(
            PART,
            f"{title}, start to file: against `run-batch` as installed, our engine warm",
            [one.start_to_file_s for one in installed],
            whole,
            goal=2.5,
        ),
        ratio(
            PART,
            f"{title}, start to file: against `run-batch`, same settings, our engine warm",
            [one.start_to_file_s for one in identical],
            whole,
            goal=2.5,
        ),
        median(PART, "vbatch, engine up", ours, unit="output tokens/s", detail=True),
        *(
            median(
                PART,
                f"`run-batch`, engine up, {words}",
                rates[kind],
                unit="output tokens/s",
                detail=True,
            )
            for kind, words in (("identical", "same settings"), ("installed", "as installed"))
        ),
        median(PART, "vbatch, start to file", whole, unit="s", detail=True),
        *(
            median(
                PART,
                f"`run-batch`, start to file, {words}",
                [one.start_to_file_s for one in found],
                unit="s",
                detail=True,
            )
            for found, words in ((identical, "same settings"), (installed, "as installed"))
        ),
    ]
    return results


def _steady(ran: Sequence[Ran], identical: Sequence[Timed], lines: int) -> list[Result]:
    """Return the ratio between a tenth and nine tenths, where both sides have such a part."""
    ours = [one.steady_per_s for one in ran if one.steady_per_s is not None]
    found = [steady_rate(one.progress, lines) for one in identical]
    theirs = [rate for rate in found if rate is not None]
    if not ours or not theirs:
        return []
    return [
        ratio(
            PART,
            "answers/s between 10 % and 90 %, against `run-batch`, same settings",
            ours,
            theirs,
            note="`run-batch` as it tells its progress, every five seconds",
            detail=True,
        )
    ]
