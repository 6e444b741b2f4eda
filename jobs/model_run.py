"""Working for one model on one endpoint: a full window of requests, committed in groups."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from django.conf import settings

from jobs.answers import failure, read_answer
from jobs.engines.client import ConnectionLost, EngineClient, NotSendable, Reply
from jobs.services.chunks import (
    CHUNK_LINES,
    ClaimedChunk,
    OpenLine,
    claim_lines,
    release_chunks,
)
from jobs.services.responses import Committed, Finished, commit_responses
from jobs.services.suspects import InFlight, clear_suspects, note_engine_death

log = structlog.get_logger()

GROUP = 512
# A commit at least this often while something is finished, and the lease renewed with it.
COMMIT_EVERY_S = 0.5
LOOK_EVERY_S = 1.0
CHUNKS_AT_ONCE = 16
EMPTY_CLAIM_PAUSE_S = 0.1
# How much work lies ready, in seconds at the present pace: enough for the next claim to arrive
# in time, and no more, since what lies here another lane could be doing.
AHEAD_S = 0.5
AHEAD_MIN = 32
AHEAD_WINDOWS = 8
RETRY_STATUS = frozenset({429, 503})
SUSPICIOUS_STATUS = frozenset({500, 502, 504})
DOUBTFUL_STATUS = RETRY_STATUS | SUSPICIOUS_STATUS
BACKOFF_MIN_S = 0.5
BACKOFF_MAX_S = 30.0


class Host(Protocol):
    """What a run needs of the lane that it works for."""

    lane_id: int

    async def db(self, call: Callable[..., Any], /, **kwargs: Any) -> Any:
        """Run a service in the lane's database thread."""

    async def tick(self) -> bool:
        """Say that the lane is at work; False once it has to stop."""

    async def engine_is_gone(self) -> bool:
        """True if the engine of this run is no longer the lane's ready engine."""

    async def engine_died(self) -> bool:
        """True if it ended by itself, and was not stopped on purpose."""

    async def may_go_on(self) -> bool:
        """False once another model's batch is due for the lane."""


@dataclass(slots=True)
class _Held:
    """A chunk that this run holds, and how many of its lines are not answered yet."""

    chunk: ClaimedChunk
    open_lines: int


@dataclass(slots=True, eq=False)
class _Work:
    """One request on its way; `task` is set while it is in the engine, until `deadline`."""

    line: OpenLine
    held: _Held
    task: asyncio.Task[None] | None = None
    deadline: float = 0.0
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


