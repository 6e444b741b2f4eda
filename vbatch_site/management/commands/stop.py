"""`manage.py stop`: end what runs here: demo, web, worker, embedded database."""

from __future__ import annotations

import os
from typing import Any

import psutil
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from vbatch_site.embedded_db import stop_db

_COMMANDS = ("demo", "runworker", "runweb")
WAIT_S = 45.0


class Command(BaseCommand):
    help = "Stop the demo, web, worker and embedded database that use this data folder."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        # The demo first: it stops its own web and worker, and they need not be told twice.
        for name in _COMMANDS:
            for process in find(name):
                self.stdout.write(f"Stopping {name} (process {process.pid}) ...")
                process.terminate()
                if psutil.wait_procs([process], timeout=WAIT_S)[1]:
                    raise CommandError(
                        f"Process {process.pid} has not ended after {WAIT_S:.0f} s. "
                        f"`kill {process.pid}` again ends it at once; unfinished lines run again."
                    )
        stopped = stop_db(settings.DATA_DIR)
        self.stdout.write("Stopped." if stopped else "Nothing runs here now.")


def find(command: str) -> list[psutil.Process]:
    """Return the outermost processes of `manage.py COMMAND` that use this data folder."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and _is(process, command):
                found[process.pid] = process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return [process for process in found.values() if _parent(process) not in found]


def _is(process: psutil.Process, command: str) -> bool:
    words = process.cmdline()
    if not any(
        word.endswith("manage.py") and words[i + 1 : i + 2] == [command]
        for i, word in enumerate(words)
    ):
        return False
    # A guard has the command in its own line; the command itself is the one to ask.
    if any(word.endswith("guard.py") for word in words[:5]):
        return False
    folder = process.environ().get("VBATCH_DATA_DIR")
    if folder:
        return os.path.realpath(folder) == str(settings.DATA_DIR)
    return os.path.realpath(process.cwd()) == str(settings.BASE_DIR) and settings.DATA_DIR == (
        settings.BASE_DIR / "var"
    )


def _parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return 0
