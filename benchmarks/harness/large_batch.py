"""One large batch: upload, validation, memory, commit rate against a bare loop, download."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.harness.memory import MemoryWatch
from benchmarks.harness.transfer import create_batch, download, make_input, upload
from tests.stack import Stack
from tests.stack.product import ENDED, ROOT

MODEL = "bench"


def engine_args(window: int) -> str:
    """Return the engine arguments with which the product keeps `window` requests in flight."""
    # The product sends a quarter more than the engine runs at once.
    most = next(n for n in range(1, window + 1) if n + n // 4 >= window)
    return f"--max-num-seqs {most}"


def warm_up(stack: Stack) -> str:
    """Run a small batch, so that the engine is loaded; return the engine's socket."""
    path = stack.folder / "warm.jsonl"
    make_input(path, lines=20, line_bytes=500, model=MODEL, max_tokens=1000)
    file_id, _ = upload(stack.url, stack.key, path)
    assert stack.wait_ended(create_batch(stack.url, stack.key, file_id), 120) == "completed"
    found = stack.sql("SELECT engine_socket FROM jobs_lane WHERE engine_state = 'ready'")
    socket: str = found[0][0]
    return socket


def run(
    stack: Stack, *, lines: int, line_bytes: int, window: int, bare_lines: int, rounds: int
) -> dict[str, Any]:
    """Measure batches of `lines` lines on a warm engine; times in seconds, sizes in MB.

    Each round is a batch between two bare loops. Where other work shares the machine, rates
    drift within a round: the median of the rounds' ratios counts, and the processor time a
    request shows what is left when nobody interferes.
    """
    path = stack.folder / "large.jsonl"
    make_input(path, lines=lines, line_bytes=line_bytes, model=MODEL, max_tokens=1000)
    socket = warm_up(stack)
    figures = []
    bare = _bare(path, socket, window=window, lines=bare_lines)
    for _ in range(rounds):
        figures.append(_round(stack, path, lines))
        figures[-1]["bare"] = [bare, _bare(path, socket, window=window, lines=bare_lines)]
        bare = figures[-1]["bare"][1]
    for figure in figures:
        rates = [one["requests_per_s"] for one in figure["bare"]]
        figure["ratio"] = figure["commit_rate_per_s"] / statistics.mean(rates)
    first = figures[0]
    return {
        "lines": lines,
        "input_mb": path.stat().st_size / 1e6,
        "window": window,
        "upload_s": first["upload_s"],
        "upload_and_validation_s": max(f["upload_and_validation_s"] for f in figures),
        "whole_run_s": first["whole_run_s"],
        "commit_rate_per_s": [round(f["commit_rate_per_s"]) for f in figures],
        "bare_rates_per_s": [
            round(one["requests_per_s"])
            for one in [first["bare"][0], *(f["bare"][1] for f in figures)]
        ],
        "ratios": [round(f["ratio"], 3) for f in figures],
        "ratio": statistics.median(f["ratio"] for f in figures),
        "lane_cpu_us_per_request": min(f["lane_cpu_us"] for f in figures),
        "bare_cpu_us_per_request": min(
            one["cpu_us_per_request"] for f in figures for one in f["bare"]
        ),
        "web_growth_mb": first["web_growth_mb"],
        "worker_growth_mb": first["worker_growth_mb"],
        "worker_growth_in_last_round_mb": figures[-1]["worker_growth_mb"],
        "worker_between_10_and_90_percent_mb": first["flat_mb"],
        "process_growth_mb": first["process_growth_mb"],
        "output_mb": first["output_mb"],
        "download_mb_per_s": statistics.median(f["download_mb_per_s"] for f in figures),
    }


def _round(stack: Stack, path: Path, lines: int) -> dict[str, Any]:
    """Run one batch from the upload to the download of its output."""
    lane = stack.find("lane-task", queue="stack-cpu")[0]
    with MemoryWatch(stack) as memory:
        cpu_before_s = lane.cpu_s()
        upload_started_at = time.time()
        file_id, upload_s = upload(stack.url, stack.key, path)
        batch_id = create_batch(stack.url, stack.key, file_id)
        ended = _follow(stack, batch_id)
        finished_at = time.time()
        lane_cpu_s = lane.cpu_s() - cpu_before_s
        output_id = stack.client.batches.retrieve(batch_id).output_file_id
        assert output_id is not None
        size, got_lines, download_s = download(stack.url, stack.key, output_id)
    assert got_lines == ended["completed"] == lines, f"{got_lines} lines came back: {ended}"
    rate, from_at, to_at = _commit_rate(stack, batch_id, lines)
    low, high = memory.between_mb("worker", from_at, to_at)
    return {
        "upload_s": upload_s,
        "upload_and_validation_s": ended["in_progress_at"] - upload_started_at,
        "whole_run_s": finished_at - upload_started_at,
        "commit_rate_per_s": rate,
        "lane_cpu_us": lane_cpu_s / lines * 1e6,
        "web_growth_mb": memory.growth_mb("web"),
        "worker_growth_mb": memory.growth_mb("worker"),
        "flat_mb": [round(low, 1), round(high, 1)],
        "process_growth_mb": memory.process_growth_mb(),
        "output_mb": size / 1e6,
        "download_mb_per_s": size / 1e6 / download_s,
    }


def _bare(path: Path, socket: str, *, window: int, lines: int) -> dict[str, float]:
    """Run the bare loop in a process of its own against the product's own engine."""
    command = [sys.executable, "-m", "benchmarks.harness.bare_loop", str(path), "--uds", socket]
    command += ["--url", "http://engine/v1/chat/completions"]
    command += ["--window", str(window), "--limit", str(lines)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _follow(stack: Stack, batch_id: str) -> dict[str, Any]:
    """Wait for the end of the batch, seldom looking; return its row's figures."""
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline:
        row = stack.sql(
            "SELECT state, completed, failed, extract(epoch FROM in_progress_at)::float8, findings "
            "FROM jobs_batch WHERE public_id = %s",
            batch_id,
        )[0]
        if row[0] in ENDED:
            if row[0] != "completed":
                raise RuntimeError(f"The batch ended as {row[0]}: {str(row[4])[:1000]}")
            return {"completed": row[1], "failed": row[2], "in_progress_at": row[3]}
        time.sleep(0.5)
    raise RuntimeError(f"The batch did not end: {stack.state(batch_id)}\n{stack.log('worker')}")


def _commit_rate(stack: Stack, batch_id: str, lines: int) -> tuple[float, float, float]:
    """Return commits a second between the first and the last tenth, and when that span was."""
    rows = stack.sql(
        "SELECT a.seq, extract(epoch FROM a.created_at)::float8 FROM jobs_batchresponse a "
        "JOIN jobs_batch b ON b.id = a.batch_id WHERE b.public_id = %s AND a.seq IN (%s, %s) "
        "ORDER BY a.seq",
        batch_id,
        max(1, lines // 10),
        lines * 9 // 10,
    )
    (first, from_at), (last, to_at) = rows
    return (last - first) / (to_at - from_at), from_at, to_at
