"""The lane task: which model to work for, with its engine ready, until nothing is due."""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
import uvloop
from django.db import InterfaceError, OperationalError, close_old_connections, connection

from jobs.answer_keys import engine_digest
from jobs.engines.client import Endpoint, EngineClient
from jobs.engines.command import window_size
from jobs.model_run.pace import Pace
from jobs.model_run.run import ModelRun, UpstreamAway
from jobs.models import Lane, LaneModel, ServedModel
from jobs.scheduler import claimable_models, next_model
from jobs.services import lanes
from jobs.states import EngineState, LaneKind

log = structlog.get_logger()

# How long an idle lane looks for more before its task ends; a later batch then calls it again.
LINGER_S = 5.0
LOOK_EVERY_S = 0.1
# For all that is not a connection to the engine.
OPEN_FILES_KEPT = 100
SWITCH_LOOK_EVERY_S = 5.0
# How long the database may be away before the task gives up and is called again later.
DB_PATIENCE_S = 120.0
# How long an upstream that was away is left alone at the most.
UPSTREAM_RETRY_MAX_S = 60.0


class LostLane(Exception):
    """Another task works for this lane now, or the lane has gone."""


def work(lane_id: int) -> None:
    """Work for a lane until nothing is due for it or its worker is to stop."""
    token = lanes.start_task(lane_id=lane_id)
    if token is None:
        return
    # What is garbage now must not be frozen with the rest: it would stay for ever.
    gc.collect()
    gc.freeze()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(LaneTask(lane_id, token).run())
    finally:
        close_old_connections()
        lanes.end_task(lane_id=lane_id, token=token)


