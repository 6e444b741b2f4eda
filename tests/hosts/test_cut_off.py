"""Hosts in network namespaces: one whose cable is pulled, with no process of it ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.hosts.conftest import PLAN
from tests.stack import Stack, chat_lines, check_finished
from tests.stack.hosts import Host, answers_by_worker, longest_standstill_s
from tests.stack.network import Cable, cables, listen_on, why_no_namespaces
from tests.stack.product import ROOT

pytestmark = [pytest.mark.stack, pytest.mark.netns, pytest.mark.torture]

LINES = 2_000
LEASE_S = 15.0
# Claiming what was given up, and the engine's own time for it.
AND_THEN_S = 5.0


@pytest.fixture(scope="module")
def network() -> Iterator[list[Cable]]:
    reason = why_no_namespaces()
    if reason:
        pytest.skip(reason)
    with cables(2) as made:
        yield made


@pytest.fixture
def wired(network: list[Cable], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A product whose database listens where the hosts can reach it."""
    with Stack(tmp_path_factory.mktemp("wired"), models={"toy": PLAN}) as running:
        listen_on(running, network)
        running.start_web()
        yield running


def test_a_host_that_is_cut_off_costs_a_lease_and_comes_back(
    wired: Stack, network: list[Cable]
) -> None:
    one, two = (
        Host(wired, name, prefix=cable.prefix, env={"DATABASE_URL": cable.database_url})
        for name, cable in zip(("one", "two"), network, strict=True)
    )
    with one, two:
        one.start()
        two.start()
        lines = list(chat_lines(LINES, prefix="wired"))
        batch = wired.submit(lines)
        wired.wait(
            lambda: min(answers_by_worker(wired, batch).get(h, 0) for h in ("one", "two")) > 100,
            60,
            "answers of both hosts",
        )
        network[0].pull()
        try:
            assert wired.state(batch)[2] < LINES, "it was cut off too late"
            assert wired.wait_ended(batch, 90) == "completed"
        finally:
            network[0].plug_in()
        results = check_finished(wired, batch, lines)
        assert len(results.output) == LINES and not results.errors
        assert longest_standstill_s(wired, batch) < LEASE_S + AND_THEN_S
        # It was never restarted, and works again by itself.
        wired.wait(lambda: _alive(wired) == {"one", "two"}, 60, "both hosts to be alive")
        more = list(chat_lines(LINES, prefix="again"))
        second = wired.submit(more)
        assert wired.wait_ended(second, 90) == "completed"
        check_finished(wired, second, more)
        assert set(answers_by_worker(wired, second)) == {"one", "two"}
        assert (one.stop(), two.stop()) == (0, 0)


def _alive(stack: Stack) -> set[str]:
    rows = stack.sql(
        "SELECT name FROM jobs_worker WHERE heartbeat_at > now() - interval '5 s' "
        "AND stopped_at IS NULL"
    )
    return {name for (name,) in rows}


_HOLD = """
import time
from django.db import connection, transaction
with transaction.atomic(), connection.cursor() as cursor:
    cursor.execute("SELECT 1 FROM jobs_servedmodel FOR UPDATE")
    print("held", flush=True)
    time.sleep(300)
"""


def test_the_locks_of_a_host_that_is_cut_off_are_free_within_a_lease(
    wired: Stack, network: list[Cable]
) -> None:
    """Nobody tells the server that the host is gone; it has to ask."""
    cable = network[0]
    host = Host(wired, "holder", prefix=cable.prefix, env={"DATABASE_URL": cable.database_url})
    holder = subprocess.Popen(
        [*cable.prefix, sys.executable, "manage.py", "shell", "--no-imports", "-c", _HOLD],
        env=host.env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        cable.pull()
        # Raises if it has to wait for longer.
        wired.sql(
            f"SET lock_timeout = '{int(LEASE_S + AND_THEN_S)}s'; "
            "UPDATE jobs_servedmodel SET enabled = enabled"
        )
    finally:
        cable.plug_in()
        holder.kill()
        holder.wait()
