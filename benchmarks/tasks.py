"""What django-q2 runs for benchmarks: it may come late, twice or never, and changes nothing."""

from __future__ import annotations

from benchmarks.services import runs


def go_on() -> None:
    """Take the benchmark that is at work as far as it goes."""
    runs.go_on()
