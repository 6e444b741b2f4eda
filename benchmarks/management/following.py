"""Following a run from a terminal, or from a log where there is none."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.at_work import part_at_work, waits_for
from benchmarks.models import Run, RunState

POLL_S = 1.0
PLAIN_EVERY_S = 15.0


def follow(run: Run) -> Run:
    """Look at a run until it has ended, and show on stderr how far it is."""
    console = Console(stderr=True)
    if console.is_terminal:
        return _follow_live(run, console)
    said_at, said = 0.0, ""
    while run.is_live:
        words = describe(run)
        if words != said or time.monotonic() - said_at >= PLAIN_EVERY_S:
            print(words, file=sys.stderr, flush=True)
            said_at, said = time.monotonic(), words
        time.sleep(POLL_S)
        run.refresh_from_db()
    return run


def describe(run: Run) -> str:
    """Return in a few words what the run is doing."""
    part = part_at_work(run)
    reason = waits_for(run, part)
    if part is None or part.batch is None:
        words = "scores the answers" if run.state == RunState.SCORING else "begins"
        return f"{words}: waits for {reason}" if reason else words
    name = "warms the engine up" if part.repeat == 0 else f"repeat {part.repeat} of {run.repeats}"
    if part.batch.answered == part.batch.total and part.batch.total:
        return f"{name}: answered, the last reading is awaited"
    words = f"{name}: {part.batch.answered:,} of {part.batch.total:,}"
    return f"{words}, waits for {reason}" if reason else words


def _follow_live(run: Run, console: Console) -> Run:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("begins", total=None)
        while run.is_live:
            part = part_at_work(run)
            batch = part.batch if part is not None else None
            progress.update(
                task,
                description=describe(run),
                total=batch.total or None if batch else None,
                completed=batch.answered if batch else 0,
            )
            time.sleep(POLL_S)
            run.refresh_from_db()
    return run
