"""What an init system does for a product, and how to tell that it is whole."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from tests.stack import Process, Stack, chat_line, chat_lines, check_finished
from tests.stack.processes import tree
from tests.stack.product import ROOT

Lines = list[dict[str, Any]]
_CLUSTER = {"q-main": 1, "q-sentinel": 1, "q-monitor": 1, "q-pusher": 1}
# What belongs to a worker, and ends with its supervisor.
OF_WORKER = frozenset(
    [*_CLUSTER, "q-worker", "q-orphan", "lane-task", "guard", "sampler", "engine", "engine-core"]
)


def kill_all(processes: Iterable[Process], number: int = signal.SIGKILL) -> None:
    """Send a signal to each; one that has gone already is no matter."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def of_worker(stack: Stack) -> list[Process]:
    """Return all processes of the worker, its supervisor among them."""
    return [p for p in stack.processes() if p.role in OF_WORKER or p.role == "supervisor"]


def revive(stack: Stack) -> None:
    """Start again what an init system would, after nothing of its earlier life is left."""
    if not stack.is_running("worker"):
        _collect(stack, "worker")
        wait_gone(stack, lambda p: p.role in OF_WORKER, 10)
        stack.start_worker()
    if not stack.is_running("web"):
        _collect(stack, "web")
        wait_gone(stack, lambda p: p.role in ("web", "web-worker"), 10)
        stack.start_web()


def _collect(stack: Stack, name: str) -> None:
    with contextlib.suppress(KeyError):  # It was never started.
        stack.forget(name)


def wait_gone(stack: Stack, which: Callable[[Process], bool], within_s: float) -> None:
    """Wait until no process is left for which `which` is true."""
    deadline = time.monotonic() + within_s
    while left := [p for p in stack.processes() if which(p)]:
        assert time.monotonic() < deadline, f"still there after {within_s} s:\n{tree(left)}"
        time.sleep(0.05)


def is_whole(stack: Stack) -> bool:
    """True if every process that belongs to a worker at rest is there exactly once."""
    found = stack.processes()
    for queue in ("control", "stack-cpu", "stack-upstream"):
        roles = [p.role for p in found if p.queue == queue]
        workers = {"q-worker": 2} if queue == "control" else {"lane-task": 1}
        wanted = {**_CLUSTER, **workers, "guard": 1}
        if sorted(roles) != sorted(role for role, n in wanted.items() for _ in range(n)):
            return False
    single = [p.role for p in found if p.role in ("supervisor", "sampler", "web", "postgres")]
    return sorted(single) == ["postgres", "sampler", "supervisor", "web"]


def wait_whole(stack: Stack, within_s: float = 30.0) -> None:
    stack.wait(lambda: is_whole(stack), within_s, "the worker to be whole again")


def wait_at_rest(stack: Stack) -> None:
    """Wait until no lane works, so that the next batch calls it anew."""
    stack.wait(
        lambda: not stack.sql("SELECT 1 FROM jobs_lane WHERE task_seen_at IS NOT NULL"),
        30,
        "the lanes to rest",
    )


def all_but_a_slow_line(stack: Stack, prefix: str, *, slow_s: float) -> tuple[str, Lines]:
    """Submit 20 lines and `slow`, and wait until only that one is open; return batch and lines."""
    lines = [
        *chat_lines(20, prefix=prefix),
        chat_line("slow", f"STUB:SLEEP:{slow_s:g} slowly, {prefix}"),
    ]
    batch = stack.submit(lines)
    stack.wait(lambda: stack.state(batch)[2] == 20, 30, "all but the slow line")
    return batch, lines


def finish_revived(stack: Stack, batch: str, lines: Lines) -> None:
    """Start what was stopped; the batch ends with every line answered once."""
    revive(stack)
    stack.wait_ended(batch)
    check_finished(stack, batch, lines)


def run_python(stack: Stack, code: str) -> str:
    """Run Python with the product's settings; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=stack.env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout
