"""Starting and stopping web and worker together, each under a guard."""

from __future__ import annotations

import http.client
import os
import sys
import time
from pathlib import Path

from django.conf import settings

from jobs.guarded import Guarded
from vbatch_site.embedded_db import status, stop_db

STOP_S = 35.0


class DidNotStart(Exception):
    """A process ended, or did not answer in time; the message says what to look at."""


class Processes:
    """Web, worker and embedded database of one demo; leaving stops what was started here."""

    def __init__(self) -> None:
        self._started: dict[str, Guarded] = {}
        self._owns_database = False

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def note_database(self) -> None:
        """Remember, before anything connects, whether the database will be started by us."""
        embedded = "embedded" in settings.DATABASES["default"]["ENGINE"]
        self._owns_database = embedded and status(settings.DATA_DIR).state != "running"

    def start(self, name: str, *command: str) -> None:
        """Start `manage.py COMMAND`; its output goes to a log of the name."""
        self._started[name] = Guarded(
            command=[sys.executable, str(settings.BASE_DIR / "manage.py"), *command],
            env=os.environ,
            log=self.log(name),
            marker=f"{settings.DATA_DIR}:demo-{name}",
        )

    def log(self, name: str) -> Path:
        return Path(settings.LOG_DIR) / f"{name}.log"

    def wait_for_web(self, *, within_s: float) -> None:
        """Wait until the web server is ready; raises DidNotStart."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            self.check()
            if _is_ready():
                return
            time.sleep(0.1)
        raise DidNotStart(
            f"The web server is not ready after {within_s:.0f} s. See {self.log('web')}."
        )

    def lost_worker(self) -> str | None:
        """Say once how the worker ended, if it has; the web server goes on without it."""
        worker = self._started.get("worker")
        if worker is None or worker.is_running:
            return None
        del self._started["worker"]
        ended = worker.exit_text()
        worker.kill()
        return ended

    def check(self) -> None:
        """Raise DidNotStart if a process has ended."""
        for name, process in self._started.items():
            if not process.is_running:
                lines = self.log(name).read_text(errors="replace").splitlines()[-5:]
                end = "\n  ".join(lines)
                raise DidNotStart(
                    f"The {name} process {process.exit_text()}. Its log, {self.log(name)}, ends:\n"
                    f"  {end}"
                )

    def stop(self) -> None:
        """Let the worker hand in what it has, then end all that was started here."""
        for process in self._started.values():
            process.terminate()
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline:
            if not any(process.is_running for process in self._started.values()):
                break
            time.sleep(0.1)
        for process in self._started.values():
            process.kill()
        self._started.clear()
        if self._owns_database:
            stop_db(settings.DATA_DIR)


def web_address() -> tuple[str, int]:
    """Return under which name and port this machine reaches the web server."""
    host = "127.0.0.1" if settings.HOST in ("0.0.0.0", "::", "") else settings.HOST
    return host, settings.PORT


def _is_ready() -> bool:
    host, port = web_address()
    probe = http.client.HTTPConnection(host, port, timeout=5)
    try:
        probe.request("GET", "/readyz")
        return probe.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        probe.close()
