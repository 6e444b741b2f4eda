"""Equal lines are computed once, whatever happens meanwhile, and only for who may share them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.stack import Stack, chat_line, check_finished

pytestmark = pytest.mark.stack


def twice(count: int, prefix: str, **body: Any) -> list[dict[str, Any]]:
    """Return `count` lines, of which each second one asks what the one before it does."""
    body = {"temperature": 0, **body}
    return [chat_line(f"{prefix}-{n}", f"{prefix} {n // 2}", **body) for n in range(count)]


def computed(stack: Stack, lines: list[dict[str, Any]], **options: Any) -> int:
    """Run a batch of the lines to its end; return how often the engine was asked meanwhile."""
    before = stack.door().total()
    batch = stack.submit(lines, **options)
    assert stack.wait_ended(batch, 60) == "completed"
    assert not check_finished(stack, batch, lines).errors
    return stack.door().total() - before


def test_equal_lines_are_computed_once_within_and_across_batches(stack: Stack) -> None:
    stack.write_plan("toy", latency_ms=20, max_concurrency=32)
    lines = twice(600, "shared")
    before = stack.door().total()
    batch = stack.submit(lines)
    assert stack.wait_ended(batch, 60) == "completed"
    check_finished(stack, batch, lines)
    assert stack.door().total() - before == 300
    shown = stack.client.batches.retrieve(batch).to_dict()
    half = {name: shown["usage"][name] // 2 for name in ("input_tokens", "output_tokens")}
    assert shown["savings"] == {"requests": 300, **half}
    assert computed(stack, lines) == 0
    # The order of keys in a body is not looked through, nor is another parameter.
    assert computed(stack, twice(20, "shared", top_p=0.5)) == 10


def test_whoever_asks_for_it_gets_every_line_computed(stack: Stack) -> None:
    lines = twice(100, "anew")
    assert computed(stack, lines) == 50
    assert computed(stack, lines, extra_body={"reuse_answers": False}) == 100
    drawn = [chat_line(f"drawn-{n}", "the same") for n in range(10)]
    assert computed(stack, drawn) == 10


def test_another_project_gets_no_answer(stack: Stack) -> None:
    lines = twice(40, "secret")
    assert computed(stack, lines) == 20
    own = stack.key
    stack.key = stack.manage("createapikey", "test", "--project", "other").strip()
    try:
        assert computed(stack, lines) == 20
    finally:
        stack.key = own


@pytest.mark.torture
def test_a_lane_task_killed_in_the_middle_loses_and_doubles_nothing(
    make_stack: Callable[..., Stack],
) -> None:
    plan = {"latency_ms": 200, "max_concurrency": 16, "engine_args": "--max-num-seqs 16"}
    stack = make_stack(models={"toy": plan})
    stack.start_web()
    stack.start_worker()
    lines = twice(800, "killed")
    batch = stack.submit(lines)
    for _ in range(2):
        answered = stack.state(batch)[2]
        stack.wait(lambda n=answered: stack.state(batch)[2] > n + 50, 30, "some answers")
        assert stack.kill("lane-task", queue="stack-cpu")
    assert stack.wait_ended(batch, 60) == "completed"
    assert not check_finished(stack, batch, lines).errors
    # Those in flight, and one group that was not yet committed, each time.
    assert 400 <= stack.door().total() <= 400 + 2 * (20 + 100)
    (reused,) = stack.sql("SELECT reused FROM jobs_batch WHERE public_id = %s", batch)[0]
    assert reused == 800 - len(_by_lane(stack, batch))


def _by_lane(stack: Stack, batch: str) -> list[Any]:
    return stack.sql(
        "SELECT a.request_id FROM jobs_batchresponse a JOIN jobs_batch b ON b.id = a.batch_id "
        "WHERE b.public_id = %s AND a.lane_id IS NOT NULL",
        batch,
    )


@pytest.mark.torture
def test_equal_lines_that_kill_the_engine_hurt_nobody_else(
    make_stack: Callable[..., Stack],
) -> None:
    plan = {"latency_ms": 50, "max_concurrency": 16, "engine_args": "--max-num-seqs 16"}
    stack = make_stack(models={"toy": plan})
    stack.start_web()
    stack.start_worker()
    killers = [chat_line(f"kills-{n}", "STUB:DIE", temperature=0) for n in range(3)]
    lines = [*twice(20, "good"), *killers, *twice(20, "more")]
    batch = stack.submit(lines)
    assert stack.wait_ended(batch, 120) == "completed"
    results = check_finished(stack, batch, lines)
    assert set(results.errors) == {"kills-0", "kills-1", "kills-2"}
    assert results.error_code("kills-0") == "engine_crashed"
    # Each dies twice alone, and together they die a few times before.
    assert stack.engine_starts() <= 1 + 2 * 3 + 4
