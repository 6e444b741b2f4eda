"""The supervisor of one host: clusters, engines and sampler, kept alive and ended together."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import IO, TypeVar

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.module_loading import import_string
from django_q.tasks import async_task

from jobs.cluster_watch import ClusterWatch
from jobs.engines.environment import TESTED_VERSIONS, engine_environment
from jobs.engines.slot import EngineSlot
from jobs.guarded import Guarded, kill_leftovers
from jobs.models import Batch, Lane, Worker
from jobs.scheduler import claimable_models
from jobs.services import fleet, lanes, webhooks
from jobs.services.batches import overdue_batches
from jobs.services.fleet import OTHER_NAME, HostRefused, LaneSpec
from jobs.states import BatchState, LaneKind

log = structlog.get_logger()

T = TypeVar("T")

STEP_S = 0.4
SWEEP_EVERY_S = 2.0
SWEEP_REMAINS_EVERY_S = 60.0
VALIDATE_AT_ONCE = 20
# A sampler that ran for so long is started again at once, others after a growing pause.
SAMPLER_LASTS_S = 10.0
SAMPLER_PAUSE_S = 30.0
# A batch that still validates after this time gets its bell rung again, each as often.
VALIDATE_AGAIN_S = 10.0
CONTROL = "control"


class NameLost(Exception):
    """Another worker has entered under this name while this one was cut off."""


class Supervisor:
    """Owns every process of a worker; nothing that it starts outlives it."""

    def __init__(
        self, *, name: str, instance: str, lane_specs: Sequence[LaneSpec], version: str
    ) -> None:
        self._name = name
        self._instance = instance
        self._specs = lane_specs
        self._version = version
        self._marker = f"{settings.DATA_DIR}:{name}"
        self._signals = 0
        self._worker = Worker()
        self._lane_ids: list[int] = []
        self._clusters: dict[int | None, ClusterWatch] = {}
        self._slots: dict[int, EngineSlot] = {}
        self._sampler: Guarded | None = None
        self._sampler_at = 0.0
        self._sampler_pause_s = 0.0
        self._beat_at = 0.0
        self._swept_at = 0.0
        self._remains_swept_at = 0.0
        self._looked_at: dict[str, float] = {}
        self._validated_at = time.monotonic()

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, then drain; a second one ends everything at once."""
        lock = self._lock()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note_signal)
        try:
            leftovers = kill_leftovers(self._marker)
            if leftovers:
                log.warning("leftovers_killed", count=leftovers)
            self._register()
            while not self._signals:
                self._guarded_step(draining=False)
                time.sleep(STEP_S)
            self._drain()
        finally:
            self._kill_all()
            lock.close()

    # --- Starting --------------------------------------------------------------------------------

    def _lock(self) -> IO[str]:
        path = Path(settings.RUN_DIR) / f"worker-{self._name}.lock"
        lock = path.open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HostRefused(
                f"A worker named '{self._name}' runs on this host already. Stop it first. "
                f"{OTHER_NAME}"
            ) from error
        return lock

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            # Whatever the loop waits for is given up: `finally` kills all.
            raise KeyboardInterrupt

    def _register(self) -> None:
        self._worker, made = fleet.register_worker(
            name=self._name,
            instance=self._instance,
            pid=os.getpid(),
            version=self._version,
            lanes=self._specs,
        )
        self._lane_ids = [lane.pk for lane in made]
        self._clusters[None] = ClusterWatch(queue=CONTROL, marker=self._marker)
        for lane in made:
            self._clusters[lane.pk] = ClusterWatch(queue=lane.queue, marker=self._marker)
            if lane.kind != LaneKind.UPSTREAM:
                self._slots[lane.pk] = EngineSlot(lane_id=lane.pk, marker=self._marker)
        log.info(
            "worker_started", worker=self._name, lanes=",".join(str(lane.name) for lane in made)
        )
        if self._slots:
            environment = engine_environment()
            if environment.version and not environment.is_tested:
                log.warning(
                    "engine_version_untested",
                    version=environment.version,
                    tested=",".join(TESTED_VERSIONS),
                )

    # --- Running ---------------------------------------------------------------------------------

    def _guarded_step(self, *, draining: bool) -> None:
        """One step; a database that is away ends no engine and no cluster."""
        try:
            self._step(draining=draining)
        except (DatabaseError, InterfaceError) as error:
            _note_absence(error)
            time.sleep(STEP_S)

    def _step(self, *, draining: bool) -> None:
        now = time.monotonic()
        if now - self._beat_at >= fleet.HEARTBEAT_S:
            self._beat(now)
        for lane_id, cluster in self._clusters.items():
            if not cluster.step():
                continue
            if lane_id is not None:
                lanes.forget_task(lane_id=lane_id)
            else:
                # A call that the cluster of before had taken up is lost with it.
                self._call_validation(older_than_s=0.0)
        self._watch_sampler()
        rows = {lane.pk: lane for lane in self._lanes()}
        for lane_id, slot in self._slots.items():
            slot.step(rows[lane_id], draining=draining)
        if not draining and now - self._swept_at >= SWEEP_EVERY_S:
            self._swept_at = now
            self._sweep(now)

    def _beat(self, now: float) -> None:
        self._beat_at = now
        if not fleet.beat(self._worker):
            raise NameLost(
                f"Another worker has taken the name '{self._name}' while this one was cut off "
                f"from the database, or its row was removed. {OTHER_NAME}"
            )

    def _lanes(self) -> list[Lane]:
        return list(Lane.objects.select_related("worker").filter(pk__in=self._lane_ids))

    def _watch_sampler(self) -> None:
        now = time.monotonic()
        if self._sampler is not None and not self._sampler.is_running:
            # One that ends as soon as it has begun, by a driver that hangs perhaps, is given time.
            lasted_s = now - self._sampler.started_at
            self._sampler_pause_s = (
                0.0
                if lasted_s > SAMPLER_LASTS_S
                else min(SAMPLER_PAUSE_S, 1 + 2 * self._sampler_pause_s)
            )
            log.warning("sampler_ended", how=self._sampler.exit_text(), lasted_s=round(lasted_s, 1))
            self._sampler.kill()
            self._sampler = None
            self._sampler_at = now + self._sampler_pause_s
        if self._sampler is None and now >= self._sampler_at:
            self._sampler = Guarded(
                command=[
                    sys.executable,
                    str(settings.BASE_DIR / "manage.py"),
                    "runsampler",
                    str(self._worker.pk),
                ],
                env=os.environ,
                log=Path(settings.LOG_DIR) / "sampler.log",
                marker=self._marker,
            )

    def _sweep(self, now: float) -> None:
        """Ring again where a message was lost: the tables say what is to be done."""
        for lane in lanes.silent_lanes(self._lane_ids):
            if claimable_models(lane):
                lanes.kick_lane(lane)
        if not fleet.leads(self._worker):
            return  # Another host rings for what belongs to none.
        if overdue_batches():
            async_task("jobs.tasks.sweep", cluster=CONTROL)
        if webhooks.anything_due():
            async_task("jobs.tasks.deliver_webhooks", cluster=CONTROL)
        if now - self._remains_swept_at >= SWEEP_REMAINS_EVERY_S:
            self._remains_swept_at = now
            async_task("jobs.tasks.sweep_remains", cluster=CONTROL)
        if now - self._validated_at >= VALIDATE_AGAIN_S:
            self._call_validation(older_than_s=VALIDATE_AGAIN_S)
        for task, is_due, every_s in settings.PERIODIC_TASKS:
            if now - self._looked_at.get(task, float("-inf")) < every_s:
                continue
            self._looked_at[task] = now
            if import_string(is_due)():
                async_task(task, cluster=CONTROL)

    def _call_validation(self, *, older_than_s: float) -> None:
        self._validated_at = time.monotonic()
        late = timezone.now() - timedelta(seconds=older_than_s)
        for batch_id in Batch.objects.filter(
            state=BatchState.VALIDATING, created_at__lt=late
        ).values_list("pk", flat=True)[:VALIDATE_AT_ONCE]:
            async_task("jobs.tasks.validate", batch_id, cluster=CONTROL)

    # --- Ending ----------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Let the lanes hand in what they have, then end everything, within `DRAIN_S`."""
        log.info("worker_draining", worker=self._name)
        deadline = time.monotonic() + settings.DRAIN_S
        self._insist(lambda: fleet.drain_worker(self._worker), deadline)
        while time.monotonic() < deadline and self._insist(self._lanes_at_work, deadline):
            self._insist(self._beat_while_draining, deadline)
            time.sleep(STEP_S)
        for cluster in self._clusters.values():
            cluster.terminate()
        for slot in self._slots.values():
            self._insist(slot.kill, deadline)
        while time.monotonic() < deadline and any(
            cluster.is_running for cluster in self._clusters.values()
        ):
            time.sleep(STEP_S)
        self._insist(lambda: fleet.stop_worker(self._worker), deadline)
        log.info("worker_stopped", worker=self._name)

    def _insist(self, call: Callable[[], T], deadline: float) -> T | None:
        """Call until the database, which may be away, has taken it; None if it never did."""
        while True:
            try:
                return call()
            except (DatabaseError, InterfaceError) as error:
                _note_absence(error)
                if time.monotonic() > deadline:
                    return None
                time.sleep(STEP_S)

    def _lanes_at_work(self) -> bool:
        since = Now() - timedelta(seconds=lanes.TASK_STALE_AFTER_S)
        return Lane.objects.filter(pk__in=self._lane_ids, task_seen_at__gte=since).exists()

    def _beat_while_draining(self) -> None:
        if time.monotonic() - self._beat_at >= fleet.HEARTBEAT_S:
            self._beat(time.monotonic())

    def _kill_all(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        for cluster in self._clusters.values():
            cluster.kill()
        for slot in self._slots.values():
            slot.kill()
        if self._sampler is not None:
            self._sampler.kill()


def _note_absence(error: Exception) -> None:
    log.warning("database_away", error=str(error).strip().partition("\n")[0][:200])
    connection.close()
