"""Run one command of the set-up: its output into the log, its progress onto the screen."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vbatch_site.setup.problems import explain

LineSeen = Callable[[str], None]


class Runner:
    """Runs commands for as long as the set-up lives; `lock_fd` is inherited by each.

    A command that outlives a set-up that was killed so keeps the lock, and the next set-up
    waits for it instead of writing into the same folder.
    """

    def __init__(self, *, log_path: Path, environ: Mapping[str, str], lock_fd: int) -> None:
        self._log_path = log_path
        self._environ = dict(environ)
        self._lock_fd = lock_fd

    def run(
        self,
        what: str,
        command: Sequence[str | Path],
        *,
        environ: Mapping[str, str] | None = None,
        on_line: LineSeen | None = None,
    ) -> str:
        """Return the output of `command`; raise SetupError named `what` if it fails."""
        output: list[str] = []
        with self._log_path.open("a") as log:
            log.write(f"\n$ {' '.join(str(part) for part in command)}\n")
            log.flush()
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env={**self._environ, **(environ or {}), "PYTHONUNBUFFERED": "1"},
                pass_fds=(self._lock_fd,),
            )
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    log.write(line)
                    log.flush()
                    output.append(line)
                    if on_line is not None:
                        on_line(line)
                code = process.wait()
            finally:
                _end(process)
        text = "".join(output)
        if code:
            if code == -signal.SIGKILL:
                text += "\nKilled from outside, most likely by the system for want of memory."
            raise explain(f"{what} failed (status {code}).", text)
        return text


def _end(process: subprocess.Popen[str]) -> None:
    """Leave no command behind when the set-up is interrupted."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for_lock(fd: int, *, on_wait: Callable[[], None]) -> None:
    """Take the lock of the set-up; `on_wait` is called once if another one holds it."""
    told = False
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                on_wait()
                told = True
            time.sleep(0.5)
        else:
            os.truncate(fd, 0)
            os.write(fd, f"{os.getpid()}\n".encode())
            return
