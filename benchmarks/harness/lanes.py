"""Four lanes against one: how much of four engines' rate reaches the batch.

Each lane is a host of its own (a worker with a data folder, on one database), since without GPUs
a host has one engine lane. The engines are stubs that sleep, so that what is measured is whether
the lanes get in each other's way.

    python -m benchmarks.harness.lanes --lanes 4 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.stack import Stack, chat_lines
from tests.stack.hosts import Host, answers_by_worker

MODEL = "toy"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lanes", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency-ms", type=float, default=500, help="of each request")
    parser.add_argument("--at-once", type=int, default=32, help="requests that an engine runs")
    parser.add_argument("--seconds", type=float, default=30, help="that a round shall take")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vbatch-lanes-") as folder:
        print(json.dumps(measure(Path(folder), options), indent=2))


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the rates of one lane and of all, in lines a second, and their ratio."""
    plan = {
        "latency_ms": options.latency_ms,
        "max_concurrency": options.at_once,
        "engine_args": f"--max-num-seqs {options.at_once}",
    }
    best = options.at_once / options.latency_ms * 1000
    with Stack(folder / "stack", models={MODEL: plan}) as stack, ExitStack() as hosts:
        stack.start_web()
        first = hosts.enter_context(Host(stack, "lane-0"))
        first.start()
        one = _rates(stack, options, lanes=1, rate=best)
        for number in range(1, options.lanes):
            hosts.enter_context(Host(stack, f"lane-{number}")).start()
        many = _rates(stack, options, lanes=options.lanes, rate=best * options.lanes)
    return {
        "lanes": options.lanes,
        "engine_rate_per_s": best,
        "one_lane_per_s": [round(rate, 1) for rate in one],
        "all_lanes_per_s": [round(rate, 1) for rate in many],
        "ratio": round(statistics.median(many) / statistics.median(one), 2),
    }


def _rates(stack: Stack, options: argparse.Namespace, *, lanes: int, rate: float) -> list[float]:
    """Return the rate of each round, after a batch that loads every engine."""
    _round(stack, lines=int(rate * 3), prefix=f"warm-{lanes}", lanes=lanes)
    return [
        _round(stack, lines=int(rate * options.seconds), prefix=f"{lanes}-{number}", lanes=lanes)
        for number in range(options.rounds)
    ]


def _round(stack: Stack, *, lines: int, prefix: str, lanes: int) -> float:
    """Run one batch; return its lines a second from the first claim to the last commit."""
    batch = stack.submit(chat_lines(lines, model=MODEL, prefix=prefix))
    if stack.wait_ended(batch, 600) != "completed":
        raise RuntimeError(f"{batch} is {stack.state(batch)}")
    shares = answers_by_worker(stack, batch)
    if len(shares) != lanes and not prefix.startswith("warm"):
        raise RuntimeError(f"not every lane took part: {shares}")
    (seconds,) = stack.sql(
        "SELECT extract(epoch FROM max(a.created_at) - b.in_progress_at)::float8 "
        "FROM jobs_batch b JOIN jobs_batchresponse a ON a.batch_id = b.id "
        "WHERE b.public_id = %s GROUP BY b.id",
        batch,
    )[0]
    return lines / float(seconds)


if __name__ == "__main__":
    main()
