"""`manage.py stop`: end what runs here: demo, web, worker, embedded database."""

from __future__ import annotations

import time
from typing import Any

import psutil
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from vbatch_site.embedded_db import stop_db
from vbatch_site.running import find_running

# The demo stops its own web and worker, and they need not be told twice.
_COMMANDS = ("demo", "runworker", "runweb")
WAIT_S = 45.0


class Command(BaseCommand):
    help = "Stop the demo, web, worker and embedded database that use this data folder."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        ended = 0
        # A worker beside the demo hands in its work over the demo's database, so it goes before.
        demos = {process.pid for process in find_running("demo")}
        for process in find_running("runworker") if demos else ():
            if process.ppid() not in demos:
                self._end("runworker", process)
                ended += 1
        for name in _COMMANDS:
            for process in find_running(name):
                self._end(name, process)
                ended += 1
        database = stop_db(settings.DATA_DIR)
        self.stdout.write("Stopped." if ended or database else "Nothing runs here now.")

    def _end(self, name: str, process: psutil.Process) -> None:
        self.stdout.write(f"Stopping {name} (process {process.pid}) ...")
        self.stdout.flush()
        deadline = time.monotonic() + WAIT_S
        try:
            process.terminate()
            # One that has ended stays as a zombie until its parent looks, which may be never.
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                if time.monotonic() > deadline:
                    raise CommandError(
                        f"Process {process.pid} has not ended after {WAIT_S:.0f} s. "
                        f"`kill {process.pid}` again ends it at once; unfinished lines run again."
                    )
                time.sleep(0.05)
        except psutil.NoSuchProcess:
            return
