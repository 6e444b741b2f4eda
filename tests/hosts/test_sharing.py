"""Two workers with data folders of their own share a batch, and one may vanish."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.stack import Stack, chat_lines, check_finished
from tests.stack.hosts import Host, answers_by_worker, longest_standstill_s

pytestmark = pytest.mark.stack

LINES = 2_000
LEASE_S = 15.0
# Claiming what was given up, and the engine's own time for it.
AND_THEN_S = 5.0


def test_a_host_that_is_killed_costs_a_lease_and_no_line(
    stack: Stack, make_host: Callable[..., Host]
) -> None:
    one, two = make_host("one"), make_host("two")
    one.start()
    two.start()
    lines = list(chat_lines(LINES, prefix="shared"))
    batch = stack.submit(lines)
    stack.wait(
        lambda: min(answers_by_worker(stack, batch).get(name, 0) for name in ("one", "two")) > 100,
        60,
        "answers of both hosts",
    )
    one.kill()
    assert stack.state(batch)[2] < LINES, "it was killed too late"
    assert stack.wait_ended(batch, 90) == "completed"
    results = check_finished(stack, batch, lines)
    assert len(results.output) == LINES and not results.errors
    assert longest_standstill_s(stack, batch) < LEASE_S + AND_THEN_S
    answered = answers_by_worker(stack, batch)
    assert sum(answered.values()) == LINES
    # What was in the killed engine, and a group on its way, was computed again; no more.
    assert stack.computed_again() <= 3 * 16 + 128
