"""The engine of one lane: started, watched and ended as the lane's row asks."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import structlog
from django.conf import settings

from jobs.engines.command import engine_command, engine_env, max_num_seqs
from jobs.engines.environment import engine_environment
from jobs.engines.folder import fresh_folder
from jobs.engines.gate import check_gate
from jobs.engines.health import HealthProbe
from jobs.engines.log import failure_reason, phase, rotate, tail
from jobs.engines.revision import model_revision
from jobs.engines.sources import check_there
from jobs.guarded import Guarded
from jobs.models import Gpu, Lane, ServedModel
from jobs.services.lanes import (
    hold_back,
    note_engine_ready,
    note_load_failure,
    set_engine,
    start_engine,
)
from jobs.states import EngineState, LaneKind

log = structlog.get_logger()

STOP_S = 5.0
KILL_WAIT_S = 2.0
# An engine that answers nothing at all for so long is taken for hung and killed.
SILENT_S = 120.0
PROGRESS_EVERY_S = 1.0
GATE_EVERY_S = 1.0
# A new worker's first reading of its GPUs comes within two or three seconds.
READING_WAIT_S = 10.0


class EngineSlot:
    """Holds at most one engine; `step` is to be called a few times a second."""

    def __init__(self, *, lane_id: int, marker: str) -> None:
        self._lane_id = lane_id
        self._marker = marker
        self._process: Guarded | None = None
        self._probe: HealthProbe | None = None
        self._model_id: int | None = None
        self._generation = 0
        self._stop_at: float | None = None
        self._looked_at = 0.0
        self._log = Path()
        self._loads = ("", "")
        self._revision = ""
        self._is_ready = False
        self._gate_at = float("-inf")
        self._unread_until = time.monotonic() + READING_WAIT_S

    def step(self, lane: Lane, *, draining: bool) -> None:
        """Bring the engine one step nearer to what the lane's row wants."""
        process = self._process
        if process is None:
            if lane.engine_state not in (EngineState.STOPPED, EngineState.DIED):
                # Its end could not be written down: the database was away at that moment.
                self._note_end(EngineState.DIED, generation=lane.generation)
            elif lane.wanted_model_id and lane.engine_state == EngineState.STOPPED and not draining:
                self._start(lane)
        elif self._stop_at is not None:
            if not process.is_running or time.monotonic() > self._stop_at:
                self._end(EngineState.STOPPED)
        elif not process.is_running:
            self._ended()
        elif draining or lane.wanted_model_id not in (None, self._model_id):
            self._stop()
        elif lane.engine_model_id is None:
            self._stop()  # Its model was removed, or the name stands for another one.
        elif not self._is_ready:
            self._look_at_start()
        elif self._probe is not None and (
            self._probe.says_dead or self._probe.silent_s() > SILENT_S
        ):
            log.warning("engine_hung", lane=self._lane_id, silent_s=self._probe.silent_s())
            self._ended()

    @property
    def is_empty(self) -> bool:
        return self._process is None

    def kill(self) -> None:
        """End the engine at once, whatever it does."""
        if self._process is not None:
            self._end(EngineState.STOPPED)

    def _start(self, lane: Lane) -> None:
        assert lane.wanted_model_id is not None
        model = ServedModel.objects.filter(pk=lane.wanted_model_id).first()
        if model is None:
            return  # Deleted at this moment; the lane finds out too.
        environment = engine_environment()
        if not environment.version:
            note_load_failure(
                lane_id=lane.pk,
                model_id=model.pk,
                reason=f"There is no vLLM in {environment.python}. Install it there, or point "
                "VBATCH_ENGINE_PYTHON to a Python that has it.",
            )
            return
        gpus = lane.gpus if lane.kind == LaneKind.GPU else []
        if gpus and self._is_held_back(lane, gpus, model.engine_args):
            return
        gpu = _smallest_gpu(lane, gpus)
        if gpus and gpu is None and time.monotonic() < self._unread_until:
            return  # How much the engine can run at once is not known yet.
        self._log = settings.LOG_DIR / f"engine-{lane.worker.name}-{lane.name}.log"
        try:
            check_there(model.source)
            rotate(self._log)
            folder = fresh_folder(f"{lane.worker.name}-{lane.name}")
            socket = folder / "api.sock"
            running = max_num_seqs(
                engine_args=model.engine_args,
                gpu_memory_bytes=gpu.memory_total_bytes if gpu else None,
                gpu_name=gpu.name if gpu else "",
            )
            command = engine_command(
                python=environment.python,
                name=model.name,
                aliases=model.aliases,
                source=model.source,
                engine_args=model.engine_args,
                socket=socket,
                gpus=gpus,
                running=running,
            )
        except (ValueError, IndexError, OSError) as error:
            reason = f"The engine cannot be started: {error}"
            note_load_failure(lane_id=lane.pk, model_id=model.pk, reason=reason)
            return
        self._generation = start_engine(
            lane_id=lane.pk,
            model_id=model.pk,
            socket=str(socket),
            version=environment.version,
            max_num_seqs=running,
            engine_args=model.engine_args,
        )
        self._loads = (model.source, model.engine_args)
        self._revision = model_revision(*self._loads)
        secrets = set(ServedModel.objects.values_list("upstream_key_env", flat=True))
        base = {name: value for name, value in os.environ.items() if name not in secrets}
        try:
            self._process = Guarded(
                command=command,
                env=engine_env(
                    environment=environment,
                    gpus=gpus,
                    folder=folder,
                    command=command,
                    base=base,
                ),
                log=self._log,
                marker=self._marker,
            )
        except OSError as error:
            reason = f"The engine cannot be started: {error}"
            self._note_end(EngineState.STOPPED, generation=self._generation, error=reason)
            note_load_failure(lane_id=lane.pk, model_id=model.pk, reason=reason)
            return
        self._model_id = model.pk
        self._is_ready = False
        self._stop_at = None
        self._probe = HealthProbe(str(socket))
        set_engine(lane_id=lane.pk, generation=self._generation, engine_pid=self._process.pid)
        log.info("engine_starting", lane=self._lane_id, model=model.name, pid=self._process.pid)

    def _is_held_back(self, lane: Lane, gpus: Sequence[int], engine_args: str) -> bool:
        """Look at the gate, once a second, and write down what it waits for."""
        if time.monotonic() - self._gate_at < GATE_EVERY_S:
            return True
        self._gate_at = time.monotonic()
        reason = check_gate(worker_id=lane.worker_id, gpus=gpus, engine_args=engine_args)
        if (reason or "") != lane.start_held_back:
            hold_back(lane_id=lane.pk, reason=reason or "")
        return reason is not None

    def _look_at_start(self) -> None:
        assert self._process is not None and self._probe is not None
        age_s = time.monotonic() - self._process.started_at
        if self._probe.is_up:
            # Written first: should the database be away, this step is taken again.
            note_engine_ready(
                lane_id=self._lane_id,
                generation=self._generation,
                load_s=age_s,
                revision=self._loaded_revision(),
            )
            self._is_ready = True
            log.info("engine_ready", lane=self._lane_id, load_s=round(age_s, 1))
        elif age_s > settings.ENGINE_START_TIMEOUT_S:
            self._fail(f"it was not ready after {age_s:.0f} s ({phase(tail(self._log))})")
        elif time.monotonic() - self._looked_at > PROGRESS_EVERY_S:
            self._looked_at = time.monotonic()
            set_engine(
                lane_id=self._lane_id,
                generation=self._generation,
                engine_progress=f"{phase(tail(self._log))}, {age_s:.0f} s",
            )

    def _loaded_revision(self) -> str:
        """Return what the engine has loaded; nothing if that changed while it was loading."""
        revision = model_revision(*self._loads)
        # Before, the hub's model may not have been in the cache.
        return revision if self._revision in ("", revision) else ""

    def _ended(self) -> None:
        """Note an engine that ended by itself."""
        assert self._process is not None
        if self._process.is_running:
            reason = "it did not answer and was ended"
        else:
            reason = f"it {self._process.exit_text()}"
        if self._is_ready:
            log.warning("engine_died", lane=self._lane_id, reason=reason)
            self._end(EngineState.DIED, error=f"{reason}: {failure_reason(tail(self._log))}")
        else:
            self._fail(f"{failure_reason(tail(self._log))} (it {reason.removeprefix('it ')})")

    def _fail(self, reason: str) -> None:
        """Note an engine that did not come up, so that its model is withheld for a while."""
        assert self._model_id is not None
        log.warning("engine_failed", lane=self._lane_id, reason=reason[:300])
        model_id = self._model_id
        self._end(EngineState.STOPPED, error=reason)
        note_load_failure(lane_id=self._lane_id, model_id=model_id, reason=reason)

    def _stop(self) -> None:
        assert self._process is not None
        set_engine(
            lane_id=self._lane_id, generation=self._generation, engine_state=EngineState.STOPPING
        )
        self._process.terminate()
        self._stop_at = time.monotonic() + STOP_S

    def _end(self, state: EngineState, *, error: str = "") -> None:
        """Kill what is left of the engine; its memory is free once its group is gone."""
        assert self._process is not None
        if self._probe is not None:
            self._probe.stop()
        if not self._process.kill(wait_s=KILL_WAIT_S):
            # Held in the kernel, by its driver perhaps: nothing new starts before it is gone.
            log.error("engine_will_not_die", lane=self._lane_id, pid=self._process.pid)
            self._stop_at = time.monotonic() + STOP_S
            self._note_end(EngineState.STOPPING, generation=self._generation, error=error)
            return
        self._process = self._probe = self._model_id = self._stop_at = None
        self._is_ready = False
        self._note_end(state, generation=self._generation, error=error)

    def _note_end(self, state: EngineState, *, generation: int, error: str = "") -> None:
        set_engine(
            lane_id=self._lane_id,
            generation=generation,
            engine_state=state,
            engine_error=error[:4_000],
            engine_progress="",
            engine_pid=None,
            engine_model_id=None,
        )


def _smallest_gpu(lane: Lane, gpus: Sequence[int]) -> Gpu | None:
    """Return the lane's GPU with the least memory, None where none has been read."""
    read = Gpu.objects.filter(worker_id=lane.worker_id, index__in=gpus, memory_total_bytes__gt=0)
    return read.order_by("memory_total_bytes").first()
