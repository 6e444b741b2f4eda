"""A run of 600 lines in which one process is killed at a seeded moment, and what it cost."""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.stack import Process, Stack, chat_lines, check_finished
from tests.torture.care import kill_all, of_worker, revive, wait_whole
from tests.torture.door import arrivals, asked_again

LINES = 600
# The product's settings behind the bound on lines that may be computed again.
WINDOW = 40  # `--max-num-seqs 32` and a quarter.
GROUP = 512  # The most that a lane keeps before it commits.
COMMIT_EVERY_S = 0.5
AT_ONCE = 32
LATENCY_S = 0.3
WORK_GOES_ON_S = 30.0

# Role and, where several clusters have it, whose; `group` is every process of the worker at once.
VICTIMS = [
    *[("web", ""), ("web-worker", ""), ("supervisor", ""), ("sampler", ""), ("group", "")],
    *[("lane-task", "stack-cpu"), ("engine", ""), ("engine-core", ""), ("guard", "")],
    *[("postgres", ""), ("postgres-child", ""), ("q-worker", "control")],
    *[
        (role, queue)
        for role in ("q-main", "q-sentinel", "q-monitor", "q-pusher", "guard")
        for queue in ("control", "stack-cpu")
    ],
]


@dataclass(frozen=True)
class Kill:
    """What a run showed; times in seconds."""

    seed: int
    victim: str
    after_s: float
    answered: int
    standstill_s: float
    allowed_s: float
    again: int
    allowed_again: int

    def __str__(self) -> str:
        return (
            f"seed {self.seed:>4}  {self.victim:<22} killed {self.after_s:4.1f} s after the "
            f"create, {self.answered:>3} answered; work stood still {self.standstill_s:4.1f} s "
            f"(allowed {self.allowed_s:.1f}), {self.again:>3} computed again "
            f"(allowed {self.allowed_again})"
        )


def run_with_kill(stack: Stack, *, seed: int, role: str, queue: str) -> Kill:
    """Run a batch, kill one process of `role` in it, and check all that must hold afterwards."""
    rng = random.Random(seed)
    lines = list(chat_lines(LINES, prefix=f"kill-{seed}"))
    batch = stack.submit(lines)
    created_at = time.time()
    time.sleep(rng.uniform(0.0, 6.0))
    victims: list[Process] = []

    def find() -> list[Process]:
        found = of_worker(stack) if role == "group" else stack.find(role, queue=queue)
        victims[:] = found if role == "group" or not found else [rng.choice(found)]
        return victims

    stack.wait(find, 20, f"a process to kill: {role} {queue}")
    killed_at = time.time()
    kill_all(victims, signal.SIGKILL)

    def ended() -> bool:
        revive(stack)
        try:
            return stack.state(batch)[0] == "completed"
        except psycopg.OperationalError:
            return False  # It is for the product to start its database again.

    stack.wait(ended, 120, f"the end of {batch}")
    results = check_finished(stack, batch, lines)
    assert not results.errors, f"failed lines: {list(results.errors.values())[:3]}"
    kill = _measure(stack, batch, lines, created_at, killed_at, seed, f"{role} {queue}".strip())
    wait_whole(stack)
    return kill


def _measure(
    stack: Stack,
    batch: str,
    lines: list[dict[str, Any]],
    created_at: float,
    killed_at: float,
    seed: int,
    victim: str,
) -> Kill:
    rows = stack.sql(
        "SELECT extract(epoch FROM a.created_at)::float8, count(*) FROM jobs_batchresponse a "
        "JOIN jobs_batch b ON b.id = a.batch_id WHERE b.public_id = %s GROUP BY 1 ORDER BY 1",
        batch,
    )
    commits = [at for at, _ in rows]
    after = [killed_at, *(at for at in commits if at > killed_at)]
    standstill_s = max((b - a for a, b in zip(after, after[1:], strict=False)), default=0.0)
    (load_s,) = stack.sql("SELECT max(load_s) FROM jobs_lanemodel")[0]
    # What a killed lane loses: the requests in flight, and what had finished since its last
    # commit, at most AT_ONCE in each LATENCY_S begun; one round more may end while a commit is
    # on its way. Commits come each COMMIT_EVERY_S, or as seldom as they were seen to come.
    first = min(arrival.at for arrival in arrivals(stack, lines))
    before = [first, *(at for at in commits if first < at <= killed_at), max(first, killed_at)]
    open_s = max(b - a for a, b in zip(before, before[1:], strict=False))
    rounds = 2 + int(max(COMMIT_EVERY_S, open_s) / LATENCY_S)
    return Kill(
        seed=seed,
        victim=victim,
        after_s=killed_at - created_at,
        answered=sum(count for at, count in rows if at <= killed_at),
        standstill_s=standstill_s,
        allowed_s=WORK_GOES_ON_S + (load_s or 0.0),
        again=asked_again(stack, lines),
        allowed_again=WINDOW + min(GROUP, AT_ONCE * rounds),
    )
