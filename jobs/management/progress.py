"""Following a batch from a terminal, or from a log where there is none."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable

from openai import APIConnectionError, InternalServerError, OpenAI
from openai.types import Batch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Look = Callable[[Batch | None], None]

ENDED = ("completed", "failed", "expired", "cancelled")
POLL_S = 1.0
# Where there is no terminal, a line is printed this often, and when something happens.
PLAIN_EVERY_S = 15.0


def follow(
    client: OpenAI,
    batch_id: str,
    *,
    console: Console | None = None,
    look: Look = lambda batch: None,
) -> Batch:
    """Poll a batch until it has ended, and show on stderr (or `console`) how far it is.

    A server that is away for a while is waited for: the batch is safe there. `look` is called
    with each answer, None while the server is away; what it raises ends the following.
    """
    console = console or Console(stderr=True)
    if console.is_terminal:
        return _follow_live(client, batch_id, console, look)
    return _follow_plainly(client, batch_id, look)


def describe(batch: Batch) -> str:
    """Return in a few words what the batch is doing."""
    counts = batch.request_counts
    failed = f", {counts.failed} failed" if counts and counts.failed else ""
    reason = getattr(batch, "waiting_for", None)
    return f"{batch.status}{failed}" + (f", waits for {reason}" if reason else "")


def _poll(client: OpenAI, batch_id: str) -> Batch | str:
    """Return the batch, or why it cannot be asked for just now."""
    try:
        return client.batches.retrieve(batch_id)
    except (APIConnectionError, InternalServerError) as error:
        return f"the server does not answer ({type(error).__name__}); trying again"


def _follow_live(client: OpenAI, batch_id: str, console: Console, look: Look) -> Batch:
    columns = (
        SpinnerColumn(),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console) as progress:
        task: TaskID | None = None
        while True:
            found = _poll(client, batch_id)
            look(None if isinstance(found, str) else found)
            if task is None:
                task = progress.add_task("", total=None)
            if isinstance(found, str):
                progress.update(task, description=found)
            else:
                counts = found.request_counts
                progress.update(
                    task,
                    description=describe(found),
                    total=counts.total or None if counts else None,
                    completed=counts.completed + counts.failed if counts else 0,
                )
                if found.status in ENDED:
                    return found
            time.sleep(POLL_S)


def _follow_plainly(client: OpenAI, batch_id: str, look: Look) -> Batch:
    said, said_at = "", 0.0
    started_at = time.monotonic()
    first: tuple[float, int] | None = None
    while True:
        found = _poll(client, batch_id)
        look(None if isinstance(found, str) else found)
        now = time.monotonic()
        words = found if isinstance(found, str) else describe(found)
        ended = not isinstance(found, str) and found.status in ENDED
        # Seconds and percentages in the words change all the time, and are no news.
        news = re.sub(r"[0-9]+", "", words)
        if news != said or ended or now - said_at >= PLAIN_EVERY_S:
            progress = ""
            if not isinstance(found, str) and found.request_counts and found.request_counts.total:
                counts = found.request_counts
                done = counts.completed + counts.failed
                first = first or (now, done)
                progress = f" {done}/{counts.total}{_left(first, now, done, counts.total)}"
            print(f"{now - started_at:7.0f} s {words}{progress}", file=sys.stderr, flush=True)
            said, said_at = news, now
        if not isinstance(found, str) and ended:
            return found
        time.sleep(POLL_S)


def _left(first: tuple[float, int], now: float, done: int, total: int) -> str:
    """Return about how long the rest will take, by the pace since the first look."""
    since_s, at_first = now - first[0], first[1]
    if done <= at_first or done >= total or since_s <= 0:
        return ""
    return f", about {(total - done) * since_s / (done - at_first):,.0f} s left"
