"""A run: one model's work on one endpoint until nothing is due or the lane has to stop."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import structlog
from django.conf import settings

from jobs.answers import failure
from jobs.engines.client import EngineClient
from jobs.model_run.backlog import Backlog, Work
from jobs.model_run.committing import Committer
from jobs.model_run.faults import EngineFaults, Faults, UpstreamFaults
from jobs.model_run.host import Host
from jobs.model_run.pace import Pace
from jobs.model_run.sending import Sender
from jobs.services.chunks import CHUNK_LINES, ClaimedChunk, OpenLine, release_chunks
from jobs.services.reusing import claim_lines
from jobs.services.suspects import InFlight, note_engine_death

log = structlog.get_logger()

LOOK_EVERY_S = 1.0
CHUNKS_AT_ONCE = 16
# Between two claims that found nothing; the pause grows, since each costs the engine's processors.
EMPTY_CLAIM_PAUSE_S = 0.1
EMPTY_CLAIM_PAUSE_MAX_S = 0.5


class UpstreamAway(Exception):
    """The upstream answers nobody; its lines were given back, and wait for the next run."""


@dataclass(slots=True)
class ModelRun:
    """Feeds a window of senders with claimed lines, and has their answers committed.

    Memory is bounded by the window: lines are read as they are needed, and none is taken up
    while a large group waits for the database. With `pace` the endpoint is an upstream, whose
    window is the most that it gets at once. With `engine`, as `engine_digest` gives it, equal
    lines are computed once.
    """

    host: Host
    client: EngineClient
    model_id: int
    model_name: str
    window: int
    pace: Pace | None = None
    engine: bytes = b""
    _backlog: Backlog = field(init=False, default_factory=Backlog)
    _faults: Faults = field(init=False)
    _sender: Sender = field(init=False)
    _committer: Committer = field(init=False)
    _stopping: bool = field(init=False, default=False)
    _fault: BaseException | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.pace is None:
            self._faults = EngineFaults(client=self.client, host=self.host)
        else:
            self._faults = UpstreamFaults(client=self.client, model=self.model_name, pace=self.pace)
        pace = self.pace or Pace(most=self.window)
        self._sender = Sender(self._backlog, self.client, self._faults, pace)
        self._committer = Committer(self._backlog, self.host, self.window)

    @property
    def answered(self) -> int:
        """How many lines have got their final answer, committed or refused as not ours."""
        return self._committer.answered

    async def run(self) -> None:
        """Work until done; always hands in what is finished and gives back the rest.

        Raises UpstreamAway if an upstream answers nobody.
        """
        senders = [asyncio.create_task(self._sender.run(place)) for place in range(self.window)]
        committer = asyncio.create_task(self._committer.run())
        looker = asyncio.create_task(self._look_loop())
        for task in [*senders, committer, looker]:
            task.add_done_callback(self._note_fault)
        try:
            await self._feed_until_done()
        finally:
            self._sender.leaving = self._committer.leaving = True
            self._backlog.group.set()
            interrupted = list(self._backlog.in_flight)
            for task in [*senders, looker]:
                task.cancel()
            # The committer is not cancelled: its group is on the way to the database.
            await asyncio.gather(*senders, looker, committer, return_exceptions=True)
            await self._faults.close()
            await self._leave(interrupted)
        if isinstance(self._faults, UpstreamFaults) and self._faults.gone:
            raise UpstreamAway(self._faults.reason)

    def stop(self) -> None:
        """Take up no more lines; those in flight may still finish."""
        self._stopping = self._sender.closed = True

    # --- Taking up lines ---------------------------------------------------------------------

    def _note_fault(self, task: asyncio.Task[None]) -> None:
        """Keep a fault of ours, to be raised where the run waits: the lane starts anew."""
        if not task.cancelled() and task.exception() is not None:
            self._fault = self._fault or task.exception()
            self._backlog.changed.set()

    async def _feed_until_done(self) -> None:
        backlog = self._backlog
        stop_at: float | None = None
        pause_s = EMPTY_CLAIM_PAUSE_S
        while not self._faults.gone:
            if self._fault is not None:
                raise self._fault
            if self._stopping and stop_at is None:
                stop_at = time.monotonic() + settings.DRAIN_S * 0.6
                backlog.empty_queue()
            if backlog.suspects and not self._stopping:
                await self._run_suspects()
                continue
            if not self._stopping and not backlog.is_full:
                if await self._claim():
                    pause_s = EMPTY_CLAIM_PAUSE_S
                    continue
                if backlog.is_idle and not backlog.finished:
                    return
                await asyncio.sleep(pause_s)
                pause_s = min(EMPTY_CLAIM_PAUSE_MAX_S, pause_s * 1.5)
                continue
            if stop_at is not None and (not backlog.in_flight or time.monotonic() > stop_at):
                return
            await backlog.pause(EMPTY_CLAIM_PAUSE_S)

    async def _claim(self) -> int:
        missing = self._backlog.ahead - self._backlog.queue.qsize()
        claimed: list[tuple[ClaimedChunk, list[OpenLine]]] = await self.host.db(
            claim_lines,
            lane_id=self.host.lane_id,
            model_id=self.model_id,
            limit=max(1, min(CHUNKS_AT_ONCE, missing // CHUNK_LINES)),
            engine=self.engine,
        )
        self._backlog.take(claimed, suspects_apart=self.pace is None)
        return len(claimed)

    async def _run_suspects(self) -> None:
        """Run each group of suspects alone in the engine, so that a death tells about it."""
        backlog = self._backlog
        backlog.aside = backlog.empty_queue()
        await self._settle_in_flight()
        while backlog.suspects and not self._faults.gone and not self._stopping:
            _, group = backlog.suspects.popitem()
            for work in group:
                backlog.queue.put_nowait(work)
            await self._settle_in_flight()
            # Only what was answered: of the others, one may just have killed the engine.
            backlog.cleared += [w.line.request_id for w in group if w.answered]
        aside, backlog.aside = backlog.aside, []
        for work in aside:
            backlog.queue.put_nowait(work)

    async def _settle_in_flight(self) -> None:
        while not self._backlog.is_idle and not self._faults.gone:
            if self._fault is not None:
                raise self._fault
            if self._stopping:
                return
            await self._backlog.pause(0.02)

    # --- Looking around ----------------------------------------------------------------------

    async def _look_loop(self) -> None:
        """See once a second what may have changed: the lane, the engine, requests too late."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if not await self.host.tick() or not await self.host.may_go_on():
                self.stop()
            if isinstance(self._faults, EngineFaults):
                if await self.host.engine_is_gone():
                    # Its sockets may stay open although nobody will ever answer.
                    self._faults.gone = True
                elif self._backlog.in_flight:
                    await self._faults.check_stall()
            self._backlog.changed.set()
            now = time.monotonic()
            for work in list(self._backlog.in_flight):
                if now > work.deadline:
                    work.late = True
                    work.abort()

    # --- Leaving -----------------------------------------------------------------------------

    async def _leave(self, interrupted: list[Work]) -> None:
        """Hand in what is finished, mark suspects if the engine died, give the chunks back."""
        backlog, faults = self._backlog, self._faults
        if isinstance(faults, EngineFaults) and faults.gone:
            if faults.stalled:
                log.warning("engine_stalled", lane=self.host.lane_id)
                await self.host.reject_engine()
            if faults.stalled or await self.host.engine_died():
                await self._note_death(interrupted)
        await self._committer.commit()
        chunks = [h.chunk for h in backlog.held.values()] + backlog.dropped_chunks
        if chunks:
            await self.host.db(release_chunks, chunks=chunks)
        backlog.held.clear()

    async def _note_death(self, interrupted: list[Work]) -> None:
        backlog = self._backlog
        lost = [w for w in {*backlog.lost, *interrupted} if not w.dropped]
        # What killed it would kill it again in the shape of an equal line.
        lost += backlog.twins.followers_of(lost)
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
                backlog.finish(work, answer)
                backlog.cleared.append(work.line.request_id)
