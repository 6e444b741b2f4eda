"""A process that runs one command and leaves nothing of it behind, whoever is killed.

Run as `python -S -E guard.py COMMAND ...` with a pipe as standard input, in a session of its
own. The whole group ends when the pipe closes (the parent died), when the command ends, or when
the parent sees the guard itself die and kills the group. The command's exit status goes to
standard output as one line, since the guard ends with its group. SIGTERM is passed on to the
command alone, which may then end in its own time.

It imports little on purpose: one runs beside every cluster and engine.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys


def main(command: list[str]) -> None:
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    child = os.fork()
    if child == 0:
        _run(command)
    signal.signal(signal.SIGTERM, lambda *_: _pass_on(child))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The exit may have come before the handlers stood, so look before the first wait.
    while (status := _exit_status(child)) is None:
        readable, _, _ = select.select([0, wake_read], [], [])
        if wake_read in readable:
            os.read(wake_read, 512)
        if 0 in readable and not os.read(0, 512):
            break
    if status is not None:
        os.write(1, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os.killpg(0, signal.SIGKILL)


def _run(command: list[str]) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    # What the command prints goes to the log, never into the pipe that carries the status.
    os.dup2(2, 1)
    signal.set_wakeup_fd(-1)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"Cannot run {command[0]}: {error}\n".encode())
        os._exit(127)


def _exit_status(child: int) -> int | None:
    pid, status = os.waitpid(child, os.WNOHANG)
    return status if pid == child else None


def _pass_on(child: int) -> None:
    # It may have ended at this moment; the loop sees it next.
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1:])
