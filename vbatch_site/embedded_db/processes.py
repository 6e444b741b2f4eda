"""Which live processes serve a data folder, told without trusting any number on disk."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil


def server_processes(cluster: Path) -> list[psutil.Process]:
    """Return every live postgres process that works in `cluster`, postmaster and children alike.

    `postmaster.pid` is only a hint: its number may be a zombie's, or by now another program's.
    PostgreSQL makes the data folder its working directory before it touches anything in it, so
    the working directory is the proof. Zombies have none, and processes whose folder we may not
    see belong to other accounts, so neither is counted.
    """
    import psutil  # Slow to import, and not needed while the server is up.

    try:
        folder = cluster.stat()
    except FileNotFoundError:
        return []
    found = []
    for process in psutil.process_iter(["name", "status"]):
        if not (process.info["name"] or "").startswith("postgres"):
            continue
        if process.info["status"] == psutil.STATUS_ZOMBIE:
            continue
        try:
            # The link itself, not its text: after `rm -r` and a new start at the same place, the
            # text of the old server's link names the new folder.
            cwd = f"/proc/{process.pid}/cwd" if sys.platform == "linux" else process.cwd()
            if os.path.samestat(os.stat(cwd), folder):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def postmaster_pid(cluster: Path) -> int | None:
    """Return the number in `postmaster.pid`, None if there is no such file or no number in it."""
    try:
        first = (cluster / "postmaster.pid").read_text().split("\n", 1)[0].strip()
    except FileNotFoundError:
        return None
    # Negative in single-user mode.
    return abs(int(first)) if first.lstrip("-").isdigit() else None


def find_postmaster(cluster: Path, live: list[psutil.Process]) -> psutil.Process | None:
    """Return the postmaster among `live`, or None if it is gone."""
    pid = postmaster_pid(cluster)
    return next((process for process in live if process.pid == pid), None)


def send(process: psutil.Process, number: int, *, cluster: Path) -> None:
    """Send a signal to a server process of `cluster`, never to a later owner of its number."""

    def still_ours() -> bool:
        return any(one.pid == process.pid for one in server_processes(cluster))

    if sys.platform != "linux":
        # psutil compares the start time; the gap that is left cannot be closed here.
        if still_ours():
            process.send_signal(number)
        return
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        # Asked after opening: from here on the handle cannot come to mean another process.
        if still_ours():
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)
