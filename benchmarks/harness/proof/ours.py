"""A batch file through the product: timed as its user sees it, and as its engine does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from benchmarks.harness.proof.prompts import chat_lines, write
from benchmarks.harness.proof.steady import Point, steady_rate
from benchmarks.harness.transfer import create_batch, fetch, upload, wait_for_end
from jobs.engines import run_batch
from tests.stack import Stack

TIMEOUT_S = 3_600.0
WARM_UP_LINES = 32


@dataclass(frozen=True, kw_only=True)
class Ran:
    """One batch, whole; times in seconds.

    `start_to_file_s` counts from the first byte of the upload to the last of the downloaded
    answers, `validation_s` from the batch's creation to its end, `engine_s` from there to the
    last committed answer.
    """

    batch_id: str
    lines: int
    output_tokens: int
    start_to_file_s: float
    validation_s: float
    engine_s: float
    download_s: float
    output_bytes: int
    steady_per_s: float | None

    @property
    def lines_per_s(self) -> float:
        return self.lines / self.engine_s


def answer(stack: Stack, path: Path, **order: Any) -> Ran:
    """Upload, run and download a batch; RuntimeError unless every line is answered."""
    answers = path.with_suffix(".ours")
    started_at = time.time()
    file_id, _ = upload(stack.url, stack.key, path)
    batch_id = create_batch(stack.url, stack.key, file_id, **order)
    batch = wait_for_end(stack.url, stack.key, batch_id, timeout_s=TIMEOUT_S)
    if batch["status"] != "completed" or batch["output_file_id"] is None:
        raise RuntimeError(f"{batch_id} is {batch['status']}: {str(batch['errors'])[:500]}")
    ended_at = time.time()
    fetch(stack.url, stack.key, batch["output_file_id"], answers)
    written_at = time.time()
    lines, tokens = run_batch.count(answers)
    if lines != batch["request_counts"]["total"]:
        raise RuntimeError(f"{batch_id} answered {lines} lines: {batch['request_counts']}")
    points = committed(stack, batch_id)
    query = (
        "SELECT extract(epoch FROM in_progress_at - created_at)::float8 FROM jobs_batch "
        "WHERE public_id = %s"
    )
    return Ran(
        batch_id=batch_id,
        lines=lines,
        output_tokens=tokens,
        start_to_file_s=written_at - started_at,
        validation_s=stack.sql(query, batch_id)[0][0],
        engine_s=points[-1][0],
        download_s=written_at - ended_at,
        output_bytes=answers.stat().st_size,
        steady_per_s=steady_rate(points, lines),
    )


def committed(stack: Stack, batch_id: str) -> list[Point]:
    """Return how many answers stood in the database when, counted from the end of validation."""
    groups = stack.sql(
        "SELECT extract(epoch FROM a.created_at - b.in_progress_at)::float8, count(*)::int "
        "FROM jobs_batchresponse a JOIN jobs_batch b ON b.id = a.batch_id "
        "WHERE b.public_id = %s GROUP BY 1 ORDER BY 1",
        batch_id,
    )
    sums = accumulate(count for _, count in groups)
    return [(at, total) for (at, _), total in zip(groups, sums, strict=True)]


def warm_up(stack: Stack, *, model: str, timeout_s: float) -> float:
    """Answer a few lines, so that the engine is loaded; return how long it took to load."""
    lines = chat_lines(WARM_UP_LINES, model=model, seed=f"warm-{time.time()}", max_tokens=16)
    file_id, _ = upload(stack.url, stack.key, write(stack.folder / "warm.jsonl", lines))
    batch_id = create_batch(stack.url, stack.key, file_id)
    batch = wait_for_end(stack.url, stack.key, batch_id, timeout_s=timeout_s)
    if batch["status"] != "completed" or batch["request_counts"]["failed"]:
        raise RuntimeError(f"The engine did not answer: {batch}\n{stack.log('worker')}")
    query = "SELECT extract(epoch FROM engine_ready_at - engine_started_at)::float8 FROM jobs_lane "
    load_s: float = stack.sql(query + "WHERE engine_state = 'ready'")[0][0]
    return load_s


def in_turn(names: tuple[str, ...], rounds: int) -> Iterator[tuple[int, str]]:
    """Yield (round, name), forwards and backwards in turn, so that a drift hits all alike."""
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            yield number, name
