"""Which commands run in this data folder: each keeps a file open that is named after it."""

from __future__ import annotations

import atexit
import os
import re
from pathlib import Path

import psutil
from django.conf import settings


def announce(command: str) -> None:
    """Say that this process is `manage.py COMMAND` of this data folder, until it ends.

    The file's name holds the process's number, and the process keeps it open. So a process that
    merely has the number of one that was killed is never taken for it, and it does not matter
    how a process renames itself.
    """
    for pid, path in _files(command):
        if _process(pid, path) is None:
            path.unlink(missing_ok=True)
    path = Path(settings.RUN_DIR) / f"{command}-{os.getpid()}.pid"
    # Open until the process ends; what it starts anew does not inherit it.
    os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    atexit.register(_forget, path, os.getpid())


def find_running(command: str) -> list[psutil.Process]:
    """Return the processes that have announced themselves as `command` and are alive."""
    found = [_process(pid, path) for pid, path in _files(command)]
    return [process for process in found if process is not None]


def _files(command: str) -> list[tuple[int, Path]]:
    name = re.compile(rf"{re.escape(command)}-(\d+)\.pid")
    entries = Path(settings.RUN_DIR).iterdir()
    return [(int(m[1]), path) for path in entries if (m := name.fullmatch(path.name))]


def _process(pid: int, path: Path) -> psutil.Process | None:
    """Return the process that holds the file and has its number; None if there is none."""
    try:
        # Made before the look: psutil then refuses to signal another one that got the number.
        process = psutil.Process(pid)
        holds = any(os.path.realpath(file.path) == str(path) for file in process.open_files())
    except psutil.Error:
        return None  # Gone, or another user's, and then none that we could end.
    return process if holds else None


def _forget(path: Path, pid: int) -> None:
    # A forked child runs this as well, and the file is not its own.
    if os.getpid() == pid:
        path.unlink(missing_ok=True)
