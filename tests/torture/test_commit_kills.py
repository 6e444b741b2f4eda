"""The lane's task is killed at each step of a chunk's life: what is committed counts once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stack import Process, Stack, chat_line, chat_lines, check_finished
from tests.torture.care import all_but_a_slow_line, kill_all, run_python, wait_at_rest
from tests.torture.door import asked_again, times_asked
from tests.torture.points import Point

pytestmark = pytest.mark.stack

LANE = "stack-cpu"


def lane_task(stack: Stack) -> Process:
    (task,) = stack.find("lane-task", queue=LANE)
    return task


def kill_at(stack: Stack, point: Point, lines: list[dict[str, Any]]) -> tuple[str, str]:
    """Submit `lines`, kill the lane's task while it is held at `point`, and let the rest go on.

    Returns the batch's id and its state while the task was held.
    """
    with point:
        batch = stack.submit(lines)
        point.wait_reached()
        state = stack.state(batch)[0]
        kill_all([lane_task(stack)])
        point.let_go()
        stack.wait_ended(batch)
    return batch, state


@pytest.mark.torture
def test_killed_after_the_call_and_before_the_start(torn: Stack) -> None:
    lines = list(chat_lines(30, prefix="called"))
    starting = Point(
        torn,
        "jobs_lane",
        "BEFORE UPDATE",
        when="OLD.task_token = '' AND NEW.task_token <> ''",
    )
    wait_at_rest(torn)
    batch, state = kill_at(torn, starting, lines)
    assert state == "in_progress"
    check_finished(torn, batch, lines)
    assert asked_again(torn, lines) == 0


@pytest.mark.torture
def test_killed_after_a_claim_and_before_the_first_request(torn: Stack) -> None:
    lines = list(chat_lines(30, prefix="claimed"))
    claim = Point(torn, "jobs_chunk", "AFTER UPDATE", when="NEW.attempt > OLD.attempt")
    batch, _ = kill_at(torn, claim, lines)
    check_finished(torn, batch, lines)
    assert asked_again(torn, lines) == 0


def test_killed_in_mid_generation(torn: Stack) -> None:
    batch, lines = all_but_a_slow_line(torn, "generating", slow_s=2)
    assert times_asked(torn, lines)["slow"] == 1
    kill_all([lane_task(torn)])
    torn.wait_ended(batch)
    check_finished(torn, batch, lines)
    asked = times_asked(torn, lines)
    assert asked.pop("slow") == 2
    assert set(asked.values()) == {1}, "a committed line was computed again"


@pytest.mark.torture
def test_killed_before_a_commit(torn: Stack) -> None:
    lines = list(chat_lines(30, prefix="before"))
    insert = Point(torn, "jobs_batchresponse", "BEFORE INSERT")
    with insert:
        batch = torn.submit(lines)
        insert.wait_reached()
        kill_all([lane_task(torn)])
        assert torn.state(batch)[2:] == (0, 0), "an answer counts before it is committed"
        # Let go, the statement is done for a client that has gone: it must not be kept.
        insert.let_go()
        torn.wait_ended(batch)
    check_finished(torn, batch, lines)
    assert 0 < asked_again(torn, lines) <= 30


def test_killed_inside_a_commit_after_all_was_written(torn: Stack) -> None:
    """The COMMIT was sent and its answer never came: the group counts, and only once."""
    lines = list(chat_lines(30, prefix="inside"))
    commit = Point(torn, "jobs_batchresponse", "AFTER INSERT", at_commit=True)
    with commit:
        batch = torn.submit(lines)
        commit.wait_reached()
        uncommitted = times_asked(torn, lines)
        kill_all([lane_task(torn)])
        assert torn.state(batch)[2:] == (0, 0), "an answer counts before it is committed"
        commit.let_go()
        torn.wait(lambda: torn.state(batch)[2] > 0, 10, "the commit without its client")
        kept = torn.state(batch)[2]
        torn.wait_ended(batch)
    check_finished(torn, batch, lines)
    assert asked_again(torn, lines) <= uncommitted.total() - kept


def test_killed_right_after_a_commit(torn: Stack) -> None:
    lines = list(chat_lines(300, prefix="after"))
    # The task says each second that it is at work: after a commit and before anything else.
    told = Point(
        torn,
        "jobs_lane",
        "BEFORE UPDATE",
        when="OLD.task_token <> '' AND NEW.task_seen_at > OLD.task_seen_at",
    )
    batch = torn.submit(lines)
    torn.wait(lambda: torn.state(batch)[2] > 0, 30, "a first commit")
    with told:
        told.wait_reached()
        committed = torn.state(batch)[2]
        assert committed < 300, "it was held too late"
        kill_all([lane_task(torn)])
        told.let_go()
        torn.wait_ended(batch)
    check_finished(torn, batch, lines)
    assert asked_again(torn, lines) <= 300 - committed, "a committed line was computed again"


@pytest.mark.torture
def test_killed_after_the_last_line_and_before_its_commit(torn: Stack) -> None:
    lines = list(chat_lines(20, prefix="last"))
    lines += [chat_line("slow", "STUB:SLEEP:1.5 slowly")]
    batch = torn.submit(lines)
    torn.wait(lambda: torn.state(batch)[2] == 20, 30, "all but the last line")
    with Point(torn, "jobs_batchresponse", "BEFORE INSERT") as insert:
        insert.wait_reached()
        kill_all([lane_task(torn)])
        insert.let_go()
        torn.wait_ended(batch)
    check_finished(torn, batch, lines)
    assert times_asked(torn, lines)["slow"] == 2
    assert asked_again(torn, lines) == 1


@pytest.mark.torture
@pytest.mark.parametrize(
    "new_state", ["finalizing", pytest.param("completed", marks=pytest.mark.torture)]
)
def test_killed_inside_finishing(torn: Stack, new_state: str) -> None:
    lines = list(chat_lines(30, prefix=f"at-{new_state}"))
    step = Point(torn, "jobs_batchevent", "BEFORE INSERT", when=f"NEW.new_state = '{new_state}'")
    batch, state = kill_at(torn, step, lines)
    assert state == "in_progress", "half of the finishing was visible"
    check_finished(torn, batch, lines)


def test_doubled_calls_and_sweeps_change_nothing(torn: Stack) -> None:
    lines = list(chat_lines(200, prefix="doubled"))
    batch = torn.submit(lines)
    call = (
        "import django; django.setup()\n"
        "from django_q.tasks import async_task\n"
        "from jobs.models import Lane\n"
        f"lane = Lane.objects.get(queue='{LANE}')\n"
        "async_task('jobs.tasks.run_lane', lane.pk, cluster=lane.queue,\n"
        "           q_options={'timeout': -1, 'ack_failure': True, 'save': False})\n"
        "for _ in range(2):\n"
        "    async_task('jobs.tasks.sweep', cluster='control')\n"
        "    async_task('jobs.tasks.validate', %d, cluster='control')\n"
    )
    (key,) = torn.sql("SELECT id FROM jobs_batch WHERE public_id = %s", batch)[0]
    run_python(torn, call % key)
    torn.wait_ended(batch)
    check_finished(torn, batch, lines)
    assert asked_again(torn, lines) == 0
    # The calls that came too late end by themselves, one after the other.
    torn.wait(
        lambda: not torn.sql("SELECT 1 FROM django_q_ormq WHERE key = %s", LANE),
        60,
        "the lane's queue to be empty",
    )
