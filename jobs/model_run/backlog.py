"""The lines that a run holds: ready, in flight, suspected, finished and not yet committed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from jobs.answers import Answer
from jobs.model_run.twins import WAITING_MAX, TwinLines
from jobs.services.chunks import ClaimedChunk, OpenLine
from jobs.services.responses import Finished

GROUP = 512
# How many lines lie ready at the least.
AHEAD_MIN = 32


@dataclass(slots=True)
class Held:
    """A chunk that the run holds, and how many of its lines are not answered yet."""

    chunk: ClaimedChunk
    open_lines: int


@dataclass(slots=True, eq=False)
class Work:
    """One request on its way; `task` is its sender, and `deadline` holds while it is sent.

    `tries` are those that count against it, `attempts` all of them; `sent_at` is the last one's
    time on the monotonic clock.
    """

    line: OpenLine
    held: Held
    task: asyncio.Task[None] | None = None
    sent_at: float = 0.0
    deadline: float = float("inf")
    attempts: int = 0
    tries: int = 0
    dropped: bool = False
    late: bool = False
    answered: bool = False

    @property
    def is_aborted(self) -> bool:
        return self.dropped or self.late

    def abort(self) -> None:
        """Break off the request; its sender goes on with the next one."""
        if self.task is not None:
            self.task.cancel()

    def finish(self, answer: Answer, *, reused: bool = False) -> Finished:
        """Return the request's final answer, as it is committed."""
        latency_ms = None
        if not reused:
            latency_ms = int((time.monotonic() - self.sent_at) * 1000) if self.sent_at else 0
        return Finished(
            chunk=self.held.chunk,
            request_id=self.line.request_id,
            position=self.line.position,
            custom_id=self.line.custom_id,
            answer=answer,
            latency_ms=latency_ms,
            reused=reused,
            key=self.line.key,
        )


@dataclass(slots=True)
class Backlog:
    """What feeding, sending and committing share, all in one thread.

    `changed` wakes whoever waits for something to happen, `group` the committer, `room` keeps
    senders from taking up lines while a large group waits for the database.
    """

    queue: asyncio.Queue[Work] = field(default_factory=asyncio.Queue)
    in_flight: set[Work] = field(default_factory=set)
    lost: list[Work] = field(default_factory=list)
    finished: list[Finished] = field(default_factory=list)
    held: dict[int, Held] = field(default_factory=dict)
    # Lines by the group in which they run, each alone in the engine.
    suspects: dict[str, list[Work]] = field(default_factory=dict)
    # Lines that wait until the suspects are through, and suspects that are.
    aside: list[Work] = field(default_factory=list)
    cleared: list[int] = field(default_factory=list)
    dropped_chunks: list[ClaimedChunk] = field(default_factory=list)
    twins: TwinLines = field(init=False)
    ahead: int = AHEAD_MIN
    room: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    group: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.room.set()
        self.twins = TwinLines(send=self.queue.put_nowait, finish=self._finish_as_twin)

    @property
    def is_idle(self) -> bool:
        return not self.in_flight and not self.queue.qsize()

    def take(
        self, claimed: list[tuple[ClaimedChunk, list[OpenLine]]], *, suspects_apart: bool
    ) -> None:
        """Add the lines of chunks that were claimed."""
        # The database may have been away for so long that our own chunk was due again: the
        # copies under the old claim go, or each line would be worked on twice.
        self.drop([self.held[chunk.id] for chunk, _ in claimed if chunk.id in self.held])
        for chunk, lines in claimed:
            held = self.held[chunk.id] = Held(chunk, len(lines))
            for line in lines:
                work = Work(line, held)
                if line.group_key and suspects_apart:
                    self.suspects.setdefault(line.group_key, []).append(work)
                else:
                    self.twins.take(work)

    def empty_queue(self) -> list[Work]:
        works = []
        while not self.queue.empty():
            works.append(self.queue.get_nowait())
        return works

    @property
    def is_full(self) -> bool:
        """Whether no more is to be claimed: what waits for equal lines is not in the queue."""
        return self.queue.qsize() >= self.ahead or self.twins.waiting >= WAITING_MAX

    def finish(self, work: Work, answer: Answer) -> None:
        """Keep a request's final answer for the next commit, and those of equal ones with it."""
        self._keep(work, work.finish(answer))
        if work.line.key is not None:
            self.twins.answered(work, answer)

    def _finish_as_twin(self, work: Work, answer: Answer) -> None:
        self._keep(work, work.finish(answer, reused=True))

    def _keep(self, work: Work, finished: Finished) -> None:
        self.finished.append(finished)
        work.answered = True
        work.held.open_lines -= 1
        if len(self.finished) in (1, GROUP) or self.is_idle:
            self.group.set()
        if len(self.finished) >= 4 * GROUP:
            self.room.clear()

    def drop(self, gone: Iterable[Held]) -> None:
        """Abort the lines of chunks that were taken over, or whose batch has stopped."""
        ids = {held.chunk.id for held in gone}
        if not ids:
            return
        for work in self.empty_queue():
            if work.held.chunk.id in ids:
                work.dropped = True
            else:
                self.queue.put_nowait(work)
        self.aside = [w for w in self.aside if w.held.chunk.id not in ids]
        for key, group in list(self.suspects.items()):
            self.suspects[key] = [w for w in group if w.held.chunk.id not in ids]
        for work in self.in_flight:
            if work.held.chunk.id in ids:
                work.dropped = True
                work.abort()
        self.twins.drop(ids)
        for chunk_id in ids:
            self.dropped_chunks.append(self.held.pop(chunk_id).chunk)

    async def pause(self, seconds: float) -> None:
        """Wait, but no longer than until something happens."""
        await _wait(self.changed, seconds)

    async def wait_for_group(self, seconds: float) -> None:
        """Wait, but no longer than until there is a first answer, a group, or the last one."""
        await _wait(self.group, seconds)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    event.clear()
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
