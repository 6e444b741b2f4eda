"""Runs: one ordinary batch after the other, measured, scored, held against a baseline."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from benchmarks.at_work import part_at_work, waits_for
from benchmarks.comparing import METRICS, repeats_of
from benchmarks.disturbances import disturbances_of
from benchmarks.management.following import describe
from benchmarks.measured import measure_batch
from benchmarks.models import Run, RunPart
from benchmarks.planning import plan
from benchmarks.services import runs
from benchmarks.services.runs import CannotRun, cancel_run, create_run
from benchmarks.services.workloads import enter_shipped
from jobs.models import Batch, StoredFile, Worker

pytestmark = pytest.mark.django_db


def _make(project, *, requests: int = 20, **fields) -> Run:
    workload = enter_shipped(project=project, name="short-chat", requests=requests)
    return create_run(project=project, workload=workload, model_name="small", **fields)


def test_a_run_is_warmed_up_and_its_repeats_are_measured_one_after_the_other(ours, finish):
    run = finish(_make(ours, repeats=3), 1_000, 1_000, 2_000, 3_000)
    assert run.state == "completed", run.error
    parts = list(run.parts.order_by("repeat"))
    assert [part.batch.total for part in parts] == [8, 20, 20, 20]
    rates = [round(part.figures["steady"]["output_tokens_per_s"]) for part in parts[1:]]
    assert rates == [1_000, 2_000, 3_000]
    assert round(run.figures["steady"]["output_tokens_per_s"]) == 2_000, "the median"
    assert run.figures["latency_ms"]["e2el"]["p99"] == 200
    assert (run.figures["engine_covers"], run.figures["success_rate"]) == (1.0, 1.0)
    assert (run.fingerprint["cpu"], run.fingerprint["model"]) == ("Test CPU", "small")


def test_its_batches_are_ordinary_ones_that_know_nothing_of_each_other(ours, finish):
    finish(_make(ours, repeats=2))
    one, other = Batch.objects.filter(metadata__repeat__in=["1", "2"]).order_by("pk")
    assert (one.metadata["benchmark"], one.reuse_answers) == (Run.objects.get().public_id, False)

    def bodies(batch):
        rows = batch.requests.order_by("position").values_list("body", flat=True)
        return [json.loads(bytes(body)) for body in rows]

    for first, second in zip(bodies(one), bodies(other), strict=True):
        assert first.pop("cache_salt") != second.pop("cache_salt"), "the prefix cache is its own"
        assert first == second and first["model"] == "small"


def test_one_run_is_at_work_at_a_time(ours, lane):
    first, second = _make(ours), _make(ours)
    runs.go_on()
    runs.go_on()
    assert not RunPart.objects.filter(run=second, batch__isnull=False).exists()
    assert not runs.anything_to_do(), "its batch is at work"
    cancel_run(run=first)
    runs.go_on()
    assert RunPart.objects.get(run=second, repeat=0).batch is not None


def test_going_on_twice_makes_one_batch(ours, lane):
    run = _make(ours)
    runs.go_on()
    part = run.parts.get(repeat=0)
    part.batch = None
    RunPart.objects.filter(pk=part.pk).update(batch=None, batch_public_id="")
    runs.go_on()
    assert Batch.objects.count() == 1
    assert run.parts.get(repeat=0).batch == Batch.objects.get()


def test_a_cancelled_run_takes_its_batch_along_and_stays_cancelled(ours, lane):
    run = _make(ours)
    runs.go_on()
    assert cancel_run(run=run) and not cancel_run(run=run)
    assert Batch.objects.get().state in ("cancelling", "cancelled")
    runs.go_on()
    run.refresh_from_db()
    assert (run.state, run.parts.filter(batch__isnull=False).count()) == ("cancelled", 1)


def test_a_run_whose_batch_ends_otherwise_says_so(ours, lane):
    run = _make(ours)
    runs.go_on()
    batch = Batch.objects.get()
    Batch.objects.update(state="failed", findings=[{"message": "It broke."}])
    runs.go_on()
    run.refresh_from_db()
    assert (run.state, run.error) == ("failed", f"The batch {batch.public_id} is failed. It broke.")


def test_a_run_whose_batch_is_deleted_says_so(ours, lane):
    run = _make(ours)
    runs.go_on()
    RunPart.objects.update(batch=None)
    runs.go_on()
    run.refresh_from_db()
    assert run.state == "failed" and "was deleted" in run.error


def test_cancelled_while_its_batch_is_made_it_leaves_no_file(ours, lane, monkeypatch):
    run = _make(ours)
    real = runs.create_input

    def create_input(**wanted):
        made = real(**wanted)
        cancel_run(run=run)
        return made

    monkeypatch.setattr(runs, "create_input", create_input)
    runs.go_on()
    assert not Batch.objects.exists()
    assert not StoredFile.objects.filter(deleted_at=None).exists()


def test_after_a_failed_run_the_next_one_begins_at_once(ours, lane):
    first, second = _make(ours), _make(ours)
    runs.go_on()
    Batch.objects.update(state="failed")
    runs.go_on()
    first.refresh_from_db()
    assert first.state == "failed"
    assert second.parts.get(repeat=0).batch is not None


def test_a_run_without_a_good_answer_fails_with_what_was_refused(ours, engine):
    run = _make(ours, repeats=3)
    runs.go_on()
    engine.answer(Batch.objects.get(), refuse=8)
    runs.go_on()
    run.refresh_from_db()
    assert (run.state, run.figures, Batch.objects.count()) == ("failed", {}, 1)
    assert "the warm-up" in run.error and "It is too long." in run.error


def test_refused_requests_are_no_requests_a_second(ours, engine):
    run = _make(ours)
    for refuse in (0, 5):
        runs.go_on()
        engine.answer(run.parts.filter(measured_at=None).earliest("repeat").batch, refuse=refuse)
    runs.go_on()
    run.refresh_from_db()
    figures = run.figures
    assert (figures["success_rate"], figures["completed"], figures["failed"]) == (0.75, 15, 5)
    assert figures["requests_per_s"] == pytest.approx(15 / figures["duration_s"])


def test_a_repeat_whose_engine_was_lost_is_left_out_and_one_beside_others_is_told(ours, engine):
    run = _make(ours, repeats=4)
    for repeat, rate in enumerate((1_000, 1_000, 50_000, 3_000, 2_000)):
        runs.go_on()
        batch = run.parts.get(repeat=repeat).batch
        engine.tokens_per_s = rate
        engine.answer(batch)
        use = batch.lane_uses.get()
        if repeat == 1:
            batch.lane_uses.update(shared=True)
        if repeat == 2:
            use.pk, use.generation = None, use.generation + 1
            use.save()
    runs.go_on()
    run.refresh_from_db()
    assert run.state == "completed", run.error
    assert (run.figures["interrupted_repeats"], run.figures["shared_repeats"]) == ([2], [1])
    speed = next(one for one in METRICS if one.path == "steady.output_tokens_per_s")
    assert [round(rate) for rate in repeats_of(run, speed)] == [1_000, 3_000, 2_000]
    assert round(run.figures["steady"]["output_tokens_per_s"]) == 2_000
    interrupted, shared = disturbances_of(run)
    assert "repeat 2 an engine was lost" in interrupted and "repeat 1 the lane" in shared


def test_a_run_of_which_nothing_ran_through_has_no_figures(ours, engine, finish):
    run = _make(ours)
    for repeat in range(2):
        runs.go_on()
        batch = run.parts.get(repeat=repeat).batch
        engine.answer(batch)
        use = batch.lane_uses.get()
        use.pk, use.generation = None, use.generation + 1
        use.save()
    runs.go_on()
    run.refresh_from_db()
    assert (run.state, run.figures) == ("failed", {}) and "lost in the middle" in run.error


def test_answers_that_come_at_once_have_no_steady_part(ours, finish):
    run = finish(_make(ours), 1_000_000)
    assert "steady" not in run.figures and run.figures["output_tokens_per_s"] > 0
    assert plan(run.figures, requests=40).seconds == pytest.approx(2 * run.figures["duration_s"])


def test_what_a_run_waits_for_is_told(ours, lane, engine):
    first, second = _make(ours), _make(ours)
    runs.go_on()
    engine.answer(first.parts.get(repeat=0).batch)
    runs.go_on()
    waits = [waits_for(run, part_at_work(run)) for run in Run.objects.order_by("pk")]
    assert waits == ["validation", "the runs before it: one is at work at a time"]
    Worker.objects.update(heartbeat_at=timezone.now() - timedelta(hours=1))
    first, second = Run.objects.order_by("pk")
    for run in (first, second):
        assert "a worker: none" in (waits_for(run, part_at_work(run)) or "")
    assert "waits for a worker: none" in describe(first)


def test_reused_lines_have_no_part_in_rates(ours, finish):
    finish(_make(ours))
    batch = Batch.objects.get(metadata__repeat="1")
    whole = measure_batch(batch)
    last = list(batch.responses.order_by("-seq").values_list("pk", flat=True)[:10])
    batch.responses.filter(pk__in=last).update(reused=True, latency_ms=None)
    batch.reused, batch.reused_output_tokens = 10, 10 * 100
    found = measure_batch(batch)
    assert (found["reused"], found["output_tokens"]) == (10, 2_000)
    # Half of the answers in half of the time.
    assert found["duration_s"] == pytest.approx(whole["duration_s"] - 1.0, abs=0.05)
    assert found["output_tokens_per_s"] == pytest.approx(1_000 / found["duration_s"])


def test_a_fault_ends_the_run_and_the_next_one_begins(ours, lane, monkeypatch):
    broken, next_one = _make(ours), _make(ours)
    real = runs.create_input

    def create_input(**wanted):
        if not RunPart.objects.filter(run=broken, run__state="failed").exists():
            raise ZeroDivisionError("a fault of ours")
        return real(**wanted)

    monkeypatch.setattr(runs, "create_input", create_input)
    runs.go_on()
    broken.refresh_from_db()
    assert (broken.state, broken.error) == ("failed", "ZeroDivisionError: a fault of ours")
    assert next_one.parts.get(repeat=0).batch is not None


def test_answers_are_scored_and_a_price_makes_costs(ours, finish):
    checks = [{"kind": "json"}]
    run = finish(_make(ours, checks=checks, price_per_gpu_hour=36), text="no JSON")
    (score,) = run.scores
    assert (score["scored"], score["passed"], score["share"]) == (20, 0, 0)
    assert score["examples"] == [0, 1, 2, 3, 4]
    seconds = run.figures["duration_s"]
    assert run.figures["cost"] == pytest.approx(36 * seconds / 3_600)
    assert run.figures["cost_per_million_output_tokens"] == pytest.approx(
        run.figures["cost"] / 2_000 * 1e6
    )


def test_a_judge_is_asked_about_each_answer_in_a_batch_of_its_own(ours, finish, engine):
    run = finish(_make(ours, checks=[{"kind": "judge", "model": "small"}]), text="an answer")
    assert (run.state, run.judge_batch is not None) == ("scoring", True)
    assert not runs.anything_to_do()
    engine.answer(run.judge_batch, text='{"reason": "Fine.", "score": 7}')
    first = json.loads(bytes(run.judge_batch.requests.get(position=0).body))
    assert "an answer" in first["messages"][-1]["content"]
    assert runs.anything_to_do()
    runs.go_on()
    run.refresh_from_db()
    (score,) = run.scores
    assert (run.state, score["scored"], score["mean"], score["unread"]) == ("completed", 20, 7, 0)


def test_a_judge_that_says_no_score_scores_nothing(ours, finish, engine):
    run = finish(_make(ours, checks=[{"kind": "judge", "model": "small"}]))
    engine.answer(run.judge_batch, text="I like it.")
    runs.go_on()
    run.refresh_from_db()
    (score,) = run.scores
    assert (score["scored"], score["unread"], "mean" in score) == (0, 20, False)


@pytest.mark.parametrize(
    "check",
    [
        {"kind": "judge"},
        {"kind": "judge", "model": "unknown"},
        {"kind": "judge", "model": "small", "criteria": 5},
        {"kind": "judge", "model": "small", "strict": True},
    ],
)
def test_a_judge_that_cannot_be_asked_is_refused(ours, lane, check):
    with pytest.raises(CannotRun, match="judge|criteria"):
        _make(ours, checks=[check])


def test_a_workload_of_a_batch_outlives_it(ours, finish, http):
    from benchmarks.services.workloads import create_workload
    from benchmarks.workloads import workload_hash

    finish(_make(ours))
    batch = Batch.objects.get(metadata__repeat="1")
    own = create_workload(project=ours, name="mine", batch=batch)
    shipped = enter_shipped(project=ours, name="short-chat", requests=20)
    assert bytes(own.sha256) == bytes(shipped.sha256), "the same requests are the same workload"
    assert workload_hash([]) != bytes(own.sha256).hex()
    batch.delete()
    run = create_run(project=ours, workload=own, model_name="small")
    assert finish(run).state == "completed"
