"""vLLM's run-batch beside a run: with the lane's own settings, on a lane that is free."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.comparing import why_unlike
from benchmarks.models import Run
from benchmarks.services import rivals
from benchmarks.services.rivals import NoRival, check_rival, run_rival
from benchmarks.services.runs import create_run
from benchmarks.services.workloads import enter_shipped
from jobs.engines.environment import EngineEnvironment
from jobs.engines.run_batch import Timed
from jobs.models import Chunk, Lane, ServedModel
from tests.cast import make_batch

pytestmark = pytest.mark.django_db
VLLM = EngineEnvironment("/env/bin/python", "0.32.0", "vllm", "")


@pytest.fixture
def ran(ours, finish, monkeypatch, settings) -> Run:
    """A completed run, whose lane has the model loaded on this host, where vLLM is installed."""
    settings.WORKER_NAME = "host"
    workload = enter_shipped(project=ours, name="short-chat", requests=20)
    run = finish(create_run(project=ours, workload=workload, model_name="small", repeats=2))
    Lane.objects.update(engine_state="ready", engine_model=run.model, engine_max_num_seqs=99)
    monkeypatch.setattr(rivals, "engine_environment", lambda: VLLM)
    return run


@pytest.fixture
def started(monkeypatch) -> list[list[str]]:
    """What was started; the supervisor ends the lane's engine once it is asked to."""
    commands: list[list[str]] = []

    def run(command, *, env, answers: Path, log: Path) -> Timed:
        assert not any(name.startswith("VBATCH_") for name in env)
        assert Lane.objects.get().wanted_model is None, "the lane was released"
        requests = Path(command[command.index("-i") + 1]).read_text().splitlines()
        assert json.loads(requests[0])["body"]["model"] == "small" and len(requests) == 20
        commands.append(command)
        return Timed(30.0 + len(commands), 10.0, 20, 2_000)

    def stop(seconds: float) -> None:
        assert Lane.objects.get().engine_model is None
        Lane.objects.update(engine_state="stopped")

    monkeypatch.setattr(rivals, "run", run)
    monkeypatch.setattr(rivals.time, "sleep", stop)
    return commands


def test_it_runs_as_often_with_the_settings_of_the_lane(ran, started):
    made = run_rival(beside=ran)
    assert (made.kind, made.tool, made.beside, made.state) == (
        "run-batch",
        "vllm run-batch",
        ran,
        "completed",
    )
    assert len(started) == 2
    command = started[0]
    assert "vllm.entrypoints.openai.run_batch" in command and "--uds" not in command
    assert command[command.index("--max-num-seqs") + 1] == "99"
    assert made.figures["output_tokens_per_s"] == 200
    assert made.figures["repeats"]["start_to_file_s"] == [31.0, 32.0]
    assert why_unlike(ran, made), "it is shown beside the run, and is no run of ours"


def test_a_lane_that_is_at_work_or_elsewhere_is_left_alone(ran, started, settings):
    batch = make_batch(open_lines=1)
    chunk = Chunk.objects.create(
        batch=batch, first_position=0, last_position=0, state="claimed", owner=Lane.objects.get()
    )
    with pytest.raises(NoRival, match="at work"):
        run_rival(beside=ran)
    chunk.delete()
    settings.WORKER_NAME = "other"
    with pytest.raises(NoRival, match="'other'"):
        run_rival(beside=ran)
    assert Lane.objects.get().engine_model is not None and started == []


def test_a_failure_names_the_log(ran, started, monkeypatch):
    def fail(command, **rest):
        raise RuntimeError("run-batch ended with 1:\nout of memory")

    monkeypatch.setattr(rivals, "run", fail)
    with pytest.raises(NoRival, match=r"out of memory.*run-batch\.log"):
        run_rival(beside=ran)
    assert Run.objects.count() == 1


def test_what_it_cannot_do_is_said_before_anything_runs(ran, monkeypatch):
    model = ServedModel.objects.get()
    with pytest.raises(NoRival, match="/v1/responses"):
        check_rival(model=model, endpoint="/v1/responses")
    upstream = ServedModel(name="up", upstream_url="http://x/v1")
    with pytest.raises(NoRival, match="another server"):
        check_rival(model=upstream, endpoint="/v1/embeddings")
    monkeypatch.setattr(rivals, "engine_environment", lambda: replace(VLLM, version=""))
    with pytest.raises(NoRival, match="no vLLM"):
        check_rival(model=model, endpoint="/v1/embeddings")
