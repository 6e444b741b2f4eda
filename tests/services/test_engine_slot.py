"""How much an engine is told to run at once, on a worker that has only just started."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs.engines import slot as slot_module
from jobs.engines.environment import engine_environment
from jobs.engines.gate import memory_share
from jobs.engines.slot import EngineSlot
from jobs.models import Gpu, Lane
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
    "memory_used_bytes": 0,
    "temperature_c": 40,
    "error": "",
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


@pytest.fixture(autouse=True)
def _look_at_the_gate_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_module, "GATE_EVERY_S", 0.0)


def test_an_engine_waits_for_the_first_reading_of_its_gpu(slot: EngineSlot, gpu_lane: Lane) -> None:
    held = step(slot, gpu_lane)
    assert held.start_held_back == "a first reading of its GPUs"
    assert step(slot, gpu_lane).engine_state == EngineState.STOPPED
    note_gpus(worker_id=gpu_lane.worker_id, note="", readings=[READING])
    started = step(slot, gpu_lane)
    assert started.engine_state == EngineState.STARTING
    assert started.engine_max_num_seqs == 1_024


def test_without_the_gate_an_engine_starts_though_no_reading_comes(
    slot: EngineSlot, gpu_lane: Lane, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.GPU_GATE = False
    later = slot_module.time.monotonic() + slot_module.READING_WAIT_S + 1
    monkeypatch.setattr(slot_module.time, "monotonic", lambda: later)
    started = step(slot, gpu_lane)
    assert started.engine_state == EngineState.STARTING
    assert started.engine_max_num_seqs == 256


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temperature_c": 91}, "GPU 0 of {worker} to cool down: it has 91 °C"),
        (
            {
                "memory_used_bytes": 60 * 1024**3,
                "processes": [{"pid": 4711, "name": "python", "memory_bytes": 60 * 1024**3}],
            },
            "80.0 GiB of 140.0 GiB are free, the engine takes 128.8 GiB; others hold 60.0 GiB "
            "(python 4711: 60.0 GiB)",
        ),
        ({"error": "GPU is lost"}, "GPU 0 of {worker}, which cannot be read: GPU is lost"),
    ],
)
def test_a_start_is_held_back_says_why_and_comes_once_it_can(
    slot: EngineSlot, gpu_lane: Lane, change: dict[str, Any], words: str
) -> None:
    worker = gpu_lane.worker
    note_gpus(worker_id=worker.pk, note="", readings=[{**READING, **change}])
    held = step(slot, gpu_lane)
    assert held.engine_state == EngineState.STOPPED
    assert words.format(worker=worker.name) in held.start_held_back
    assert not held.known_models.exists()
    note_gpus(worker_id=worker.pk, note="", readings=[READING])
    started = step(slot, gpu_lane)
    assert (started.engine_state, started.start_held_back) == (EngineState.STARTING, "")


def test_an_old_reading_opens_no_gate(slot: EngineSlot, gpu_lane: Lane) -> None:
    note_gpus(worker_id=gpu_lane.worker_id, note="", readings=[READING])
    Gpu.objects.update(read_at=timezone.now() - timedelta(seconds=8))
    assert "is 8 s old" in step(slot, gpu_lane).start_held_back


def test_a_model_that_is_wanted_no_more_waits_for_nothing(slot: EngineSlot, gpu_lane: Lane) -> None:
    assert step(slot, gpu_lane).start_held_back
    want_model(lane_id=gpu_lane.pk, model_id=None)
    assert step(slot, gpu_lane).start_held_back == ""


def test_a_cpu_has_no_gate(slot: EngineSlot, gpu_lane: Lane) -> None:
    Lane.objects.update(kind=LaneKind.CPU, gpus=[])
    assert step(slot, gpu_lane).engine_state == EngineState.STARTING


@pytest.mark.parametrize(
    ("engine_args", "share"),
    [
        ("", 0.92),
        ("--gpu-memory-utilization 0.5", 0.5),
        ("--max-model-len 8 --gpu_memory_utilization=0.25", 0.25),
        ("--gpu-memory-utilization lots", 0.92),
    ],
)
def test_the_memory_that_is_wanted_is_what_the_engine_will_ask_for(
    engine_args: str, share: float
) -> None:
    assert memory_share(engine_args) == share


@pytest.mark.parametrize("changes", [False, True])
def test_of_a_model_that_changes_while_it_is_loaded_nothing_is_known(
    slot: EngineSlot, gpu_lane: Lane, settings: Any, tmp_path: Any, changes: bool
) -> None:
    """Else its answers would pass for those of the model that is there later, or was before."""
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    settings.GPU_GATE = False
    note_gpus(worker_id=gpu_lane.worker_id, note="", readings=[READING])
    started = step(slot, gpu_lane)
    assert (started.engine_state, started.engine_revision) == (EngineState.STARTING, "")
    if changes:
        (tmp_path / "config.json").write_text('{"architectures": ["MistralForCausalLM"]}')
    deadline = time.monotonic() + 60
    while (lane := step(slot, gpu_lane)).engine_state == EngineState.STARTING:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert lane.engine_state == EngineState.READY
    assert bool(lane.engine_revision) is not changes
