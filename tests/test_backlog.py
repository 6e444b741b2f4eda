"""What wakes the committer: the first answer, a whole group, and the last one."""

from __future__ import annotations

import asyncio
import itertools

from jobs.answers import Answer
from jobs.model_run.backlog import GROUP, Backlog
from jobs.services.chunks import ClaimedChunk, OpenLine

GOOD = Answer(ok=True, status_code=200, body=b"{}", finish_reason="stop")
CHUNK = ClaimedChunk(1, 1, 1, "batch_1", 1, "/v1/x", 0, GROUP + 9, None)


def test_the_committer_is_woken_by_the_first_by_a_group_and_by_the_last() -> None:
    backlog = Backlog()
    lines = [OpenLine(n, n, f"r{n}", b"{}", None, None) for n in range(GROUP + 2)]
    backlog.take([(CHUNK, lines)], suspects_apart=True)
    works = backlog.empty_queue()
    backlog.in_flight.update(works)
    woken_at = []
    for count, work in zip(itertools.count(1), works, strict=False):
        backlog.group.clear()
        backlog.in_flight.discard(work)
        backlog.finish(work, GOOD)
        if backlog.group.is_set():
            woken_at.append(count)
    assert woken_at == [1, GROUP, GROUP + 2]


def test_nothing_that_was_before_wakes_it_twice() -> None:
    async def waits() -> bool:
        backlog = Backlog()
        backlog.group.set()
        await backlog.wait_for_group(0.01)
        return backlog.group.is_set()

    assert asyncio.run(waits()) is False
