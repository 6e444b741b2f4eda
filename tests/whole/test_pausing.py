"""A batch that is paused in mid-run: its lane goes on with others, and then with the rest of it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from openai.types import Batch

from tests.stack import Stack, chat_lines, check_finished

pytestmark = pytest.mark.stack

WINDOW = 8


@pytest.mark.torture
def test_a_batch_paused_in_mid_run_goes_on_where_it_stood(
    make_stack: Callable[..., Stack],
) -> None:
    plan = {"latency_ms": 200, "max_concurrency": WINDOW}
    args = {"engine_args": f"--max-num-seqs {WINDOW}"}
    stack = make_stack(models={"toy": {**plan, **args}})
    stack.start_web()
    stack.start_worker()
    lines, others = list(chat_lines(200)), list(chat_lines(300, prefix="other"))
    batch, other = stack.submit(lines), stack.submit(others)
    stack.wait(lambda: stack.state(batch)[2] > 20, 30, "some answers")
    paused = stack.client.post(f"/batches/{batch}/pause", cast_to=Batch)
    assert paused.status == "in_progress" and paused.to_dict()["paused_at"]
    # The lane is told with its next commit, and gives back what it holds with it.
    stack.wait(lambda: not _claimed(stack, batch), 3, "its chunks to be given back")
    answered = stack.state(batch)[2]
    stack.wait(lambda: stack.state(other)[2] > 60, 30, "answers to another batch")
    assert stack.state(batch) == ("in_progress", 200, answered, 0)
    shown = stack.client.batches.retrieve(batch)
    assert "is paused" in shown.to_dict()["waiting_for"]
    stack.client.post(f"/batches/{batch}/resume", cast_to=Batch)
    resumed_at = time.monotonic()
    stack.wait(lambda: stack.state(batch)[2] > answered, 10, "work to go on")
    # Long before the lease of the lane would have run out.
    assert time.monotonic() - resumed_at < 8
    assert stack.wait_ended(batch) == "completed"
    assert not check_finished(stack, batch, lines).errors
    stack.wait_ended(other)
    assert not check_finished(stack, other, others).errors
    # What was in flight, and what was finished while the lane was being told.
    assert 0 < stack.computed_again() <= 3 * WINDOW
    assert stack.engine_starts() == 1


def _claimed(stack: Stack, batch: str) -> int:
    (count,) = stack.sql(
        "SELECT count(*) FROM jobs_chunk c JOIN jobs_batch b ON b.id = c.batch_id "
        "WHERE b.public_id = %s AND c.state = 'claimed'",
        batch,
    )[0]
    return int(count)
