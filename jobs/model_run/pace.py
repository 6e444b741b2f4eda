"""How many requests an upstream gets at once: one more as long as it answers, half when not."""

from __future__ import annotations

import asyncio
import time


class Pace:
    """Additive increase, multiplicative decrease, between 1 and `most`.

    Each of `most` senders has a place, from 0; those from `places` on wait for their turn.
    """

    def __init__(self, *, most: int, start: int | None = None) -> None:
        self.places = max(1, min(most, start or most))
        self._most = most
        self._limit = float(self.places)
        self._cut_at = 0.0
        self._raised = asyncio.Event()

    async def turn(self, place: int) -> None:
        """Wait until the sender at `place` may send."""
        while place >= self.places:
            await self._raised.wait()

    def answered(self) -> None:
        """Count an answer: a window full of them adds one place."""
        if self.places >= self._most:
            return
        self._limit = min(self._most, self._limit + 1 / self._limit)
        if int(self._limit) > self.places:
            self.places = int(self._limit)
            self._raised.set()
            self._raised.clear()

    def pushed_back(self, *, sent_at: float) -> None:
        """Halve it for a request, sent at that time of the monotonic clock, that was refused.

        Requests that were sent before the last cut tell nothing new: they went out at the old
        pace.
        """
        if sent_at <= self._cut_at:
            return
        self._cut_at = time.monotonic()
        self._limit = max(1.0, self._limit / 2)
        self.places = int(self._limit)