class LaneTask:
    """One lane at work; every database call goes through one thread with one connection."""

    def __init__(self, lane_id: int, token: str) -> None:
        self.lane_id = lane_id
        self._token = token
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lane-db")
        self._lane: Lane | None = None
        self._generation = 0
        self._model_id: int | None = None
        self._ticked_at = 0.0
        self._looked_at = 0.0
        self._goes_on = True

    async def run(self) -> None:
        try:
            lane = await self._refresh()
            if lane.kind == LaneKind.UPSTREAM:
                await self._serve_upstreams()
            else:
                await self._serve_engine()
        except LostLane:
            log.warning("lane_lost", lane=self.lane_id)
        finally:
            await self.db(_close_connection)
            self._thread.shutdown()

    # --- What a run asks of its lane -----------------------------------------------------------

    async def db(self, call: Callable[..., Any], /, **kwargs: Any) -> Any:
        """Run a service in the database thread, again while the database is away."""
        loop = asyncio.get_running_loop()
        deadline = time.monotonic() + DB_PATIENCE_S
        while True:
            try:
                return await loop.run_in_executor(self._thread, functools.partial(call, **kwargs))
            except (OperationalError, InterfaceError) as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("database_away", lane=self.lane_id, error=str(error)[:200])
                await asyncio.sleep(0.5)
                await loop.run_in_executor(self._thread, _close_connection)

    async def tick(self) -> bool:
        now = time.monotonic()
        if now - self._ticked_at >= 1.0:
            self._ticked_at = now
            if not await self.db(lanes.keep_task, lane_id=self.lane_id, token=self._token):
                raise LostLane
            lane = await self._refresh()
            self._goes_on = lane.active and not lane.worker.draining
        return self._goes_on

    async def engine_is_gone(self) -> bool:
        lane = await self._refresh()
        return lane.generation != self._generation or lane.engine_state != EngineState.READY

    async def engine_died(self) -> bool:
        lane = await self._refresh()
        return lane.generation == self._generation and lane.engine_state == EngineState.DIED

    async def reject_engine(self) -> None:
        await self.db(lanes.reject_engine, lane_id=self.lane_id, generation=self._generation)

    async def may_go_on(self) -> bool:
        now = time.monotonic()
        if self._model_id is None or now - self._looked_at < SWITCH_LOOK_EVERY_S:
            return True
        self._looked_at = now
        model = await self.db(next_model, lane=await self._refresh())
        return model is None or model.pk == self._model_id

    async def _refresh(self) -> Lane:
        def read() -> Lane | None:
            return Lane.objects.select_related("worker").filter(pk=self.lane_id).first()

        lane: Lane | None = await self.db(read)
        if lane is None:
            raise LostLane
        self._lane = lane
        return lane

    # --- An engine of our own --------------------------------------------------------------------

    async def _serve_engine(self) -> None:
        idle_since = time.monotonic()
        while await self.tick() and time.monotonic() - idle_since < LINGER_S:
            lane = await self._refresh()
            if lane.engine_state == EngineState.DIED:
                await self._take_note_of_death(lane)
                continue
            model: ServedModel | None = await self.db(next_model, lane=lane)
            if model is None:
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            ready = await self._engine_with(model)
            idle_since = time.monotonic()
            if ready is None:
                continue
            self._generation, self._model_id = ready.generation, model.pk
            window = min(window_size(ready.engine_max_num_seqs), open_files_left())
            async with EngineClient(Endpoint(socket=ready.engine_socket)) as client:
                await self._run(model, client, window, engine=engine_of(ready))
            self._model_id = None
            idle_since = time.monotonic()

    async def _engine_with(self, model: ServedModel) -> Lane | None:
        """Return the lane once its engine holds `model`; None if it cannot, or need not, now."""
        lane = await self._refresh()
        if lane.wanted_model_id != model.pk:
            await self.db(lanes.want_model, lane_id=self.lane_id, model_id=model.pk)
        while await self.tick():
            lane = await self._refresh()
            if lane.engine_model_id == model.pk and lane.engine_state == EngineState.READY:
                return lane
            if lane.engine_state == EngineState.DIED:
                await self._take_note_of_death(lane)
            elif lane.wanted_model_id != model.pk:
                return None  # The supervisor withdrew it: the model did not load.
            await asyncio.sleep(LOOK_EVERY_S)
        return None

    async def _take_note_of_death(self, lane: Lane) -> None:
        """Let the supervisor start an engine again; its lines have been marked by the run."""
        await self.db(
            lanes.set_engine,
            lane_id=self.lane_id,
            generation=lane.generation,
            engine_state=EngineState.STOPPED,
            engine_model_id=None,
        )

    # --- Engines of others -----------------------------------------------------------------------

    async def _serve_upstreams(self) -> None:
        runs: dict[int, asyncio.Task[None]] = {}
        try:
            await self._serve_due_upstreams(runs)
        finally:
            for task in runs.values():
                task.cancel()
            await asyncio.gather(*runs.values(), return_exceptions=True)

    async def _serve_due_upstreams(self, runs: dict[int, asyncio.Task[None]]) -> None:
        idle_since = time.monotonic()
        while await self.tick() and (runs or time.monotonic() - idle_since < LINGER_S):
            for model_id in [key for key, task in runs.items() if task.done()]:
                await self._conclude(model_id, runs.pop(model_id))
                idle_since = time.monotonic()
            lane = await self._refresh()
            for model in await self.db(_due_upstreams, lane=lane, busy=set(runs)):
                runs[model.pk] = asyncio.create_task(self._serve_upstream(model))
            await asyncio.sleep(LOOK_EVERY_S)
        for model_id, task in list(runs.items()):
            await asyncio.wait([task])
            await self._conclude(model_id, runs.pop(model_id))

    async def _conclude(self, model_id: int, task: asyncio.Task[None]) -> None:
        """Take note of a run's end; a fault withholds its own model, and stops no other."""
        error = task.exception()
        if isinstance(error, LostLane):
            raise error
        if isinstance(error, UpstreamAway):
            log.warning("upstream_away", lane=self.lane_id, model=model_id, reason=str(error))
            reason = str(error)
        elif error is not None:
            log.error("upstream_run_failed", lane=self.lane_id, model=model_id, exc_info=error)
            reason = f"{type(error).__name__}: {error}"
        else:
            return
        await self.db(
            lanes.note_load_failure,
            lane_id=self.lane_id,
            model_id=model_id,
            reason=reason,
            longest_s=UPSTREAM_RETRY_MAX_S,
        )

    async def _serve_upstream(self, model: ServedModel) -> None:
        endpoint = upstream_endpoint(model)
        most = min(model.upstream_concurrency, open_files_left())
        start = await self.db(_known_concurrency, lane_id=self.lane_id, model_id=model.pk)
        pace = Pace(most=most, start=start)
        async with EngineClient(endpoint) as client:
            await self._run(model, client, most, pace)

    async def _run(
        self,
        model: ServedModel,
        client: EngineClient,
        window: int,
        pace: Pace | None = None,
        *,
        engine: bytes = b"",
    ) -> None:
        started = time.monotonic()
        run = ModelRun(
            host=self,
            client=client,
            model_id=model.pk,
            model_name=model.name,
            window=window,
            pace=pace,
            engine=engine,
        )
        noting = asyncio.create_task(self._note_first_answers(run, pace)) if pace else None
        try:
            await run.run()
        finally:
            if noting is not None:
                noting.cancel()
                (fault,) = await asyncio.gather(noting, return_exceptions=True)
                if isinstance(fault, Exception):
                    # It is written once more below; what fails there too is raised.
                    log.error("upstream_not_noted", lane=self.lane_id, exc_info=fault)
            log.info(
                "model_run_ended",
                lane=self.lane_id,
                model=model.name,
                answered=run.answered,
                seconds=round(time.monotonic() - started, 1),
            )
            if pace is not None and run.answered:
                await self._note_upstream_answers(model.pk, pace)

    async def _note_first_answers(self, run: ModelRun, pace: Pace) -> None:
        """Forget that the upstream was away as soon as it answers: a run may last for hours."""
        while not run.answered:
            await asyncio.sleep(LOOK_EVERY_S)
        await self._note_upstream_answers(run.model_id, pace)

    async def _note_upstream_answers(self, model_id: int, pace: Pace) -> None:
        await self.db(
            lanes.note_upstream_answers,
            lane_id=self.lane_id,
            model_id=model_id,
            concurrency=pace.places,
        )


def engine_of(lane: Lane) -> bytes:
    """Return what tells the lane's engine from those that answer otherwise."""
    return engine_digest(
        revision=lane.engine_revision,
        engine_args=lane.engine_args,
        version=lane.engine_version,
    )


def upstream_endpoint(model: ServedModel) -> Endpoint:
    """Return where a model's answers come from, with the key of this worker's environment."""
    # A key from a file often ends with a line break, which no header may hold.
    key = os.environ.get(model.upstream_key_env, "").strip() if model.upstream_key_env else ""
    return Endpoint(
        url=model.upstream_url,
        model=model.upstream_model,
        headers={"Authorization": f"Bearer {key}"} if key else {},
    )


def open_files_left() -> int:
    """Return how many connections may be open at once: each takes one of the open files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, soft - OPEN_FILES_KEPT)


def _close_connection() -> None:
    """Close the connection of the thread that calls this: `connection.close` itself is bound to
    the thread that names it."""
    connection.close()


def _known_concurrency(lane_id: int, model_id: int) -> int | None:
    known = LaneModel.objects.filter(lane=lane_id, model=model_id)
    return known.values_list("concurrency", flat=True).first()


def _due_upstreams(lane: Lane, busy: set[int]) -> list[ServedModel]:
    due = {candidate.model_id for candidate in claimable_models(lane)} - busy
    return list(ServedModel.objects.filter(pk__in=due))
