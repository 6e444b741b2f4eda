"""Cancelled and expired batches settle in time with what they have, worker or none."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.stack import Results, Stack, chat_line, chat_lines, check_finished
from tests.torture.care import OF_WORKER, kill_all, revive, wait_gone

pytestmark = pytest.mark.stack

SETTLES_S = 10.0
HANGING = 20


def begin(stack: Stack, name: str) -> tuple[str, list[dict[str, Any]]]:
    """Start a batch of which 30 lines are answered and the others never would be."""
    lines = list(chat_lines(30, prefix=name))
    lines += [chat_line(f"hang-{n}", f"STUB:HANG {name} {n}") for n in range(HANGING)]
    batch = stack.submit(lines)
    stack.wait(lambda: stack.state(batch)[2] == 30, 40, "all but the hanging lines")
    return batch, lines


def kill_worker(stack: Stack) -> None:
    kill_all(stack.find("supervisor"))
    stack.forget("worker")
    wait_gone(stack, lambda p: p.role in OF_WORKER, 10)


def ends_in_time(stack: Stack, batch: str, state: str) -> float:
    """Wait as a client does, by asking for the batch; return how long it took, in seconds."""
    started = time.monotonic()
    while stack.client.batches.retrieve(batch).status != state:
        assert time.monotonic() - started < SETTLES_S, stack.state(batch)
        time.sleep(0.2)
    return time.monotonic() - started


def check_settled(stack: Stack, batch: str, lines: list[dict[str, Any]], code: str) -> Results:
    results = check_finished(stack, batch, lines)
    assert len(results.output) == 30
    assert {results.error_code(name) for name in results.errors} == {code}
    return results


def running_in_engine(stack: Stack) -> int:
    """Ask the stub how many requests it has, through its own door."""
    import http.client
    import socket

    (path,) = stack.sql("SELECT engine_socket FROM jobs_lane WHERE engine_state = 'ready'")[0]
    connection = http.client.HTTPConnection("engine", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(path)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    (line,) = [row for row in text.splitlines() if row.startswith("vllm:num_requests_running{")]
    return int(float(line.split()[-1]))


def expire(stack: Stack, batch: str) -> None:
    stack.sql("UPDATE jobs_batch SET expires_at = now() WHERE public_id = %s", batch)


def test_cancel_aborts_what_is_in_flight(torn: Stack) -> None:
    batch, lines = begin(torn, "cancel")
    assert running_in_engine(torn) == HANGING
    assert torn.client.batches.cancel(batch).status == "cancelling"
    ends_in_time(torn, batch, "cancelled")
    torn.wait(lambda: running_in_engine(torn) == 0, 5, "the engine to be rid of the lines")
    check_settled(torn, batch, lines, "batch_cancelled")


@pytest.mark.torture
def test_expiry_aborts_what_is_in_flight(torn: Stack) -> None:
    batch, lines = begin(torn, "expire")
    expire(torn, batch)
    # Nobody asks: the worker itself ends it.
    torn.wait(lambda: torn.state(batch)[0] == "expired", SETTLES_S, "the batch to expire")
    torn.wait(lambda: running_in_engine(torn) == 0, 5, "the engine to be rid of the lines")
    check_settled(torn, batch, lines, "batch_expired")


@pytest.mark.torture
def test_cancel_without_a_worker(torn: Stack) -> None:
    batch, lines = begin(torn, "cancel-alone")
    kill_worker(torn)
    torn.client.batches.cancel(batch)
    ends_in_time(torn, batch, "cancelled")
    check_settled(torn, batch, lines, "batch_cancelled")
    revive(torn)


def test_expiry_without_a_worker(torn: Stack) -> None:
    batch, lines = begin(torn, "expire-alone")
    kill_worker(torn)
    expire(torn, batch)
    ends_in_time(torn, batch, "expired")
    check_settled(torn, batch, lines, "batch_expired")
    revive(torn)


def test_cancel_whose_settling_was_killed(torn: Stack) -> None:
    """The message is lost with its cluster: the sweep settles the batch."""
    batch, lines = begin(torn, "cancel-killed")
    torn.client.batches.cancel(batch)
    kill_all([p for p in torn.processes() if p.queue == "control" and p.role != "guard"])
    torn.wait(lambda: torn.state(batch)[0] == "cancelled", 30, "the batch to be cancelled")
    check_settled(torn, batch, lines, "batch_cancelled")