@dataclass(slots=True)
class ModelRun:
    """One model's work on one endpoint until nothing is due or the lane has to stop.

    Memory is bounded by the window: lines are read as they are needed, and none is taken up
    while a large group waits for the database.
    """

    host: Host
    client: EngineClient
    model_id: int
    window: int
    owns_engine: bool
    answered: int = 0
    _queue: asyncio.Queue[_Work] = field(default_factory=asyncio.Queue)
    _in_flight: set[_Work] = field(default_factory=set)
    _lost: list[_Work] = field(default_factory=list)
    _finished: list[Finished] = field(default_factory=list)
    _held: dict[int, _Held] = field(default_factory=dict)
    _suspects: dict[str, list[_Work]] = field(default_factory=dict)
    _cleared: list[int] = field(default_factory=list)
    _dropped_chunks: list[ClaimedChunk] = field(default_factory=list)
    _aside: list[_Work] = field(default_factory=list)
    _interrupted: list[_Work] = field(default_factory=list)
    _stopping: bool = False
    _leaving: bool = False
    _engine_died: bool = False
    _committed_at: float = field(default_factory=time.monotonic)
    _looked_at: float = field(default_factory=time.monotonic)
    _ahead: int = AHEAD_MIN
    _fault: BaseException | None = None
    # Django's settings are looked up anew at each access, which shows on this path.
    _timeout_s: float = field(default_factory=lambda: settings.REQUEST_TIMEOUT_S)
    _tries: int = field(default_factory=lambda: settings.REQUEST_TRIES)
    _room: asyncio.Event = field(default_factory=asyncio.Event)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _death_watch: asyncio.Task[bool] | None = None

    async def run(self) -> None:
        """Work until done; always hands in what is finished and gives back the rest."""
        self._room.set()
        senders = [asyncio.create_task(self._send_loop()) for _ in range(self.window)]
        committer = asyncio.create_task(self._commit_loop())
        for task in [*senders, committer]:
            task.add_done_callback(self._note_fault)
        try:
            await self._feed_until_done()
        finally:
            self._leaving = True
            self._interrupted = list(self._in_flight)
            for task in senders:
                task.cancel()
            # The committer is not cancelled: its group is on the way to the database.
            await asyncio.gather(*senders, committer, return_exceptions=True)
            await self._leave()

    def stop(self) -> None:
        """Take up no more lines; those in flight may still finish."""
        self._stopping = True

    # --- Taking up lines ---------------------------------------------------------------------

    def _note_fault(self, task: asyncio.Task[None]) -> None:
        """Keep a fault of ours, to be raised where the run waits: the lane starts anew."""
        if not task.cancelled() and task.exception() is not None:
            self._fault = self._fault or task.exception()
            self._changed.set()

    async def _feed_until_done(self) -> None:
        stop_at: float | None = None
        while not self._engine_died:
            if self._fault is not None:
                raise self._fault
            if self._stopping and stop_at is None:
                stop_at = time.monotonic() + settings.DRAIN_S * 0.6
                self._give_back_queue()
            if self._suspects and not self._stopping:
                await self._run_suspects()
                continue
            if not self._stopping and self._queue.qsize() < self._ahead:
                if await self._claim():
                    continue
                if not self._queue.qsize() and not self._in_flight and not self._finished:
                    return
                await asyncio.sleep(EMPTY_CLAIM_PAUSE_S)
                continue
            if stop_at is not None and self._may_leave(stop_at):
                return
            await self._pause(EMPTY_CLAIM_PAUSE_S)

    def _may_leave(self, stop_at: float) -> bool:
        return not self._in_flight or time.monotonic() > stop_at

    async def _claim(self) -> int:
        missing = self._ahead - self._queue.qsize()
        claimed: list[tuple[ClaimedChunk, list[OpenLine]]] = await self.host.db(
            claim_lines,
            lane_id=self.host.lane_id,
            model_id=self.model_id,
            limit=max(1, min(CHUNKS_AT_ONCE, missing // CHUNK_LINES)),
        )
        # The database may have been away for so long that our own chunk was due again: the
        # copies under the old claim go, or each line would be worked on twice.
        self._drop([self._held[chunk.id] for chunk, _ in claimed if chunk.id in self._held])
        for chunk, lines in claimed:
            held = self._held[chunk.id] = _Held(chunk, len(lines))
            for line in lines:
                work = _Work(line, held)
                if line.group_key and self.owns_engine:
                    self._suspects.setdefault(line.group_key, []).append(work)
                else:
                    self._queue.put_nowait(work)
        return len(claimed)

    async def _run_suspects(self) -> None:
        """Run each group of suspects alone in the engine, so that a death tells about it."""
        self._aside = self._empty_queue()
        await self._settle_in_flight()
        while self._suspects and not self._engine_died and not self._stopping:
            _, group = self._suspects.popitem()
            for work in group:
                self._queue.put_nowait(work)
            await self._settle_in_flight()
            # Only what was answered: of the others, one may just have killed the engine.
            self._cleared += [w.line.request_id for w in group if w.answered]
        aside, self._aside = self._aside, []
        for work in aside:
            self._queue.put_nowait(work)

    async def _settle_in_flight(self) -> None:
        while (self._in_flight or self._queue.qsize()) and not self._engine_died:
            if self._fault is not None:
                raise self._fault
            if self._stopping:
                return
            await self._pause(0.02)

    def _empty_queue(self) -> list[_Work]:
        works = []
        while not self._queue.empty():
            works.append(self._queue.get_nowait())
        return works

    def _give_back_queue(self) -> None:
        for work in self._empty_queue():
            work.dropped = True

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until something finishes."""
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    # --- Sending -----------------------------------------------------------------------------

    async def _send_loop(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        while True:
            if not self._room.is_set():
                await self._room.wait()
            work = await self._queue.get()
            if self._death_watch is not None and not self._death_watch.done():
                # Nothing more goes into an engine that may be dead: it would become a suspect.
                await asyncio.shield(self._death_watch)
            if work.dropped or self._engine_died:
                continue
            if self._queue.qsize() < self._ahead:
                self._changed.set()
            work.task = task
            work.deadline = time.monotonic() + self._timeout_s
            self._in_flight.add(work)
            try:
                finished = await self._send(work)
            except asyncio.CancelledError:
                if self._leaving or not work.is_aborted:
                    raise
                task.uncancel()
                finished = self._timed_out(work)
            finally:
                work.task = None
                self._in_flight.discard(work)
            if finished is None:
                continue
            self._finished.append(finished)
            work.answered = True
            work.held.open_lines -= 1
            if len(self._finished) >= 4 * GROUP:
                self._room.clear()

    async def _send(self, work: _Work) -> Finished | None:
        """Return the request's final answer, or None if it is not to be answered here."""
        attempt = 0
        while True:
            attempt += 1
            error, reply = "", None
            started = time.monotonic()
            try:
                reply = await self.client.post(work.held.chunk.endpoint, work.line.body)
            except ConnectionLost as lost:
                error = str(lost)
            except NotSendable as reason:
                return self._finish(work, failure("request_not_sendable", str(reason)), started)
            if reply is not None and reply.status not in DOUBTFUL_STATUS:
                break
            if reply is None or reply.status in SUSPICIOUS_STATUS:
                # vLLM answers 500 to every request when the core behind its server has died.
                await self._watch_death()
            if self._engine_died:
                self._lost.append(work)
                return None
            if reply is not None and reply.status not in RETRY_STATUS:
                break
            if attempt >= self._tries:
                break
            await asyncio.sleep(_backoff_s(attempt, reply))
        if work.dropped:
            return None
        if reply is None:
            answer = failure("connection_error", f"The connection was lost: {error}")
        else:
            answer = read_answer(reply.status, reply.body)
        return self._finish(work, answer, started)

    def _timed_out(self, work: _Work) -> Finished | None:
        if work.dropped:
            return None
        answer = failure("request_timeout", f"No answer within {self._timeout_s:g} seconds.")
        return self._finish(work, answer, work.deadline - self._timeout_s)

    async def _watch_death(self) -> None:
        """Find out once for all requests that were hit whether the engine is gone."""
        if not self.owns_engine:
            return
        if self._death_watch is None or self._death_watch.done():
            self._death_watch = asyncio.create_task(self._look_for_death())
        # Shielded: a request that times out must not end the others' watch.
        await asyncio.shield(self._death_watch)

    async def _look_for_death(self) -> bool:
        # Without end: an engine that neither answers nor is declared dead is for the supervisor
        # to end, and no line may be failed for it meanwhile.
        while not await self.host.engine_is_gone():
            if await self.client.is_healthy():
                return False
            await asyncio.sleep(0.1)
        self._engine_died = True
        self._changed.set()
        return True

    def _finish(self, work: _Work, answer: Any, started: float) -> Finished:
        return Finished(
            chunk=work.held.chunk,
            request_id=work.line.request_id,
            position=work.line.position,
            custom_id=work.line.custom_id,
            answer=answer,
            latency_ms=int((time.monotonic() - started) * 1000),
        )

    # --- Committing --------------------------------------------------------------------------

    async def _commit_loop(self) -> None:
        while not self._leaving:
            now = time.monotonic()
            since = now - self._committed_at
            idle = not self._in_flight and not self._queue.qsize()
            due = self._finished and (
                len(self._finished) >= GROUP or since >= COMMIT_EVERY_S or idle
            )
            if due or since >= LOOK_EVERY_S:
                await self._commit()
            if now - self._looked_at >= LOOK_EVERY_S:
                self._looked_at = now
                await self._look()
            await asyncio.sleep(0.02)

    async def _look(self) -> None:
        """See once a second what may have changed: the lane, the engine, requests too late."""
        if not await self.host.tick() or not await self.host.may_go_on():
            self.stop()
        if self.owns_engine and await self.host.engine_is_gone():
            # Its sockets may stay open although nobody will ever answer.
            self._engine_died = True
        self._changed.set()
        now = time.monotonic()
        for work in list(self._in_flight):
            if now > work.deadline:
                work.late = True
                work.abort()

    async def _commit(self) -> None:
        """Commit what is finished, renew the leases, and drop what is no longer ours."""
        group, self._finished = self._finished, []
        held = [h.chunk for h in self._held.values()]
        done = [h.chunk for h in self._held.values() if h.open_lines == 0]
        cleared, self._cleared = self._cleared, []
        now = time.monotonic()
        pace = len(group) / max(0.02, now - self._committed_at)
        self._ahead = max(AHEAD_MIN, min(AHEAD_WINDOWS * self.window, int(pace * AHEAD_S)))
        self._committed_at = now
        if cleared:
            await self.host.db(clear_suspects, request_ids=cleared)
        if held:
            result: Committed = await self.host.db(
                commit_responses, lane_id=self.host.lane_id, finished=group, held=held, done=done
            )
            self.answered += len(group)
            self._drop(
                h
                for h in list(self._held.values())
                if h.chunk in held
                and (
                    (h.chunk.id, h.chunk.attempt) not in result.held
                    or h.chunk.batch_id not in result.going_on
                )
            )
            for chunk in done:
                if chunk.id in self._held and self._held[chunk.id].chunk is chunk:
                    del self._held[chunk.id]
        self._room.set()
        self._changed.set()

    def _drop(self, gone: Iterable[_Held]) -> None:
        """Abort the lines of chunks that were taken over, or whose batch has stopped."""
        ids = {held.chunk.id for held in gone}
        if not ids:
            return
        for work in self._empty_queue():
            if work.held.chunk.id in ids:
                work.dropped = True
            else:
                self._queue.put_nowait(work)
        self._aside = [w for w in self._aside if w.held.chunk.id not in ids]
        for key, group in list(self._suspects.items()):
            self._suspects[key] = [w for w in group if w.held.chunk.id not in ids]
        for work in self._in_flight:
            if work.held.chunk.id in ids:
                work.dropped = True
                work.abort()
        for chunk_id in ids:
            self._dropped_chunks.append(self._held.pop(chunk_id).chunk)

    # --- Leaving -----------------------------------------------------------------------------

    async def _leave(self) -> None:
        """Hand in what is finished, mark suspects if the engine died, give the chunks back."""
        if self._engine_died and await self.host.engine_died():
            await self._note_death()
        await self._commit()
        chunks = [h.chunk for h in self._held.values()] + self._dropped_chunks
        if chunks:
            await self.host.db(release_chunks, chunks=chunks)
        self._held.clear()

    async def _note_death(self) -> None:
        lost = [w for w in {*self._lost, *self._interrupted} if not w.dropped]
        lost.sort(key=lambda w: (w.held.chunk.batch_id, w.line.position))
        log.warning("engine_died", lane=self.host.lane_id, in_flight=len(lost))
        if not lost:
            return
        lines = [InFlight(w.line.request_id, w.held.chunk.batch_id) for w in lost]
        condemned: list[int] = await self.host.db(note_engine_death, lines=lines)
        for work in lost:
            if work.line.request_id in condemned:
                answer = failure(
                    "engine_crashed", "The engine died each time that it ran this request alone."
                )
                self._finished.append(self._finish(work, answer, time.monotonic()))
                work.held.open_lines -= 1
                self._cleared.append(work.line.request_id)


def _backoff_s(attempt: int, reply: Reply | None) -> float:
    """Return how long to wait before the next try, in seconds; the server's word counts first."""
    if reply is not None and reply.retry_after_s is not None:
        return min(reply.retry_after_s, 10 * BACKOFF_MAX_S)
    wait_s = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2.0 ** (attempt - 1))
    return wait_s * random.uniform(0.75, 1.25)
