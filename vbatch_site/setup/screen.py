"""What the set-up shows: one line a step with the time it took."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

# On a terminal the line is redrawn in place; in a file or a pipe a line is added this often.
REDRAW_S = 0.5
HEARTBEAT_S = 15.0
WIDTH = 100

# How far a step is: a text, or what finds it out when the line is drawn.
Detail = str | Callable[[], str]
Progress = Callable[[Detail], None]


class Screen:
    """Print to `out`; `log_path` is where all that the commands say is kept."""

    def __init__(self, *, log_path: Path, out: TextIO | None = None) -> None:
        self.log_path = log_path
        self._out = sys.stdout if out is None else out
        self._is_terminal = self._out.isatty()

    def say(self, text: str = "") -> None:
        print(text, file=self._out, flush=True)

    @contextmanager
    def step(self, title: str) -> Iterator[Progress]:
        """Show `title` with its running time; the function given tells how far the step is."""
        started_at = time.monotonic()
        now: Detail = ""
        ended = threading.Event()

        def progress(detail: Detail) -> None:
            nonlocal now
            now = detail

        def draw() -> None:
            while not ended.wait(REDRAW_S if self._is_terminal else HEARTBEAT_S):
                self._show(title, started_at, now() if callable(now) else now)

        if self._is_terminal:
            self._show(title, started_at, "")
        drawing = threading.Thread(target=draw, name="progress", daemon=True)
        drawing.start()
        outcome = "failed"
        try:
            yield progress
            outcome = "done"
        finally:
            ended.set()
            drawing.join()
            self._show(title, started_at, outcome, final=True)

    def _show(self, title: str, started_at: float, detail: str, *, final: bool = False) -> None:
        line = f"  {title:<46} {time.monotonic() - started_at:4.0f} s  {detail}".rstrip()
        if self._is_terminal:
            # Cut to a width that any terminal has: a wrapped line cannot be redrawn.
            self._out.write(f"\r\x1b[K{line[:WIDTH]}" + ("\n" if final else ""))
        else:
            self._out.write(line + "\n")
        self._out.flush()
