"""A guarded command leaves nothing behind, whoever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from jobs.guarded import Guarded, kill_leftovers

# A command that starts a child which ignores SIGTERM, as an engine's core may, and says who it is.
FAMILY = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"])
open(sys.argv[1], "w").write(f"{os.getpid()} {child.pid}")
time.sleep(60)
"""


def wait_for(check, what: str, within_s: float = 10.0):
    deadline = time.monotonic() + within_s
    while not (found := check()):
        assert time.monotonic() < deadline, f"waited {within_s} s for {what}"
        time.sleep(0.02)
    return found


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def family(tmp_path):
    """Start the family under a guard; return the guard and the ids of parent and child."""
    note = tmp_path / "pids"
    guarded = Guarded(
        command=[sys.executable, "-c", FAMILY, str(note)],
        env=os.environ,
        log=tmp_path / "log",
        marker=f"test:{tmp_path}",
    )
    pids = wait_for(lambda: note.exists() and note.read_text().split(), "the family")
    yield guarded, [int(pid) for pid in pids]
    guarded.kill()


def test_killing_the_group_ends_all(family):
    guarded, pids = family
    assert all(alive(pid) for pid in pids)
    assert guarded.kill()
    assert not any(alive(pid) for pid in pids)


def test_the_command_killed_takes_its_child_along(family):
    guarded, pids = family
    os.kill(pids[0], signal.SIGKILL)
    wait_for(lambda: not guarded.is_running, "the guard to end")
    assert guarded.exit_text() == "was killed by SIGKILL"
    wait_for(lambda: not alive(pids[1]), "the child to end")


def test_sigterm_goes_to_the_command_alone_and_its_end_ends_the_rest(family):
    guarded, pids = family
    guarded.terminate()
    wait_for(lambda: not guarded.is_running, "the guard to end")
    assert guarded.exit_text() == "was killed by SIGTERM"
    wait_for(lambda: not any(alive(pid) for pid in pids), "the family to end")


def test_the_exit_status_is_told(tmp_path):
    guarded = Guarded(
        command=[sys.executable, "-c", "import sys; print('words'); sys.exit(7)"],
        env=os.environ,
        log=tmp_path / "log",
        marker="test",
    )
    wait_for(lambda: not guarded.is_running, "the end")
    assert guarded.exit_text() == "ended with status 7"
    assert (tmp_path / "log").read_text() == "words\n"


def test_a_command_that_cannot_run_is_told(tmp_path):
    guarded = Guarded(
        command=["/nowhere/at/all"], env=os.environ, log=tmp_path / "log", marker="test"
    )
    wait_for(lambda: not guarded.is_running, "the end")
    assert guarded.exit_text() == "ended with status 127"
    assert "/nowhere/at/all" in (tmp_path / "log").read_text()


OWNER = """
import os, sys, time
from pathlib import Path
from jobs.guarded import Guarded
Guarded(command=[sys.executable, "-c", sys.argv[1], sys.argv[2]], env=os.environ,
        log=Path(sys.argv[2] + ".log"), marker=sys.argv[3])
time.sleep(60)
"""


@pytest.fixture
def owned_family(tmp_path):
    """Start the family from a process of its own; return that process and the ids."""
    note = tmp_path / "pids"
    marker = f"test:{tmp_path}"
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, FAMILY, str(note), marker],
        cwd=Path(__file__).resolve().parent.parent,
    )
    pids = wait_for(lambda: note.exists() and note.read_text().split(), "the family")
    yield owner, [int(pid) for pid in pids], marker
    owner.kill()
    owner.wait()
    kill_leftovers(marker)


def test_the_owner_killed_takes_all_along(owned_family):
    owner, pids, _ = owned_family
    owner.kill()
    owner.wait()
    wait_for(lambda: not any(alive(pid) for pid in pids), "the family to end")


def test_owner_and_guard_killed_together_leave_what_the_next_life_finds(owned_family):
    owner, pids, marker = owned_family
    guard = psutil.Process(pids[0]).parent()
    # Stopped first, so that the guard cannot see its owner's death.
    guard.suspend()
    owner.kill()
    owner.wait()
    guard.kill()
    assert kill_leftovers(marker) >= 2
    wait_for(lambda: not any(alive(pid) for pid in pids), "the family to end")


def test_leftovers_of_another_worker_are_left_alone(family):
    _, pids = family
    assert kill_leftovers("test:somebody else") == 0
    assert all(alive(pid) for pid in pids)
