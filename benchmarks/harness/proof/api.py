"""Part 5: how fast the API answers 200 requests a second while a batch runs."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from typing import Any

from benchmarks.harness.large_batch import MODEL, warm_up
from benchmarks.harness.proof.results import Result, median
from benchmarks.harness.proof.sizes import ANSWER_BYTES, ENGINE_PER_S, IN_ENGINE
from benchmarks.harness.transfer import create_batch, make_input, upload
from tests.stack import Stack
from tests.stack.product import ROOT

PART = "api"
# Batches that have ended, for the list to have pages of.
ENDED = 30
# The batch runs for longer than the API is asked.
LONGER = 2.0


def measure(
    stack: Stack, *, rate: float, seconds: float, rounds: int
) -> tuple[dict[str, Any], list[Result]]:
    """Ask with a batch in progress; return the figures and results."""
    for _ in range(ENDED):
        warm_up(stack)
    batches = [row[0] for row in stack.sql("SELECT public_id FROM jobs_batch LIMIT 20")]
    latency_ms = IN_ENGINE / ENGINE_PER_S * 1000
    stack.write_plan(
        MODEL, latency_ms=latency_ms, max_concurrency=IN_ENGINE, answer_bytes=ANSWER_BYTES
    )
    path = stack.folder / "api.jsonl"
    lines = int(ENGINE_PER_S * seconds * LONGER)
    make_input(path, lines=lines, line_bytes=500, model=MODEL, max_tokens=1000)
    found = []
    for _ in range(rounds):
        file_id, _ = upload(stack.url, stack.key, path)
        running = create_batch(stack.url, stack.key, file_id)
        stack.wait(partial(_has_answers, stack, running), 60, "the first answers")
        answered = stack.state(running)[2]
        command = [sys.executable, "-m", "benchmarks.harness.proof.api_load", stack.url, stack.key]
        command += [running, *batches, "--rate", str(rate), "--seconds", str(seconds)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            raise RuntimeError(done.stderr[-2000:])
        state, _, now_answered, _ = stack.state(running)
        figures: dict[str, Any] = json.loads(done.stdout)
        figures["batch_state_after"] = state
        figures["lines_answered_meanwhile"] = now_answered - answered
        found.append(figures)
        stack.wait_ended(running, 600)
    title = f"API at {rate:g} requests/s, a batch running"
    return {"rate": rate, "seconds": seconds, "rounds": found}, [
        median(PART, f"{title}: p50", [one["p50_ms"] for one in found], unit="ms"),
        median(PART, f"{title}: p99", [one["p99_ms"] for one in found], unit="ms"),
        median(
            PART,
            f"{title}: refused or failed",
            [float(one["failed"]) for one in found],
            unit="requests",
            sign="<=",
            goal=0,
        ),
    ]


def _has_answers(stack: Stack, batch_id: str) -> bool:
    return stack.state(batch_id)[2] > 0
