"""Running vLLM's own `run-batch` on the workload of a run, on the same engine settings."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from benchmarks.models import Run, RunKind, RunState
from benchmarks.services.workloads import write_lines
from jobs.engines.command import engine_command, engine_env
from jobs.engines.environment import engine_environment
from jobs.engines.run_batch import Timed, as_run_batch, run
from jobs.models import Chunk, Lane, ServedModel
from jobs.services.audit import current_actor, note_deed
from jobs.services.lanes import release_engine
from jobs.states import ChunkState, EngineState, LaneKind

TOOL = "vllm run-batch"
# What it answers; other endpoints it does not know.
ENDPOINTS = ("/v1/chat/completions", "/v1/embeddings")
RELEASE_S = 60.0

Say = Callable[[str], None]


class NoRival(Exception):
    """vLLM's `run-batch` cannot be run beside this run; the message says why, and what to do."""


def check_rival(*, model: ServedModel, endpoint: str) -> None:
    """Raise NoRival for what can be said before anything was measured."""
    if model.is_upstream:
        raise NoRival("vLLM's run-batch cannot be run on a model of another server.")
    if endpoint not in ENDPOINTS:
        raise NoRival(f"vLLM's run-batch does not know {endpoint}.")
    if not engine_environment().version:
        raise NoRival(
            f"There is no vLLM in {engine_environment().python}: run this on a host of a worker."
        )


def run_rival(*, beside: Run, say: Say = lambda words: None) -> Run:
    """Answer the workload of a completed run with `run-batch`, as often, and keep the figures.

    It runs as a child of this process, with the command line and the environment that the lane
    gives its engine, less what only a server knows. The lane's engine is ended first, since both
    would hardly fit into a GPU; the next batch starts it again. Raises NoRival.
    """
    workload, model = beside.workload, beside.model
    if workload is None or model is None:
        raise NoRival("The run's workload or model is gone.")
    check_rival(model=model, endpoint=workload.endpoint)
    lane = _lane(model)
    _release(lane)
    started_at = timezone.now()
    timed: list[Timed] = []
    with tempfile.TemporaryDirectory(prefix="vbatch-rival-") as folder:
        place = Path(folder)
        command, env = _start(lane, model, place)
        requests, answers = place / "requests.jsonl", place / "answers.jsonl"
        write_lines(workload=workload, model_name=beside.model_name, path=requests)
        for repeat in range(1, beside.repeats + 1):
            say(f"{TOOL}: repeat {repeat} of {beside.repeats}")
            try:
                timed.append(
                    run(
                        [*command, "-i", str(requests), "-o", str(answers)],
                        env=env,
                        answers=answers,
                        log=settings.LOG_DIR / "run-batch.log",
                    )
                )
            except RuntimeError as error:
                last = str(error).strip().splitlines()[-1]
                raise NoRival(
                    f"{TOOL} failed: {last} (all of it: {settings.LOG_DIR / 'run-batch.log'})"
                ) from error
    with transaction.atomic():
        made = Run.objects.create(
            project=beside.project,
            kind=RunKind.RUN_BATCH,
            tool=TOOL,
            state=RunState.COMPLETED,
            workload=workload,
            model_name=beside.model_name,
            model=model,
            repeats=beside.repeats,
            figures=_figures(timed, workload.requests),
            fingerprint=beside.fingerprint,
            beside=beside,
            created_by_name=current_actor().words[:200],
            started_at=started_at,
            ended_at=timezone.now(),
        )
        note_deed(
            action="benchmark.rival",
            target=made.public_id,
            project=beside.project,
            beside=beside.public_id,
        )
    return made


def _lane(model: ServedModel) -> Lane:
    lanes = Lane.objects.filter(
        worker__name=settings.WORKER_NAME, active=True, engine_model=model
    ).exclude(kind=LaneKind.UPSTREAM)
    lane = lanes.filter(engine_state=EngineState.READY).select_related("worker").first()
    if lane is None:
        raise NoRival(
            f"No lane of this host ('{settings.WORKER_NAME}') has {model.name} loaded: run this "
            "where its worker runs."
        )
    if Chunk.objects.filter(owner=lane, state=ChunkState.CLAIMED).exists():
        raise NoRival(f"The lane {lane} is at work on a batch: wait until it is idle.")
    return lane


def _release(lane: Lane) -> None:
    release_engine(lane_id=lane.pk, generation=lane.generation)
    deadline = time.monotonic() + RELEASE_S
    while time.monotonic() < deadline:
        if Lane.objects.filter(pk=lane.pk, engine_state=EngineState.STOPPED).exists():
            return
        time.sleep(0.5)
    raise NoRival(f"The engine of the lane {lane} did not end within {RELEASE_S:g} s.")


def _start(lane: Lane, model: ServedModel, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return the command, less the two files, and the environment."""
    environment = engine_environment()
    gpus = lane.gpus if lane.kind == LaneKind.GPU else []
    server = engine_command(
        python=environment.python,
        name=model.name,
        aliases=model.aliases,
        source=model.source,
        engine_args=model.engine_args,
        socket=folder / "unused.sock",
        gpus=gpus,
        running=lane.engine_max_num_seqs,
    )
    env = engine_env(
        environment=environment,
        command=server,
        gpus=gpus,
        folder=folder,
        # Not what marks the product's own processes: this one is no child of the supervisor.
        base={name: value for name, value in os.environ.items() if not name.startswith("VBATCH_")},
    )
    return as_run_batch(server), env


def _figures(timed: list[Timed], requests: int) -> dict[str, Any]:
    """Return the medians under our own names, and each repeat of those that are compared.

    Counted as a run of ours is: from the moment when the engine is up, to the file.
    """
    each: dict[str, list[float]] = {
        "duration_s": [one.warm_to_file_s for one in timed],
        "requests_per_s": [one.lines / one.warm_to_file_s for one in timed],
        "output_tokens_per_s": [one.output_tokens / one.warm_to_file_s for one in timed],
        "engine_start_s": [one.start_to_file_s - one.warm_to_file_s for one in timed],
        "start_to_file_s": [one.start_to_file_s for one in timed],
        "completed": [one.lines for one in timed],
        "output_tokens": [one.output_tokens for one in timed],
        "success_rate": [one.lines / requests for one in timed],
    }
    return {
        "requests": requests,
        **{name: statistics.median(values) for name, values in each.items()},
        "repeats": each,
    }
