"""An engine whose core hangs: it calls itself healthy and makes no token."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.stack import Stack, chat_lines, check_finished

pytestmark = pytest.mark.stack


@pytest.mark.torture
def test_an_engine_that_stalls_is_ended_and_its_lines_are_answered_by_the_next(
    make_stack: Callable[..., Stack],
) -> None:
    plan = {"latency_ms": 100, "max_concurrency": 8}
    stack = make_stack(models={"toy": plan}, env={"VBATCH_ENGINE_STALL_S": "4"})
    stack.start_web()
    stack.start_worker()
    lines = list(chat_lines(200))
    batch = stack.submit(lines)
    stack.wait(lambda: stack.state(batch)[2] > 30, 30, "some answers")
    stack.write_plan("toy", **plan, stalls=True)
    stack.wait(lambda: not stack.find("engine-core"), 30, "the engine to be ended")
    stack.write_plan("toy", **plan)
    assert stack.wait_ended(batch, 60) == "completed"
    assert not check_finished(stack, batch, lines).errors
    assert stack.engine_starts() == 2
