"""Finding the processes of a cluster: by the kernel's lists, and by all processes' parents."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from jobs.cluster_watch import descendants

# A child with a child of its own, another child, and a helper in a session of its own.
TREE = "(sleep 60 & wait) & sleep 60 & setsid sleep 60 & echo up; wait"


@pytest.fixture
def tree() -> Iterator[int]:
    with subprocess.Popen(
        ["bash", "-c", TREE], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        members = _settled(process.pid)
        helpers = _others(process.pid, members)
        yield process.pid
        os.killpg(process.pid, signal.SIGKILL)
        for helper in helpers:
            os.kill(helper, signal.SIGKILL)


def _settled(pid: int) -> set[int]:
    deadline = time.monotonic() + 30
    while len(found := descendants(pid, thorough=True)) != 3:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return set(found)


def _others(pid: int, members: set[int]) -> list[int]:
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout
    return [int(child) for child in children.split() if int(child) not in members]


def test_both_ways_find_the_same_and_not_what_has_a_session_of_its_own(tree: int) -> None:
    assert descendants(tree) == descendants(tree, thorough=True)
    assert len(descendants(tree)) == 3


@pytest.mark.parametrize("thorough", [False, True])
def test_one_that_has_died_is_found_no_more(tree: int, thorough: bool) -> None:
    victim = max(descendants(tree))
    os.kill(victim, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while victim in descendants(tree, thorough=thorough):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_that_has_gone_has_none() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert descendants(process.pid) == {} == descendants(process.pid, thorough=True)
