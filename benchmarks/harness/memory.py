"""Watching how the memory of a product's processes grows."""

from __future__ import annotations

import threading
import time

from tests.stack import Process, Stack

SAMPLE_EVERY_S = 0.5
# Walking all of /proc costs far more than reading the few processes known from the last walk.
FIND_EVERY_S = 5.0
_SIDES = {
    "web": "web",
    "web-worker": "web",
    "supervisor": "worker",
    "sampler": "worker",
    "guard": "worker",
    "lane-task": "worker",
    "q-main": "worker",
    "q-sentinel": "worker",
    "q-worker": "worker",
    "q-monitor": "worker",
    "q-pusher": "worker",
    "engine": "engine",
}


class MemoryWatch:
    """Samples resident memory of `web` and `worker` (each the sum of its processes).

    Use as a context manager. `growth_mb` and `process_growth_mb` are what the peak stands above
    the first sample.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._known: list[Process] = []
        self._first: dict[int, int] = {}
        self._peak: dict[int, int] = {}
        self._labels: dict[int, str] = {}
        self.samples: list[tuple[float, dict[str, int]]] = []

    def __enter__(self) -> MemoryWatch:
        self._find()
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()

    def growth_mb(self, side: str) -> float:
        """Return by how many MB the processes of `web` or `worker` grew together, at most."""
        sums = [sample.get(side, 0) for _, sample in self.samples]
        return (max(sums) - sums[0]) / 1e6

    def between_mb(self, side: str, started_at: float, ended_at: float) -> tuple[float, float]:
        """Return the smallest and the largest sum of a side in a span of `time.time()`."""
        inside = [s.get(side, 0) for at, s in self.samples if started_at <= at <= ended_at]
        inside = inside or [self.samples[-1][1].get(side, 0)]
        return min(inside) / 1e6, max(inside) / 1e6

    def process_growth_mb(self) -> dict[str, float]:
        """Return the growth of the processes that grew most, by role and pid."""
        grown = {pid: (self._peak[pid] - first) / 1e6 for pid, first in self._first.items()}
        most = sorted(grown.items(), key=lambda item: -item[1])[:6]
        return {self._labels[pid]: round(growth, 1) for pid, growth in most}

    def _run(self) -> None:
        found_at = time.monotonic()
        while not self._stop.wait(SAMPLE_EVERY_S):
            if time.monotonic() - found_at > FIND_EVERY_S:
                found_at = time.monotonic()
                self._find()
            self._sample()

    def _find(self) -> None:
        self._known = [p for p in self._stack.processes() if p.role in _SIDES]

    def _sample(self) -> None:
        sums: dict[str, int] = {}
        for process in self._known:
            size = process.memory_bytes()
            side = _SIDES[process.role]
            sums[side] = sums.get(side, 0) + size
            self._first.setdefault(process.pid, size)
            self._peak[process.pid] = max(size, self._peak.get(process.pid, 0))
            self._labels[process.pid] = f"{process.role} {process.queue} {process.pid}"
        self.samples.append((time.time(), sums))
