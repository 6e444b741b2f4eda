"""Committing a run's answers in groups, and keeping its claims."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from jobs.model_run.backlog import AHEAD_MIN, GROUP, Backlog
from jobs.model_run.host import Host
from jobs.services.responses import Committed, commit_responses
from jobs.services.suspects import clear_suspects

# A commit at least this often while something is finished, and the lease renewed with it.
COMMIT_EVERY_S = 0.5
RENEW_EVERY_S = 1.0
# How much work lies ready, in seconds at the present pace: enough for the next claim to arrive
# in time, and no more, since what lies here another lane could be doing.
AHEAD_S = 0.5
AHEAD_WINDOWS = 8


@dataclass(slots=True)
class Committer:
    """Commits what is finished, renews the leases, and drops what is no longer the run's."""

    backlog: Backlog
    host: Host
    window: int
    answered: int = 0
    leaving: bool = False
    _committed_at: float = field(default_factory=time.monotonic)

    async def run(self) -> None:
        """Commit until the run leaves, which commits the last group itself."""
        backlog = self.backlog
        while not self.leaving:
            since = time.monotonic() - self._committed_at
            due = backlog.finished and (
                len(backlog.finished) >= GROUP or since >= COMMIT_EVERY_S or backlog.is_idle
            )
            if due or since >= RENEW_EVERY_S:
                await self.commit()
            else:
                next_s = COMMIT_EVERY_S if backlog.finished else RENEW_EVERY_S
                await backlog.wait_for_group(next_s - since)

    async def commit(self) -> None:
        backlog = self.backlog
        group, backlog.finished = backlog.finished, []
        held = [h.chunk for h in backlog.held.values()]
        done = [h.chunk for h in backlog.held.values() if h.open_lines == 0]
        cleared, backlog.cleared = backlog.cleared, []
        now = time.monotonic()
        pace = len(group) / max(0.02, now - self._committed_at)
        backlog.ahead = max(AHEAD_MIN, min(AHEAD_WINDOWS * self.window, int(pace * AHEAD_S)))
        self._committed_at = now
        if cleared:
            await self.host.db(clear_suspects, request_ids=cleared)
        if held:
            result: Committed = await self.host.db(
                commit_responses, lane_id=self.host.lane_id, finished=group, held=held, done=done
            )
            self.answered += len(group)
            backlog.drop(
                h
                for h in list(backlog.held.values())
                if h.chunk in held
                and (
                    (h.chunk.id, h.chunk.attempt) not in result.held
                    or h.chunk.batch_id not in result.going_on
                )
            )
            for chunk in done:
                if chunk.id in backlog.held and backlog.held[chunk.id].chunk is chunk:
                    del backlog.held[chunk.id]
        backlog.twins.committed(
            (item.chunk.project_id, item.key) for item in group if item.key is not None
        )
        backlog.room.set()
        backlog.changed.set()
