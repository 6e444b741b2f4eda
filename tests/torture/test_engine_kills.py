"""Engines that die, hang in their start, do not start, or are killed by a line."""

from __future__ import annotations

import pytest

from tests.stack import Process, Stack, chat_line, chat_lines, check_finished
from tests.torture.care import kill_all, of_worker, revive, wait_at_rest
from tests.torture.door import asked_again, times_asked
from tests.torture.points import Point

pytestmark = pytest.mark.stack


def end_engine(stack: Stack) -> None:
    """Let the lane have no engine, as after a start of the worker."""
    wait_at_rest(stack)
    kill_all([*stack.find("engine"), *stack.find("engine-core")])
    stack.wait(
        lambda: (
            not stack.find("engine")
            and not stack.sql(
                "SELECT 1 FROM jobs_lane WHERE engine_state NOT IN ('stopped', 'died') AND active"
            )
        ),
        10,
        "the engine to be gone",
    )


def wait_starting(stack: Stack) -> None:
    stack.wait(
        lambda: (
            stack.sql("SELECT 1 FROM jobs_lane WHERE engine_state = 'starting'")
            and stack.find("engine-core")
        ),
        30,
        "an engine that starts",
    )


def victims(stack: Stack, role: str) -> list[Process]:
    if role == "group":
        return of_worker(stack)
    return stack.find(role, queue="stack-cpu" if role == "lane-task" else None)


@pytest.mark.parametrize(
    "role",
    [
        "lane-task",
        *[
            pytest.param(role, marks=pytest.mark.torture)
            for role in ("supervisor", "engine", "engine-core", "group")
        ],
    ],
)
def test_killed_during_an_engine_start(torn: Stack, role: str) -> None:
    end_engine(torn)
    torn.write_plan("toy", start_delay_s=3)
    lines = list(chat_lines(20, prefix=f"start-{role}"))
    batch = torn.submit(lines)
    wait_starting(torn)
    starts = torn.engine_starts()
    kill_all(victims(torn, role))

    def ended() -> bool:
        revive(torn)
        return torn.state(batch)[0] == "completed"

    torn.wait(ended, 60, lambda: f"the end of {batch}, which is {torn.state(batch)}")
    check_finished(torn, batch, lines)
    assert asked_again(torn, lines) == 0
    # An engine that starts survives its lane's task: nothing is loaded twice without need.
    assert torn.engine_starts() - starts == (0 if role == "lane-task" else 1)


@pytest.mark.parametrize("role", ["engine-core", pytest.param("engine", marks=pytest.mark.torture)])
def test_engine_killed_in_mid_generation(torn: Stack, role: str) -> None:
    lines = list(chat_lines(20, prefix=f"mid-{role}"))
    lines += [chat_line("slow", f"STUB:SLEEP:2 slowly {role}")]
    batch = torn.submit(lines)
    torn.wait(lambda: torn.state(batch)[2] == 20, 30, "all but the slow line")
    kill_all(torn.find(role))
    torn.wait_ended(batch)
    check_finished(torn, batch, lines)
    asked = times_asked(torn, lines)
    assert asked.pop("slow") == 2
    assert set(asked.values()) == {1}, "a committed line was computed again"


def test_line_that_kills_the_engine_hurts_only_itself(torn: Stack) -> None:
    lines = list(chat_lines(255, prefix="beside"))
    lines.insert(100, chat_line("poison", "STUB:DIE"))
    starts = torn.engine_starts()
    batch = torn.submit(lines)
    assert torn.wait_ended(batch, 90) == "completed"
    results = check_finished(torn, batch, lines)
    assert len(results.output) == 255
    assert list(results.errors) == ["poison"]
    assert results.error_code("poison") == "engine_crashed"
    # The window of 40, an eighth of it (5), then 1, which has to do it twice.
    # One more where no engine was loaded before.
    assert torn.engine_starts() - starts <= 5
    assert times_asked(torn, lines)["poison"] == 4


def test_database_and_engine_die_together(torn: Stack) -> None:
    """The engine's end could not be written down when it was noticed: it is noticed again."""
    lines = list(chat_lines(20, prefix="both"))
    lines += [chat_line("slow", "STUB:SLEEP:3 slowly, both")]
    batch = torn.submit(lines)
    torn.wait(lambda: torn.state(batch)[2] == 20, 30, "all but the slow line")
    with Point(
        torn, "jobs_lane", "BEFORE UPDATE", when="NEW.engine_pid IS NULL AND OLD.engine_pid > 0"
    ) as noted:
        kill_all(torn.find("engine"))
        noted.wait_reached()
        kill_all(torn.find("postgres"))
    torn.wait_ended(batch, 60)
    check_finished(torn, batch, lines)


@pytest.mark.torture
def test_engine_that_does_not_start_says_why_and_another_model_runs_meanwhile(
    torn: Stack,
) -> None:
    end_engine(torn)
    reason = "CUDA out of memory. Tried to allocate 14.00 GiB."
    torn.write_plan("toy", start_fails=f"torch.OutOfMemoryError: {reason}")
    lines = list(chat_lines(20, prefix="unstartable"))
    batch = torn.submit(lines)

    def told() -> bool:
        waiting = torn.client.batches.retrieve(batch).model_extra["waiting_for"] or ""
        return "could not start" in waiting and reason in waiting and "next try at" in waiting

    torn.wait(told, 30, "the reason on the batch")
    others = list(chat_lines(20, prefix="meanwhile", model="other"))
    other = torn.submit(others)
    assert torn.wait_ended(other, 30) == "completed"
    check_finished(torn, other, others)
    assert torn.state(batch)[0] == "in_progress"
    torn.wait(
        lambda: torn.sql("SELECT max(failures) FROM jobs_lanemodel")[0][0] >= 2, 30, "a second try"
    )
    waits = torn.sql("SELECT failures, retry_at > now() FROM jobs_lanemodel WHERE failures > 0")
    assert len(waits) == 1, f"another model is withheld too: {waits}"
    torn.write_plan("toy")
    torn.wait_ended(batch, 60)
    check_finished(torn, batch, lines)
    assert torn.sql("SELECT 1 FROM jobs_lanemodel WHERE failures > 0") == []


@pytest.mark.torture
def test_two_models_swap_on_one_lane(torn: Stack) -> None:
    """One engine at a time: the first one is gone before the second is started."""
    seen: set[tuple[str, ...]] = set()
    batches = []
    for turn in range(2):
        for model in ("toy", "other"):
            lines = list(chat_lines(15, prefix=f"swap-{turn}", model=model))
            batches.append((torn.submit(lines), lines, model))

    def all_ended() -> bool:
        engines = [p for p in torn.processes() if p.role in ("engine", "engine-core")]
        folders = {a for p in engines for a in p.args if a.startswith(str(torn.folder))}
        seen.add(tuple(sorted(f for f in folders if "/models/" in f)))
        return all(torn.state(batch)[0] == "completed" for batch, _, _ in batches)

    torn.wait(all_ended, 60, "all four batches")
    assert max(len(models) for models in seen) == 1, f"two engines at once: {seen}"
    assert len({models for models in seen if models}) == 2
    for batch, lines, model in batches:
        check_finished(torn, batch, lines)
        assert asked_again(torn, lines, model=model) == 0
