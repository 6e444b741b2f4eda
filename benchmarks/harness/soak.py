"""Many batches of several projects at once, with cancels, retries, deletes and pruning beside.

    python -m benchmarks.harness.soak [--lines 100000] [--batches 40] [--projects 3]

Starts a product of its own in a temporary folder with a stub in the engine's place, and takes it
down again. At the end every batch that still stands is read in full and held against the
invariants; memory of every process and waits for locks are watched all the while. Exit status 1
if anything does not hold.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import psycopg

from tests.stack import Stack, chat_line, check_finished
from tests.stack.product import ENDED

LOCK_LIMIT_S = 1.0
# Of the second half of the run, by how much a process may have grown over the first.
GROWTH_LIMIT_MB = 60.0
LOOK_EVERY_S = 0.1
# Whose memory is watched: what serves, works and stores, but PostgreSQL's own processes, whose
# shared buffers fill up, and the stub.
WATCHED = ("web", "web-worker", "supervisor", "q-main", "q-worker", "lane-task", "sampler")


@dataclass
class Batch:
    """One batch of the soak, with the lines that it was given."""

    public_id: str
    key: str
    lines: list[dict[str, Any]]
    fate: str
    deleted: bool = False


@dataclass
class Watch(threading.Thread):
    """Looks ten times a second who waits for a lock, and each second at memory."""

    stack: Stack
    longest_lock_s: float = 0.0
    waiter: str = ""
    memory_mb: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._ended = threading.Event()

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        looked_at = 0.0
        with psycopg.connect(self.stack.database_url, autocommit=True) as connection:
            while not self._ended.wait(LOOK_EVERY_S):
                for waits_s, query in connection.execute(_WAITS):
                    if waits_s > self.longest_lock_s:
                        self.longest_lock_s, self.waiter = waits_s, query
                if time.monotonic() - looked_at >= 1.0:
                    looked_at = time.monotonic()
                    for role, megabytes in _memory(self.stack).items():
                        self.memory_mb[role].append(megabytes)

    def end(self) -> None:
        self._ended.set()
        self.join()


# A lock on a row or a table that somebody waits for, since when.
_WAITS = """
SELECT extract(epoch FROM clock_timestamp() - l.waitstart)::float8, left(a.query, 200)
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE NOT l.granted AND l.waitstart IS NOT NULL AND l.locktype <> 'advisory'
"""


def _memory(stack: Stack) -> dict[str, float]:
    """Return the memory of the largest process of each role, in MB."""
    found: dict[str, float] = {}
    for process in stack.processes():
        if process.role not in WATCHED:
            continue
        try:
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        role = f"{process.role} {process.queue or ''}".strip()
        found[role] = max(found.get(role, 0.0), pages * 4096 / 1e6)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--projects", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    plan = {"latency_ms": [20, 200], "max_concurrency": 256, "engine_args": "--max-num-seqs 256"}
    with (
        tempfile.TemporaryDirectory(prefix="vbatch-soak-") as folder,
        Stack(Path(folder), models={"toy": plan}) as stack,
    ):
        stack.start_web()
        stack.start_worker()
        found = soak(stack, options)
    print(json.dumps(found, indent=2))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))
    sys.exit(1 if found["faults"] else 0)


def soak(stack: Stack, options: argparse.Namespace) -> dict[str, Any]:
    """Run it; return the figures, with what did not hold under `faults`."""
    rng = random.Random(options.seed)
    keys = [_key(stack, f"project-{number}") for number in range(options.projects)]
    watch = Watch(stack)
    watch.start()
    started = time.monotonic()
    batches = _submit_all(stack, keys, rng, options)
    retries = _live_through(stack, batches, rng)
    took_s = time.monotonic() - started
    watch.end()
    faults = _check(stack, [*batches, *retries])
    if watch.longest_lock_s > LOCK_LIMIT_S:
        faults.append(f"a lock was waited for {watch.longest_lock_s:.2f} s: {watch.waiter}")
    growth = {role: _growth_mb(values) for role, values in watch.memory_mb.items()}
    faults += [
        f"{role} grew by {grown} MB" for role, grown in growth.items() if grown > GROWTH_LIMIT_MB
    ]
    (answered,) = stack.sql("SELECT sum(completed + failed)::int FROM jobs_batch")[0]
    return {
        "lines": sum(len(one.lines) for one in batches),
        "batches": len(batches),
        "cancelled_and_retried": len(retries),
        "deleted": sum(one.deleted for one in [*batches, *retries]),
        "lines_still_there": answered,
        "took_s": round(took_s, 1),
        "longest_lock_s": round(watch.longest_lock_s, 3),
        "growth_mb": growth,
        "largest_mb": {role: round(max(values)) for role, values in watch.memory_mb.items()},
        "faults": faults,
    }


def _submit_all(
    stack: Stack, keys: Sequence[str], rng: random.Random, options: argparse.Namespace
) -> list[Batch]:
    weights = [rng.uniform(0.2, 1.8) for _ in range(options.batches)]
    batches = []
    for number, weight in enumerate(weights):
        count = max(1, round(options.lines * weight / sum(weights)))
        lines = [_line(f"b{number}-{n}", rng) for n in range(count)]
        key = stack.key = keys[number % len(keys)]
        batches.append(
            Batch(
                stack.submit(lines),
                key,
                lines,
                rng.choice(("keep", "keep", "keep", "cancel", "delete")),
            )
        )
    return batches


def _line(custom_id: str, rng: random.Random) -> dict[str, Any]:
    mark = "STUB:STATUS:400 " if rng.random() < 0.02 else ""
    return chat_line(custom_id, f"{mark}{custom_id}: {rng.random()}")


def _live_through(stack: Stack, batches: Sequence[Batch], rng: random.Random) -> list[Batch]:
    """Cancel, retry, delete and prune until nothing is live any more."""
    retries: list[Batch] = []
    pruned_at = time.monotonic()
    while True:
        every = [*batches, *retries]
        states = dict(stack.sql("SELECT public_id, state FROM jobs_batch"))
        for one in every:
            state = states.get(one.public_id)
            client = openai.OpenAI(base_url=f"{stack.url}/v1", api_key=one.key)
            if one.fate == "cancel" and state == "in_progress" and rng.random() < 0.3:
                client.batches.cancel(one.public_id)
                one.fate = "retry"
            elif one.fate == "retry" and state in ENDED:
                retries.append(_retry(stack, client, one))
                one.fate = "keep"
            elif one.fate == "delete" and state in ENDED:
                client.delete(f"/batches/{one.public_id}", cast_to=object)
                one.fate, one.deleted = "keep", True
        if time.monotonic() - pruned_at > 10:
            pruned_at = time.monotonic()
            stack.manage("prune", timeout_s=300)
        open_states = [states.get(one.public_id) not in ENDED for one in every if not one.deleted]
        if not any(open_states) and not any(one.fate in ("retry", "delete") for one in every):
            stack.manage("prune", timeout_s=300)
            return retries
        time.sleep(0.5)


def _retry(stack: Stack, client: openai.OpenAI, old: Batch) -> Batch:
    stack.key = old.key
    done = set(check_finished(stack, old.public_id, old.lines).output)
    made = client.post(f"/batches/{old.public_id}/retry", cast_to=openai.types.Batch)
    lines = [line for line in old.lines if line["custom_id"] not in done]
    return Batch(made.id, old.key, lines, "keep")


def _check(stack: Stack, batches: Sequence[Batch]) -> list[str]:
    """Read every batch that is still there; return what does not hold."""
    faults = []
    for one in batches:
        stack.key = one.key
        try:
            if one.deleted:
                left = stack.sql("SELECT 1 FROM jobs_batch WHERE public_id = %s", one.public_id)
                assert not left, "deleted and pruned, it is still there"
            else:
                check_finished(stack, one.public_id, one.lines)
        except AssertionError as error:
            faults.append(f"{one.public_id}: {error}")
    return faults


def _growth_mb(values: Sequence[float]) -> float:
    """Return by how much the last quarter is larger than the second, in MB of the median."""
    quarter = len(values) // 4
    if quarter < 3:
        return 0.0
    second, last = values[quarter : 2 * quarter], values[-quarter:]
    return round(statistics.median(last) - statistics.median(second), 1)


def _key(stack: Stack, project: str) -> str:
    return stack.manage("createapikey", "soak", "--project", project).strip()


if __name__ == "__main__":
    main()
