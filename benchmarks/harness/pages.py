"""How long pages and routes take on a database that `benchmarks.harness.seeding` filled.

    python -m benchmarks.harness.pages FOLDER [--times 40] [--only TEXT] [--json FILE]

Starts the real web server on it and asks for each request of `page_list` in turn: 3 times to
warm up, then 40 times. The time is the client's, over one loopback connection, from sending the
request to the last byte of the answer, so it is a little more than the server's own. Beside it
the database is written as the workers and samplers of the seeded hosts would. The statements of
each request are counted in a process of its own kind, with Django's test client. Exit status 1
if a 95th percentile is not under the limit, an answer is not good or costs more statements than
the list says.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.harness.seeding import samples
from tests.stack import Stack

LIMIT_MS = 200.0
WARM_UPS = 3
BEAT_EVERY_S = 2.0
# Sending the file that a form asks for, or saying that nothing is new, is as good as an answer.
GOOD = (200, 302, 304)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What one request of the list took."""

    name: str
    path: str
    by: str
    status: int
    bytes: int
    median_ms: float
    p95_ms: float
    queries: int
    queries_at_most: int

    @property
    def held(self) -> bool:
        enough = self.queries <= self.queries_at_most
        return self.p95_ms < LIMIT_MS and self.status in GOOD and enough


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--times", type=int, default=40)
    parser.add_argument("--only", default="", help="those whose name holds this text")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    args = parser.parse_args()
    if not (args.folder / "data").is_dir():
        parser.error(f"{args.folder} was not made by benchmarks.harness.seeding")
    # Asking for the list is meant to be faster than any client may.
    env = {"VBATCH_REQUESTS_PER_MINUTE": "0"}
    with Stack(args.folder, models={}, env=env, keep=True) as stack:
        with psycopg.connect(stack.database_url, autocommit=True) as connection:
            samples.bring_up_to_now(connection)
        with _beating(stack.database_url):
            stack.start_web()
            figures = list(measure(stack, times=args.times, only=args.only))
    if args.json:
        found = [{**asdict(figure), "held": figure.held} for figure in figures]
        args.json.write_text(json.dumps({"cores": os.cpu_count(), "requests": found}, indent=2))
    sys.exit(0 if show(figures) else 1)


def measure(stack: Stack, *, times: int, only: str) -> Iterator[Figure]:
    """Ask for each request of the list; the subjects are of the project with most batches."""
    os.environ.update(stack.env)
    import django

    django.setup()
    # Only now are there settings to import models by.
    from benchmarks.harness.asking import Askers
    from benchmarks.harness.page_list import REQUESTS, find_cursors, find_subjects
    from jobs.models import Project

    project = Project.objects.get(name="search")
    subjects = find_subjects(project)
    askers = Askers(project)
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=120)
    for ask in REQUESTS:
        if only.lower() not in ask.name.lower():
            continue
        address = ask.address({**subjects, **find_cursors(subjects)})
        _, queries = askers.count_queries(ask.by, address)
        took_ms, status, size = _time(
            connection, address, askers.headers(ask.by), times=times, pause_s=ask.pause_s
        )
        yield Figure(
            name=ask.name,
            path=address,
            by=ask.by,
            status=status,
            bytes=size,
            median_ms=round(statistics.median(took_ms), 1),
            p95_ms=round(sorted(took_ms)[int(len(took_ms) * 0.95)], 1),
            queries=queries,
            queries_at_most=ask.queries,
        )


def _time(
    connection: http.client.HTTPConnection,
    address: str,
    headers: dict[str, str],
    *,
    times: int,
    pause_s: float,
) -> tuple[list[float], int, int]:
    """Return the milliseconds of each time, and the status and size of the last answer."""
    took_ms, status, size = [], 0, 0
    for _ in range(WARM_UPS + times):
        time.sleep(pause_s)
        started = time.perf_counter()
        connection.request("GET", address, headers=headers)
        response = connection.getresponse()
        size = len(response.read())
        took_ms.append((time.perf_counter() - started) * 1000)
        status = response.status
        if status not in GOOD:
            break
    return took_ms[WARM_UPS:] or took_ms, status, size


@contextmanager
def _beating(url: str) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=_beat, args=(url, stop.wait), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _beat(url: str, wait: Callable[[float], bool]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        while not wait(BEAT_EVERY_S):
            samples.beat(connection)


def show(figures: Sequence[Figure]) -> bool:
    """Print the figures, the slowest first; return whether all are as they should be."""
    table = Table("request", "by", "status", "KB", "median ms", "p95 ms", "queries", "")
    for one in sorted(figures, key=lambda figure: -figure.p95_ms):
        table.add_row(
            one.name,
            one.by,
            str(one.status),
            f"{one.bytes / 1000:.1f}",
            f"{one.median_ms:.1f}",
            f"{one.p95_ms:.1f}",
            f"{one.queries} of {one.queries_at_most}",
            "" if one.held else "MISSED",
        )
    missed = sum(not figure.held for figure in figures)
    console = Console(width=120)
    console.print(table)
    console.print(f"{len(figures)} requests, {missed} missed; the limit is {LIMIT_MS:g} ms.")
    return not missed


if __name__ == "__main__":
    main()
