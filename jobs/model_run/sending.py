"""Sending a run's lines, one at a time from each place of the window."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field

from django.conf import settings

from jobs.answers import Answer, failure, read_answer
from jobs.engines.client import ConnectionLost, EngineClient, NotSendable, Reply
from jobs.model_run.backlog import Backlog, Work
from jobs.model_run.faults import Faults, Verdict
from jobs.model_run.pace import Pace

BACKOFF_MIN_S = 0.5
BACKOFF_MAX_S = 30.0


@dataclass(slots=True)
class Sender:
    """Takes lines from the backlog and brings back their final answers."""

    backlog: Backlog
    client: EngineClient
    faults: Faults
    pace: Pace
    # Takes up no more lines; is being ended.
    closed: bool = False
    leaving: bool = False
    # Django's settings are looked up anew at each access, which shows on this path.
    _timeout_s: float = field(default_factory=lambda: settings.REQUEST_TIMEOUT_S)

    async def run(self, place: int) -> None:
        """Send without end; `place` counts the senders of the window from 0."""
        task = asyncio.current_task()
        assert task is not None
        backlog, faults, pace = self.backlog, self.faults, self.pace
        while True:
            if place >= pace.places:
                await pace.turn(place)
            if not backlog.room.is_set():
                await backlog.room.wait()
            work = await backlog.queue.get()
            if faults.is_looking:
                # What goes into an engine that may be dead would become a suspect.
                await faults.looked()
            if work.dropped or faults.gone or self.closed:
                continue
            if backlog.queue.qsize() < backlog.ahead:
                backlog.changed.set()
            work.task = task
            backlog.in_flight.add(work)
            try:
                answer = await self._work(work, place, task)
            finally:
                work.task = None
                work.deadline = float("inf")
                backlog.in_flight.discard(work)
            if answer is not None and not work.dropped:
                backlog.finish(work, answer)

    async def _work(self, work: Work, place: int, task: asyncio.Task[None]) -> Answer | None:
        try:
            return await self._answer(work, place)
        except asyncio.CancelledError:
            if not self._was_aborted(work, task):
                raise
        if work.dropped:
            return None
        work.late = False
        work.deadline = float("inf")
        try:
            return await self._late(work)
        except asyncio.CancelledError:
            if not self._was_aborted(work, task):
                raise
            return None

    def _was_aborted(self, work: Work, task: asyncio.Task[None]) -> bool:
        """True if it is the request that was broken off, and not its sender."""
        if self.leaving or not work.is_aborted:
            return False
        task.uncancel()
        return True

    async def _answer(self, work: Work, place: int) -> Answer | None:
        """Return the request's final answer, or None if it is not to be answered here."""
        while True:
            error, reply = "", None
            work.attempts += 1
            work.sent_at = time.monotonic()
            work.deadline = work.sent_at + self._timeout_s
            try:
                reply = await self.client.post(work.held.chunk.endpoint, work.line.body)
            except ConnectionLost as lost:
                error = str(lost)
            except NotSendable as reason:
                return failure("request_not_sendable", str(reason))
            work.deadline = float("inf")
            if reply is not None and reply.status not in self.faults.doubtful:
                self.faults.answered_at = time.monotonic()
                self.pace.answered()
                return read_answer(reply.status, reply.body)
            verdict = await self.faults.judge(work, reply)
            if verdict is Verdict.LOST:
                self._lose(work)
                return None
            if verdict is Verdict.FINAL:
                if reply is None:
                    return failure("connection_error", f"The connection was lost: {error}")
                return read_answer(reply.status, reply.body)
            await asyncio.sleep(_backoff_s(work.attempts, reply))
            if place >= self.pace.places:
                # Its turn may not come again; others have theirs.
                self.backlog.queue.put_nowait(work)
                return None

    async def _late(self, work: Work) -> Answer | None:
        if await self.faults.judge_late(work) is Verdict.LOST:
            self._lose(work)
            return None
        return failure("request_timeout", f"No answer within {self._timeout_s:g} seconds.")

    def _lose(self, work: Work) -> None:
        self.backlog.lost.append(work)
        self.backlog.changed.set()


def _backoff_s(attempt: int, reply: Reply | None) -> float:
    """Return how long to wait before the next try, in seconds; the server's word counts first."""
    if reply is not None and reply.retry_after_s is not None:
        return min(reply.retry_after_s, 10 * BACKOFF_MAX_S)
    wait_s = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2.0 ** min(attempt - 1, 10))
    return wait_s * random.uniform(0.75, 1.25)
