"""The test stack itself: it runs batches, tells processes apart, and finds what is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stack import Stack, chat_line, chat_lines, check_finished, check_nobody_left

pytestmark = pytest.mark.stack

SPOILED = {
    "refused": ("STUB:STATUS:400", "BadRequestError"),
    "not-json": ("STUB:NOTJSON", "invalid_response"),
}
UNUSUAL = ["STUB:NUL", "STUB:SURROGATE", "STUB:BIGKEY", "STUB:PRETTY", "STUB:STATUS:503:1"]


def test_batch_of_good_and_odd_lines_ends_with_each_line_answered_once(stack: Stack) -> None:
    lines = list(chat_lines(50))
    lines += [chat_line(name, f"{name}: {mark}") for name, (mark, _) in SPOILED.items()]
    lines += [chat_line(mark, f"odd: {mark}") for mark in UNUSUAL]
    batch = stack.submit(lines)
    assert stack.wait_ended(batch) == "completed"
    results = check_finished(stack, batch, lines)
    assert set(results.errors) == set(SPOILED)
    for name, (_, code) in SPOILED.items():
        assert results.error_code(name) == code
    # One was refused at first and asked again; nothing else came to the door twice.
    assert stack.computed_again() == 1
    assert stack.engine_starts() == 1


def test_processes_are_told_apart_by_what_they_do(stack: Stack) -> None:
    batch = stack.submit(list(chat_lines(3, prefix="roles")))
    stack.wait_ended(batch)
    found = Counter((process.role, process.queue) for process in stack.processes())
    single = {role: found[role, ""] for role in ("web", "supervisor", "sampler", "postgres")}
    assert single == {"web": 1, "supervisor": 1, "sampler": 1, "postgres": 1}
    for queue in ("control", "stack-cpu", "stack-upstream"):
        for role in ("guard", "q-main", "q-sentinel", "q-monitor", "q-pusher"):
            assert found[role, queue] == 1, (role, queue)
    assert found["q-worker", "control"] == 2
    assert found["lane-task", "stack-cpu"] == 1
    assert found["engine", ""] == found["engine-core", ""] == 1
    assert not [key for key in found if key[0] in ("other", "q", "q-orphan")]


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ("UPDATE jobs_batch SET completed = completed - 1, failed = 1", "4 answers and 0 errors"),
        ("UPDATE jobs_batch SET input_tokens = input_tokens + 1", "usage"),
        ("UPDATE jobs_batch SET output_bytes = output_bytes - 1", "is cut|bytes"),
        ("UPDATE jobs_batch SET last_seq = last_seq + 1", "seq"),
        ("DELETE FROM jobs_batchresponse WHERE seq = 2 AND", "missing|bytes"),
        ("UPDATE jobs_batchevent SET old_state = 'failed'", "chain"),
        (
            "UPDATE jobs_batchresponse SET body = (SELECT o.body FROM jobs_batchresponse o "
            "WHERE o.batch_id = jobs_batchresponse.batch_id AND o.seq = 1)",
            "another",
        ),
    ],
)
def test_what_is_wrong_with_a_batch_is_found(stack: Stack, wrong: str, found: str) -> None:
    lines = list(chat_lines(4, prefix="wrong"))
    batch = stack.submit(lines)
    stack.wait_ended(batch)
    check_finished(stack, batch, lines)
    column = "public_id" if "UPDATE jobs_batch " in wrong else "batch_id"
    (key,) = stack.sql("SELECT id FROM jobs_batch WHERE public_id = %s", batch)[0]
    where = "" if wrong.endswith("AND") else "WHERE"
    stack.sql(f"{wrong} {where} {column} = %s", batch if column == "public_id" else key)
    with pytest.raises(Exception, match=found):
        check_finished(stack, batch, lines)


def test_leaving_tells_of_a_process_that_was_left_over(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="left over"), Stack(tmp_path / "stack") as stack:
        # As a renamed process would be: no marker in its environment, but its log is open.
        with (stack.data_dir / "log.txt").open("w") as log:
            stray = subprocess.Popen(["sleep", "60"], env={}, stderr=log)
        assert [p.pid for p in stack.processes() if p.role == "other"] == [stray.pid]
    assert stray.wait(5) == -signal.SIGKILL


@pytest.mark.torture
def test_stopping_the_worker_leaves_nothing_of_it(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack()
    stack.start_web()
    stack.start_worker()
    lines = list(chat_lines(20))
    batch = stack.submit(lines)
    stack.wait_ended(batch)
    engine = stack.find("engine")[0]
    assert stack.stop_process("worker") == 0
    stack.stop_process("web")
    check_nobody_left(stack)
    stack.wait(lambda: not _group_exists(engine.group), 10, "the engine's group to be gone")


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_killed_supervisor_takes_everything_along_and_a_new_one_goes_on(
    make_stack: Callable[..., Stack],
) -> None:
    stack = make_stack(models={"toy": {"latency_ms": 300, "engine_args": "--max-num-seqs 16"}})
    stack.start_web()
    stack.start_worker()
    lines = list(chat_lines(150))
    batch = stack.submit(lines)
    stack.wait(lambda: stack.state(batch)[2] > 20, 30, "some answers")
    killed = stack.kill("supervisor")
    assert killed is not None
    stack.forget("worker")
    worker_roles = ("guard", "engine", "engine-core", "lane-task", "q-main", "q-sentinel")
    stack.wait(
        lambda: not [p for p in stack.processes() if p.role in worker_roles],
        5,
        "the end of all that the supervisor had started",
    )
    answered = stack.state(batch)[2]
    started = time.monotonic()
    stack.start_worker()
    stack.wait(lambda: stack.state(batch)[2] > answered, 30, "work to go on")
    assert time.monotonic() - started < 30
    assert stack.wait_ended(batch) == "completed"
    check_finished(stack, batch, lines)
    # At most those in flight (20 in the window) and one group that was not committed yet.
    assert stack.computed_again() <= 20 + 512
    assert stack.engine_starts() == 2
