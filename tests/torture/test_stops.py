"""The worker is told to end, sleeps past its lease, or loses its database as it stops."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.stack import Stack, chat_line, chat_lines, check_finished
from tests.torture.care import (
    OF_WORKER,
    all_but_a_slow_line,
    finish_revived,
    kill_all,
    revive,
    wait_at_rest,
    wait_gone,
)
from tests.torture.door import asked_again, times_asked
from tests.torture.points import Point

pytestmark = pytest.mark.stack

ENDS_S = 30.0


def stop_worker(stack: Stack) -> None:
    """Stop it by SIGTERM: in time, with status 0, and with nobody left."""
    started = time.monotonic()
    assert stack.stop_process("worker", within_s=ENDS_S) == 0
    assert time.monotonic() - started < ENDS_S
    left = [p for p in stack.processes() if p.role in OF_WORKER or p.role == "supervisor"]
    assert not left, [str(p) for p in left]


def test_sigterm_lets_the_lines_in_flight_finish(torn: Stack) -> None:
    lines = list(chat_lines(400, prefix="drained"))
    batch = torn.submit(lines)
    torn.wait(lambda: torn.state(batch)[2] > 50, 30, "some answers")
    stop_worker(torn)
    assert torn.sql("SELECT 1 FROM jobs_chunk WHERE state = 'claimed'") == []
    answered = torn.state(batch)[2]
    assert answered == len(times_asked(torn, lines)), "a computed answer was thrown away"
    assert answered < 400
    finish_revived(torn, batch, lines)
    assert asked_again(torn, lines) == 0


@pytest.mark.torture
def test_sigterm_hands_back_lines_that_take_too_long(torn: Stack) -> None:
    batch, lines = all_but_a_slow_line(torn, "long", slow_s=90)
    stop_worker(torn)
    assert torn.sql("SELECT 1 FROM jobs_chunk WHERE state = 'claimed'") == []
    torn.client.batches.cancel(batch)
    assert torn.wait_ended(batch, 10) == "cancelled"
    results = check_finished(torn, batch, lines)
    assert list(results.errors) == ["slow"]
    revive(torn)


@pytest.mark.torture
def test_sigterm_during_an_engine_start(torn: Stack) -> None:
    wait_at_rest(torn)
    torn.write_plan("toy", start_delay_s=60)
    kill_all(torn.find("engine"))
    lines = list(chat_lines(20, prefix="starting"))
    batch = torn.submit(lines)
    torn.wait(
        lambda: torn.sql("SELECT 1 FROM jobs_lane WHERE engine_state = 'starting'"),
        30,
        "an engine that starts",
    )
    stop_worker(torn)
    assert torn.state(batch)[0] == "in_progress"
    torn.write_plan("toy")
    finish_revived(torn, batch, lines)
    assert asked_again(torn, lines) == 0


@pytest.mark.torture
def test_second_sigterm_ends_at_once(torn: Stack) -> None:
    batch, lines = all_but_a_slow_line(torn, "twice", slow_s=6)
    (supervisor,) = torn.find("supervisor")
    os.kill(supervisor.pid, signal.SIGTERM)
    time.sleep(1)
    assert torn.is_running("worker"), "it did not wait for the line in flight"
    started = time.monotonic()
    os.kill(supervisor.pid, signal.SIGTERM)
    wait_gone(torn, lambda p: p.role in OF_WORKER or p.role == "supervisor", 5)
    assert time.monotonic() - started < 5
    finish_revived(torn, batch, lines)
    assert asked_again(torn, lines) == 1


def test_task_that_was_stopped_past_its_lease_cannot_commit(torn: Stack) -> None:
    """Another worker takes its chunk over; what it has when it wakes up is refused."""
    lines = list(chat_lines(60, prefix="asleep"))
    lines += [chat_line("slow", "STUB:SLEEP:3 slowly, asleep")]
    torn.start_worker(name="second", env={"VBATCH_HOST_NAME": "second"})
    try:
        batch = torn.submit(lines)
        (key,) = torn.sql("SELECT id FROM jobs_batch WHERE public_id = %s", batch)[0]
        torn.wait(lambda: torn.state(batch)[2] == 60, 40, "all but the slow line")
        owner, queue = torn.sql(
            "SELECT l.id, l.queue FROM jobs_chunk c JOIN jobs_lane l ON l.id = c.owner_id "
            "WHERE c.batch_id = %s AND c.state = 'claimed'",
            key,
        )[0]
        (sleeper,) = torn.find("lane-task", queue=queue)
        os.kill(sleeper.pid, signal.SIGSTOP)
        try:
            # Its answer comes meanwhile; the other lane claims the line and computes it again.
            torn.wait(lambda: times_asked(torn, lines)["slow"] == 2, 30, "the line taken over")
        finally:
            # Awake again, it is the first to have the answer.
            os.kill(sleeper.pid, signal.SIGCONT)
        torn.wait_ended(batch)
        check_finished(torn, batch, lines)
        (lane,) = torn.sql(
            "SELECT a.lane_id FROM jobs_batchresponse a JOIN jobs_batchrequest r "
            "ON r.id = a.request_id WHERE r.custom_id = 'slow' AND a.batch_id = %s",
            key,
        )[0]
        assert lane != owner, "a task that had lost its lease committed"
    finally:
        torn.stop_process("second")


@pytest.mark.torture
def test_database_killed_while_the_task_ends(torn: Stack) -> None:
    lines = list(chat_lines(20, prefix="ending"))
    wait_at_rest(torn)
    ending = Point(
        torn, "jobs_lane", "BEFORE UPDATE", when="OLD.task_token <> '' AND NEW.task_token = ''"
    )
    with ending:
        batch = torn.submit(lines)
        torn.wait_ended(batch)
        ending.wait_reached()
        kill_all(torn.find("postgres"))
    more = list(chat_lines(20, prefix="after the end"))
    second = torn.submit(more)
    assert torn.wait_ended(second, 40) == "completed"
    check_finished(torn, batch, lines)
    check_finished(torn, second, more)


def test_sigterm_right_after_the_database_died(torn: Stack) -> None:
    """The database comes back with the next connection, and the worker drains as ever."""
    lines = list(chat_lines(300, prefix="both ends"))
    batch = torn.submit(lines)
    torn.wait(lambda: torn.state(batch)[2] > 20, 30, "some answers")
    kill_all(torn.find("postgres"))
    stop_worker(torn)
    # A claim whose answer was lost with the database may stand until its lease runs out.
    finish_revived(torn, batch, lines)
    assert asked_again(torn, lines) == 0
