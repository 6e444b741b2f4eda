"""Small batches on a warm engine: the first answer, and ten of them against one large."""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks.harness.large_batch import MODEL
from benchmarks.harness.transfer import create_batch, make_input, upload
from tests.stack import Stack


def first_answers(stack: Stack, *, times: int) -> dict[str, Any]:
    """Measure from the request that creates a batch to its first committed answer."""
    found = []
    for number in range(times):
        file_id = _input(stack, f"first-{number}", lines=20)
        created_at = time.time()
        batch_id = create_batch(stack.url, stack.key, file_id)
        assert stack.wait_ended(batch_id, 60) == "completed"
        row = stack.sql(
            "SELECT extract(epoch FROM min(a.created_at))::float8 FROM jobs_batchresponse a "
            "JOIN jobs_batch b ON b.id = a.batch_id WHERE b.public_id = %s",
            batch_id,
        )[0]
        found.append(row[0] - created_at)
        # Uneven pauses, so that no beat of the product is always met at the same moment.
        time.sleep(0.3 + 0.37 * (number % 4))
    return {
        "first_answer_s": [round(seconds, 3) for seconds in found],
        "first_answer_median_s": statistics.median(found),
        "first_answer_worst_s": max(found),
    }


def ten_against_one(stack: Stack, *, pairs: int, concurrency: int) -> dict[str, Any]:
    """Time ten batches of 20 lines and one of 200, in turn, on an engine that takes its time."""
    stack.write_plan(MODEL, latency_ms=[100, 300], max_concurrency=concurrency)
    time.sleep(0.5)
    ten: list[float] = []
    one: list[float] = []
    for pair in range(pairs):
        # The order changes with each pair, so that a drift of the machine hits both alike.
        for count in (10, 1) if pair % 2 == 0 else (1, 10):
            (ten if count == 10 else one).append(_together(stack, pair=pair, count=count))
    ratios = [many / single for many, single in zip(ten, one, strict=True)]
    return {
        "ten_of_20_s": [round(seconds, 3) for seconds in ten],
        "one_of_200_s": [round(seconds, 3) for seconds in one],
        "ten_median_s": statistics.median(ten),
        "one_median_s": statistics.median(one),
        "ten_to_one": statistics.median(ten) / statistics.median(one),
        "ten_to_one_of_pairs": [round(ratio, 3) for ratio in ratios],
    }


def _together(stack: Stack, *, pair: int, count: int) -> float:
    """Return the time from the first create to the end of the last of `count` batches."""
    files = [_input(stack, f"pair-{pair}-{count}-{n}", lines=200 // count) for n in range(count)]
    started_at = time.time()
    batches = [create_batch(stack.url, stack.key, file_id) for file_id in files]
    for batch_id in batches:
        assert stack.wait_ended(batch_id, 120) == "completed"
    row = stack.sql(
        "SELECT extract(epoch FROM max(completed_at))::float8 FROM jobs_batch "
        "WHERE public_id = ANY(%s)",
        batches,
    )[0]
    ended_at: float = row[0]
    return ended_at - started_at


def _input(stack: Stack, name: str, *, lines: int) -> str:
    path = stack.folder / f"{name}.jsonl"
    make_input(path, lines=lines, line_bytes=500, model=MODEL, max_tokens=1000)
    return upload(stack.url, stack.key, path)[0]
