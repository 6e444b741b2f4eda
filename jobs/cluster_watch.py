"""A django-q2 cluster under a guard, restarted whole when any process of it dies or stops."""

from __future__ import annotations

import contextlib
import glob
import os
import sys
import time
from pathlib import Path

import psutil
import structlog
from django.conf import settings

from jobs.guarded import Guarded

log = structlog.get_logger()

# A process that was stopped (SIGSTOP) longer than this is not waited for.
STOPPED_S = 12.0
LOOK_EVERY_S = 1.0
RESTART_PAUSE_S = 1.0
_KERNEL_KEEPS_CHILDREN = bool(glob.glob(f"/proc/{os.getpid()}/task/*/children"))


class ClusterWatch:
    """One cluster of the queue `queue`; `step` is to be called a few times a second.

    One SIGKILL can poison a cluster's in-memory queues for good while it looks alive, and an
    orphaned worker goes on taking tasks. So a missing process means: kill all, start anew.
    """

    def __init__(self, *, queue: str, marker: str) -> None:
        self.queue = queue
        self._marker = marker
        self._process: Guarded | None = None
        self._known: set[int] = set()
        self._looked_at = 0.0
        self._stopped_since: float | None = None
        self._start_at = 0.0

    def step(self) -> bool:
        """Look after the cluster; True if it was started anew, its task gone with it."""
        now = time.monotonic()
        if self._process is None:
            if now < self._start_at:
                return False
            self._start()
            return True
        if now - self._looked_at < LOOK_EVERY_S:
            return False
        self._looked_at = now
        reason = self._fault(now)
        if reason:
            log.warning("cluster_restarted", queue=self.queue, reason=reason)
            self.kill()
            self._start_at = now + RESTART_PAUSE_S
        return False

    def terminate(self) -> None:
        """Ask for a graceful stop: the running task ends first."""
        if self._process is not None:
            self._process.terminate()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.is_running

    def kill(self) -> None:
        if self._process is not None and self._process.kill():
            self._process = None
        self._known.clear()
        self._stopped_since = None

    def _start(self) -> None:
        self._process = Guarded(
            command=[sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster"],
            # The name must stand before Django loads: django-q2 reads it at import.
            env={**os.environ, "Q_CLUSTER_NAME": self.queue},
            log=Path(settings.LOG_DIR) / f"cluster-{self.queue}.log",
            marker=self._marker,
        )

    def _fault(self, now: float) -> str:
        assert self._process is not None
        if not self._process.is_running:
            return "it ended"
        found = descendants(self._process.pid)
        if self._known - found.keys():
            found = descendants(self._process.pid, thorough=True)
        missing = self._known - found.keys()
        if missing:
            return f"process {min(missing)} of it died"
        # Zombies count as dead above, so what is found is alive.
        self._known = set(found)
        if psutil.STATUS_STOPPED in found.values():
            self._stopped_since = self._stopped_since or now
            if now - self._stopped_since > STOPPED_S:
                return "a process of it was stopped"
        else:
            self._stopped_since = None
        return ""


def descendants(pid: int, *, thorough: bool = False) -> dict[int, str]:
    """Return the status of each living descendant of a process in its group, by its id.

    Unless `thorough`, one may be passed over while another ends.
    """
    found: dict[int, str] = {}
    for child in _by_parents(pid) if thorough or not _KERNEL_KEEPS_CHILDREN else _by_files(pid):
        try:
            # In its group: a helper that one of them starts in a session of its own may end.
            if os.getpgid(child) != pid:
                continue
            status = psutil.Process(child).status()
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
        if status != psutil.STATUS_ZOMBIE:
            found[child] = status
    return found


def _by_parents(pid: int) -> list[int]:
    """Find them by asking each process of the machine whose child it is: slow where many are."""
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _by_files(pid: int) -> list[int]:
    """Find them in the kernel's lists of each thread's children."""
    found: list[int] = []
    left = [pid]
    while left:
        for path in glob.glob(f"/proc/{left.pop()}/task/*/children"):
            with contextlib.suppress(OSError):
                more = [int(word) for word in Path(path).read_text().split()]
                found += more
                left += more
    return found
