"""Waiting that tells the person at the terminal what it waits for."""

from __future__ import annotations

import sys
import time

SILENT_S = 3.0
REPEAT_S = 10.0
STEP_S = 0.03


class Waiting:
    """One wait of unknown length: `step` sleeps a moment, and speaks on stderr when it drags on."""

    def __init__(self) -> None:
        self.started_at = time.monotonic()
        self._speak_at = self.started_at + SILENT_S

    def elapsed_s(self) -> float:
        return time.monotonic() - self.started_at

    def step(self, why: str) -> None:
        if time.monotonic() >= self._speak_at:
            self._speak_at = time.monotonic() + REPEAT_S
            line = f"Embedded PostgreSQL: {why} ({self.elapsed_s():.0f} s so far) ..."
            print(line, file=sys.stderr, flush=True)
        time.sleep(STEP_S)
