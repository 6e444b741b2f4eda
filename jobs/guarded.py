"""Starting, watching and ending a command that runs under a guard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

_GUARD = Path(__file__).with_name("guard.py")
# Names the worker to which a process belongs, so that a later one finds what is left of it.
MARKER = "VBATCH_WORKER_RUN"


class Guarded:
    """A command with all that it starts: one process group that lives and dies as a whole."""

    def __init__(
        self, *, command: Sequence[str], env: Mapping[str, str], log: Path, marker: str
    ) -> None:
        self.started_at = time.monotonic()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._guard = subprocess.Popen(
                [sys.executable, "-S", "-E", str(_GUARD), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                # vLLM and django-q2 rename their processes, which would wipe the marker from
                # what the kernel shows of their environment.
                env={**env, MARKER: marker, "SPT_NOENV": "1"},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The id of the guard, and of its process group."""
        return self._guard.pid

    @property
    def is_running(self) -> bool:
        return self._guard.poll() is None

    def exit_text(self) -> str:
        """Say how the command ended, once it has."""
        assert self._guard.stdout is not None
        line = self._guard.stdout.read().decode().strip() if not self.is_running else ""
        if not line:
            return "was killed"
        code = int(line)
        if code >= 0:
            return f"ended with status {code}"
        return f"was killed by {signal.Signals(-code).name}"

    def terminate(self) -> None:
        """Ask the command to end in its own time."""
        if self.is_running:
            self._guard.terminate()

    def kill(self, *, wait_s: float = 10.0) -> bool:
        """Kill the whole group; True once no process of it is left."""
        deadline = time.monotonic() + wait_s
        while True:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                break  # Gone, or only a zombie is left (macOS says it so).
            self._guard.poll()
            if not _group_members(self.pid):
                break
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        self._guard.wait()
        for pipe in (self._guard.stdin, self._guard.stdout):
            if pipe is not None:
                pipe.close()
        return True


def kill_leftovers(marker: str) -> int:
    """Kill what an earlier life of this worker left behind; return how many processes."""
    count = 0
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == marker and process.pid != os.getpid():
                process.kill()
                count += 1
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue  # Gone meanwhile, or another user's and so none of ours.
    return count


def _group_members(group: int) -> list[int]:
    members = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                members.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess, PermissionError):
            continue
    return members
