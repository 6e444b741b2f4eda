"""Models whose answers come from somebody else's server, which refuses, breaks off and returns."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stack import Stack, chat_line, chat_lines, check_finished
from tests.stack.upstream import Upstream

pytestmark = pytest.mark.stack

ENV = {"VBATCH_REQUEST_TRIES": "2", "VBATCH_REQUEST_TIMEOUT_S": "3"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Upstream]]:
    folder = tmp_path_factory.mktemp("upstream")
    with Stack(folder, models={}, env=ENV) as stack, Upstream(stack) as upstream:
        stack.save_model(
            "far", upstream_url=upstream.url, upstream_model="remote", upstream_concurrency=32
        )
        stack.start_web()
        stack.start_worker("--no-gpu")
        yield stack, upstream


@pytest.fixture
def far(shared: tuple[Stack, Upstream]) -> tuple[Stack, Upstream]:
    """The product and its upstream, which answers, and whose earlier failures are forgotten."""
    stack, upstream = shared
    stack.write_plan("remote")
    stack.sql("DELETE FROM jobs_lanemodel")
    return shared


def waits_for(stack: Stack, batch: str) -> str:
    found = stack.client.batches.retrieve(batch).model_extra or {}
    return found.get("waiting_for") or ""


def test_an_upstream_that_goes_away_pauses_its_lines(far: tuple[Stack, Upstream]) -> None:
    stack, upstream = far
    stack.write_plan("remote", latency_ms=100, max_concurrency=16)
    lines = list(chat_lines(400, model="far"))
    batch = stack.submit(lines)
    stack.wait(lambda: stack.state(batch)[2] > 50, 30, "some answers")
    upstream.stop()
    stack.wait(lambda: f"{upstream.url}, which is away" in waits_for(stack, batch), 20, "a reason")
    assert "no answer" in waits_for(stack, batch)
    state, _, completed, failed = stack.state(batch)
    assert (state, failed) == ("in_progress", 0)
    assert completed < 400
    # As many tries as a line has: none of them counts.
    stack.wait(
        lambda: stack.sql("SELECT 1 FROM jobs_lanemodel WHERE failures >= 2"), 60, "two tries"
    )
    assert stack.state(batch)[3] == 0
    stack.write_plan("remote", latency_ms=500, max_concurrency=16)
    upstream.start()
    # It is forgotten that it was away once it answers, not only when the run is over.
    known = "SELECT failures, last_error FROM jobs_lanemodel"
    stack.wait(lambda: stack.sql(known) == [(0, "")], 30, "its failures to be forgotten")
    assert stack.state(batch)[0] == "in_progress"
    stack.write_plan("remote")
    assert stack.wait_ended(batch, 60) == "completed"
    assert not check_finished(stack, batch, lines).errors


@pytest.mark.parametrize("status", [401, 500])
def test_an_upstream_that_refuses_everybody_pauses_its_lines(
    far: tuple[Stack, Upstream], status: int
) -> None:
    stack, _ = far
    stack.write_plan("remote", refuse_status=status)
    lines = list(chat_lines(20, model="far", prefix=f"refused-{status}"))
    batch = stack.submit(lines)
    stack.wait(lambda: f"HTTP {status}" in waits_for(stack, batch), 20, "a reason")
    assert stack.state(batch)[2:] == (0, 0)
    stack.write_plan("remote")
    assert stack.wait_ended(batch, 30) == "completed"
    assert not check_finished(stack, batch, lines).errors


def test_503_never_fails_a_line(far: tuple[Stack, Upstream]) -> None:
    stack, _ = far
    stack.write_plan("remote", refuse_status=503, retry_after_s=0.2)
    lines = list(chat_lines(8, model="far", prefix="busy"))
    before = asked(stack)
    batch = stack.submit(lines)
    # Each line came more often than it may be tried.
    stack.wait(lambda: asked(stack) - before >= 5 * 8, 30, "many tries")
    assert stack.state(batch)[2:] == (0, 0)
    stack.write_plan("remote")
    assert stack.wait_ended(batch, 30) == "completed"
    assert not check_finished(stack, batch, lines).errors


def asked(stack: Stack) -> int:
    path = stack.model_dir("remote") / "door.log"
    return path.read_bytes().count(b"\n")


def test_it_gets_no_more_at_once_than_it_takes(far: tuple[Stack, Upstream]) -> None:
    stack, upstream = far
    stack.write_plan("remote", latency_ms=50, refuse_beyond=4, retry_after_s=0.05)
    lines = list(chat_lines(400, model="far", prefix="narrow"))
    refused = upstream.metric("stub:requests_refused_total")
    batch = stack.submit(lines)
    assert stack.wait_ended(batch, 90) == "completed"
    assert not check_finished(stack, batch, lines).errors
    # At a constant 32 at once, nine tenths of all requests would be refused.
    assert upstream.metric("stub:requests_refused_total") - refused < 300
    stack.wait(lambda: stack.sql("SELECT 1 FROM jobs_lanemodel"), 20, "the end of the run")
    assert stack.sql("SELECT concurrency FROM jobs_lanemodel")[0][0] <= 8


def test_a_line_that_fails_while_others_are_answered_is_its_own(
    far: tuple[Stack, Upstream],
) -> None:
    stack, _ = far
    stack.write_plan("remote", latency_ms=200, max_concurrency=8)
    bad = [
        chat_line("lost", "STUB:DROP always", model="far"),
        chat_line("broken", "STUB:STATUS:500 always", model="far"),
        chat_line("closed", "STUB:STATUS:403 always", model="far"),
        chat_line("late", "STUB:SLEEP:60 for long", model="far"),
    ]
    lines = [*bad, *chat_lines(200, model="far", prefix="beside")]
    batch = stack.submit(lines)
    assert stack.wait_ended(batch, 90) == "completed"
    errors = check_finished(stack, batch, lines).errors
    assert {key: line["error"]["code"] for key, line in errors.items()} == {
        "lost": "connection_error",
        "broken": "InternalServerError",
        "closed": "InternalServerError",
        "late": "request_timeout",
    }


@pytest.mark.parametrize("mark", ["DROP", "STATUS:500", "HANG"])
def test_a_line_that_fails_alone_is_told_from_an_upstream_that_is_away(
    far: tuple[Stack, Upstream], mark: str
) -> None:
    stack, _ = far
    lines = [chat_line("alone", f"STUB:{mark} alone", model="far")]
    batch = stack.submit(lines)
    assert stack.wait_ended(batch, 40) == "completed"
    assert list(check_finished(stack, batch, lines).errors) == ["alone"]


@pytest.mark.torture
def test_an_upstream_that_hangs_pauses_its_lines(far: tuple[Stack, Upstream]) -> None:
    stack, _ = far
    stack.write_plan("remote", stalls=True)
    lines = list(chat_lines(30, model="far", prefix="hung"))
    batch = stack.submit(lines)
    stack.wait(lambda: "no answer" in waits_for(stack, batch), 40, "a reason")
    assert stack.state(batch)[2:] == (0, 0)
    stack.write_plan("remote")
    assert stack.wait_ended(batch, 40) == "completed"
    assert not check_finished(stack, batch, lines).errors
