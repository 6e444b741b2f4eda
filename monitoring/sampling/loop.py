"""One thing that is done again and again, in a thread with a database connection of its own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import structlog
from django.db import DatabaseError, InterfaceError, connection

log = structlog.get_logger()

CRASHED = 70


class Loop:
    """Calls `step` every `every_s` seconds; a database that is away costs readings, no more.

    Whatever else goes wrong ends the whole process, since a figure that silently stops is what
    nobody must see: the supervisor starts it again.
    """

    def __init__(self, *, name: str, every_s: float, step: Callable[[], None]) -> None:
        self.name = name
        self._every_s = every_s
        self._step = step
        self._busy_since: float | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, name=self.name, daemon=True).start()

    def busy_s(self) -> float:
        """Return for how long the present step has been going on, 0 between two."""
        since = self._busy_since
        return time.monotonic() - since if since is not None else 0.0

    def _run(self) -> None:
        while True:
            started = self._busy_since = time.monotonic()
            try:
                self._step()
            except (DatabaseError, InterfaceError) as error:
                reason = str(error).strip().partition("\n")[0][:200]
                log.warning("sample_not_stored", loop=self.name, error=reason)
                connection.close()
            except BaseException:
                log.exception("sampler_crashed", loop=self.name)
                os._exit(CRASHED)
            self._busy_since = None
            time.sleep(max(0.1, self._every_s - (time.monotonic() - started)))
