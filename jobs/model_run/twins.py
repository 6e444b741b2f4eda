"""Equal lines that a run holds: one is sent, and the others wait for its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobs.answers import Answer, is_whole

if TYPE_CHECKING:
    from jobs.model_run.backlog import Work

# So many lines may wait for others at once: their bodies are held in memory meanwhile.
WAITING_MAX = 2_048
# After so many failures of equal lines the rest are sent all at once, and each stands for itself.
FAILURES_MAX = 2

# Answers are shared within a project.
Key = tuple[int, bytes]


@dataclass(slots=True)
class _Twins:
    """A line that is sent, those that wait for it, and its answer once there is one."""

    leader: Work
    followers: list[Work] = field(default_factory=list)
    failures: int = 0
    answer: Answer | None = None


@dataclass(slots=True)
class TwinLines:
    """Knows the equal lines of a run, from when they are taken up until their answer is committed.

    From then on the database knows the answer. `send` puts a line among those to be sent, `finish`
    among those to be committed with an equal line's answer.
    """

    send: Callable[[Work], None]
    finish: Callable[[Work, Answer], None]
    waiting: int = 0
    _twins: dict[Key, _Twins] = field(default_factory=dict)

    def take(self, work: Work) -> None:
        """Send a line that was taken up, unless an equal one has been."""
        key = _key(work)
        twins = self._twins.get(key) if key is not None else None
        if twins is None:
            if key is not None:
                self._twins[key] = _Twins(work)
            self.send(work)
        elif twins.answer is not None:
            self.finish(work, twins.answer)
        else:
            twins.followers.append(work)
            self.waiting += 1

    def answered(self, work: Work, answer: Answer) -> None:
        """Pass on the answer of a line that was sent; after a failure the next one is sent."""
        key = _key(work)
        twins = self._twins.get(key) if key is not None else None
        if key is None or twins is None or twins.leader is not work:
            return
        if is_whole(answer):
            twins.answer = answer
            for follower in self._release(twins):
                self.finish(follower, answer)
            return
        twins.failures += 1
        if twins.failures < FAILURES_MAX:
            self._send_next(key, twins)
            return
        del self._twins[key]
        for follower in self._release(twins):
            self.send(follower)

    def drop(self, chunks: set[int]) -> None:
        """Forget the lines of these chunks; where one was sent, the next of another chunk is."""
        for key, twins in list(self._twins.items()):
            kept = [work for work in twins.followers if work.held.chunk.id not in chunks]
            self.waiting -= len(twins.followers) - len(kept)
            twins.followers = kept
            if twins.answer is None and twins.leader.held.chunk.id in chunks:
                self._send_next(key, twins)

    def committed(self, keys: Iterable[Key]) -> None:
        """Forget lines whose answers are in the database."""
        for key in keys:
            twins = self._twins.get(key)
            if twins is not None and twins.answer is not None:
                del self._twins[key]

    def followers_of(self, works: Iterable[Work]) -> list[Work]:
        """Return the lines that wait for one of these."""
        found: list[Work] = []
        for work in works:
            key = _key(work)
            twins = self._twins.get(key) if key is not None else None
            if twins is not None and twins.leader is work:
                found += twins.followers
        return found

    def _send_next(self, key: Key, twins: _Twins) -> None:
        if not twins.followers:
            del self._twins[key]
            return
        twins.leader = twins.followers.pop(0)
        self.waiting -= 1
        self.send(twins.leader)

    def _release(self, twins: _Twins) -> list[Work]:
        released, twins.followers = twins.followers, []
        self.waiting -= len(released)
        return released


def _key(work: Work) -> Key | None:
    key = work.line.key
    return None if key is None else (work.held.chunk.project_id, key)
