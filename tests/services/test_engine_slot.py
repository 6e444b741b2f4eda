"""How much an engine is told to run at once, on a worker that has only just started."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from jobs.engines import slot as slot_module
from jobs.engines.environment import engine_environment
from jobs.engines.slot import EngineSlot
from jobs.models import Lane
from jobs.services.fleet import note_gpus
from jobs.services.lanes import want_model
from jobs.services.served_models import save_model
from jobs.states import EngineState, LaneKind
from tests.stack.product import STUB_PYTHON

READING = {
    "index": 0,
    "name": "NVIDIA H200",
    "driver": "580",
    "memory_total_bytes": 140 * 1024**3,
}


@pytest.fixture
def gpu_lane(lane: Lane, tmp_path: Any, settings: Any) -> Iterator[Lane]:
    """A lane of one GPU that wants a model, with the stub in the place of vLLM."""
    settings.ENGINE_PYTHON = str(STUB_PYTHON)
    settings.RUN_DIR = settings.LOG_DIR = tmp_path
    engine_environment.cache_clear()
    model = save_model(name="m", source=str(tmp_path)).model
    Lane.objects.filter(pk=lane.pk).update(kind=LaneKind.GPU, gpus=[0])
    want_model(lane_id=lane.pk, model_id=model.pk)
    yield lane
    engine_environment.cache_clear()


@pytest.fixture
def slot(gpu_lane: Lane) -> Iterator[EngineSlot]:
    slot = EngineSlot(lane_id=gpu_lane.pk, marker="test")
    yield slot
    slot.kill()


def step(slot: EngineSlot, lane: Lane) -> Lane:
    slot.step(Lane.objects.select_related("worker").get(pk=lane.pk), draining=False)
    return Lane.objects.get(pk=lane.pk)


def test_an_engine_waits_for_the_first_reading_of_its_gpu(slot: EngineSlot, gpu_lane: Lane) -> None:
    assert step(slot, gpu_lane).engine_state == EngineState.STOPPED
    note_gpus(worker_id=gpu_lane.worker_id, note="", readings=[READING])
    started = step(slot, gpu_lane)
    assert started.engine_state == EngineState.STARTING
    assert started.engine_max_num_seqs == 1_024


def test_an_engine_starts_without_a_reading_that_does_not_come(
    slot: EngineSlot, gpu_lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = slot_module.time.monotonic() + slot_module.READING_WAIT_S + 1
    monkeypatch.setattr(slot_module.time, "monotonic", lambda: later)
    started = step(slot, gpu_lane)
    assert started.engine_state == EngineState.STARTING
    assert started.engine_max_num_seqs == 256
