"""How the stub behaves: `stub.json` in the model folder, read again whenever it changes."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The settings in `stub.json`; every one may be left out.

    `latency_ms` is a number or a pair (a request keeps its place in the range, by its digest);
    `answer_bytes` the size of a whole answer's body, 0 for as it comes; `max_concurrency` how
    many are answered at a time, 0 for any number. `start_fails` is the reason with which a start
    fails, the first `start_fails_times` times or, where that is null, always. `refuse_beyond`
    answers 429 to whatever comes while so many are running, `refuse_status` that status to all;
    `stalls` answers nothing any more, and goes on calling itself healthy.
    """

    latency_ms: Any = 0
    answer_bytes: int = 0
    max_concurrency: int = 0
    start_delay_s: float = 0.0
    start_fails: str = ""
    start_fails_times: int | None = None
    retry_after_s: float = 1.0
    ignore_sigterm: bool = False
    refuse_beyond: int = 0
    refuse_status: int = 0
    stalls: bool = False

    def latency_s(self, digest: bytes) -> float:
        """Return how long the request with this digest takes."""
        if isinstance(self.latency_ms, (int, float)):
            return self.latency_ms / 1000
        low, high = self.latency_ms
        return (low + (high - low) * int.from_bytes(digest[:4], "big") / 2**32) / 1000


class PlanFile:
    """The plan of a model folder, kept fresh by `refresh`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "stub.json"
        self._seen: tuple[int, int] | None = None
        self.plan = Plan()
        self.refresh()

    def refresh(self) -> None:
        """Read the file again if it changed; a half-written one is read at the next call."""
        try:
            stat = self._path.stat()
            seen = (stat.st_mtime_ns, stat.st_size)
            if seen == self._seen:
                return
            found = json.loads(self._path.read_bytes())
        except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
            return
        unknown = set(found) - {field.name for field in fields(Plan)}
        if unknown:
            raise SystemExit(f"{self._path}: unknown settings {sorted(unknown)}")
        self.plan, self._seen = Plan(**found), seen
