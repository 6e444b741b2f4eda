"""Whose fault it is that a request got no proper answer: the line's, or the server's."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from enum import Enum, auto

import msgspec
from django.conf import settings

from jobs.engines.client import ConnectionLost, EngineClient, Reply
from jobs.model_run.backlog import Work
from jobs.model_run.host import Host
from jobs.model_run.pace import Pace

# An upstream that answered something within this time is not hung.
QUIET_S = 30.0
PROBE_TIMEOUT_S = 60.0
PROBE_AGAIN_S = 1.0
# How long an upstream may answer nothing but "later" before its lines are paused.
BUSY_FOR_S = 60.0
BUSY_STATUS = frozenset({429, 503})
BROKEN_STATUS = frozenset({500, 502, 504})
# What an upstream answers whose key, address or model is not right.
CLOSED_STATUS = frozenset({401, 403, 404})
_PROBES: dict[str, dict[str, object]] = {
    "/v1/chat/completions": {
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 1,
    },
    "/v1/completions": {"prompt": "Hi", "max_tokens": 1},
    "/v1/embeddings": {"input": "Hi"},
    "/v1/responses": {"input": "Hi", "max_output_tokens": 16},
}


class Verdict(Enum):
    # The line's own: what came is its answer.
    FINAL = auto()
    AGAIN = auto()
    # The server is gone; the line goes back.
    LOST = auto()


class Faults(ABC):
    """What both kinds of server have in common: one look at it for all requests that were hit.

    `gone` is final: this run sends nothing any more. `answered_at` is when the server last gave
    a proper answer, on the monotonic clock.
    """

    doubtful: frozenset[int]

    def __init__(self, *, client: EngineClient) -> None:
        self.gone = False
        self.answered_at = 0.0
        self._began_at = time.monotonic()
        self._client = client
        self._look_task: asyncio.Task[None] | None = None
        self._tries = settings.REQUEST_TRIES

    @property
    def is_looking(self) -> bool:
        return self._look_task is not None and not self._look_task.done()

    async def looked(self) -> None:
        """Wait for the end of a look: meanwhile nothing more goes into the server."""
        if self._look_task is not None and self.is_looking:
            # Shielded: a request that is aborted must not end the others' look.
            await asyncio.shield(self._look_task)

    @abstractmethod
    async def judge(self, work: Work, reply: Reply | None) -> Verdict:
        """Judge a reply with a doubtful status, or that none came."""

    @abstractmethod
    async def judge_late(self, work: Work) -> Verdict:
        """Judge that no answer came in time: FINAL or LOST."""

    async def close(self) -> None:
        """End a look that is going on, since its client is about to be closed."""
        if self._look_task is not None:
            self._look_task.cancel()
            await asyncio.gather(self._look_task, return_exceptions=True)

    async def _look(self, work: Work) -> None:
        if not self.is_looking:
            self._look_task = asyncio.create_task(self._find_out(work.held.chunk.endpoint))
        await self.looked()

    @abstractmethod
    async def _find_out(self, endpoint: str) -> None:
        """Look at the server: set `gone` if it is, and `answered_at` if it answers."""


class EngineFaults(Faults):
    """An engine of our own: it is dead once its supervisor says so, or once it stalls."""

    doubtful = BUSY_STATUS | BROKEN_STATUS

    def __init__(self, *, client: EngineClient, host: Host) -> None:
        super().__init__(client=client)
        self.stalled = False
        self._host = host
        self._tokens: int | None = None
        self._tokens_at = 0.0

    async def judge(self, work: Work, reply: Reply | None) -> Verdict:
        if reply is None or reply.status in BROKEN_STATUS:
            # vLLM answers 500 to every request when the core behind its server has died.
            await self._look(work)
        if self.gone:
            return Verdict.LOST
        work.tries += 1
        if reply is not None and reply.status not in BUSY_STATUS:
            return Verdict.FINAL
        return Verdict.FINAL if work.tries >= self._tries else Verdict.AGAIN

    async def judge_late(self, work: Work) -> Verdict:
        return Verdict.LOST if self.gone else Verdict.FINAL

    async def check_stall(self) -> None:
        """Find an engine that has requests and makes no token: its core may hang.

        Called once a second while something is in flight. vLLM calls such an engine healthy.
        """
        now = time.monotonic()
        silent_s = now - max(self.answered_at, self._began_at)
        if silent_s < settings.ENGINE_STALL_S / 2:
            self._tokens = None
        elif self._tokens is None or now - self._tokens_at >= settings.ENGINE_STALL_S / 2:
            tokens = await self._client.tokens_made()
            if tokens is not None and tokens == self._tokens:
                self.stalled = self.gone = True
            self._tokens, self._tokens_at = tokens, now

    async def _find_out(self, endpoint: str) -> None:
        # Without end: an engine that neither answers nor is declared dead is for the supervisor
        # to end, and no line may be failed for it meanwhile.
        while not await self._host.engine_is_gone():
            if await self._client.is_healthy():
                return
            await asyncio.sleep(0.1)
        self.gone = True


class UpstreamFaults(Faults):
    """Somebody else's server: a line is to blame only if the server answers others meanwhile."""

    doubtful = BUSY_STATUS | BROKEN_STATUS | CLOSED_STATUS

    def __init__(self, *, client: EngineClient, model: str, pace: Pace) -> None:
        super().__init__(client=client)
        self.reason = ""
        self._model = model
        self._pace = pace

    async def judge(self, work: Work, reply: Reply | None) -> Verdict:
        status = None if reply is None else reply.status
        if status not in CLOSED_STATUS:
            self._pace.pushed_back(sent_at=work.sent_at)
        if reply is not None and status in BUSY_STATUS:
            silent_s = time.monotonic() - max(self.answered_at, self._began_at)
            if silent_s > BUSY_FOR_S:
                self._leave(f"for {silent_s:.0f} s it answered nothing but {_words(reply)}")
        elif self.answered_at <= work.sent_at:
            await self._look(work)
        if self.gone:
            return Verdict.LOST
        if status in BUSY_STATUS or self.answered_at <= work.sent_at:
            return Verdict.AGAIN
        work.tries += 1
        if status in CLOSED_STATUS or work.tries >= self._tries:
            return Verdict.FINAL
        return Verdict.AGAIN

    async def judge_late(self, work: Work) -> Verdict:
        self._pace.pushed_back(sent_at=work.sent_at)
        if time.monotonic() - self.answered_at >= min(QUIET_S, settings.REQUEST_TIMEOUT_S):
            await self._look(work)
        return Verdict.LOST if self.gone else Verdict.FINAL

    async def _find_out(self, endpoint: str) -> None:
        for last in (False, True):
            reply = await self._probe(endpoint)
            if reply is not None and reply.status in BUSY_STATUS:
                return  # It is there, and has no time: nothing is known of the line.
            if reply is not None and reply.status not in self.doubtful:
                self.answered_at = time.monotonic()
                return
            if last:
                self._leave("no answer" if reply is None else _words(reply))
            else:
                await asyncio.sleep(PROBE_AGAIN_S)

    async def _probe(self, endpoint: str) -> Reply | None:
        """Send the smallest request of its kind; None if no answer comes.

        A server without such a route refuses the request, which is an answer too.
        """
        body = msgspec.json.encode({"model": self._model, **_PROBES.get(endpoint, {})})
        try:
            async with asyncio.timeout(min(PROBE_TIMEOUT_S, settings.REQUEST_TIMEOUT_S)):
                return await self._client.post(endpoint, body)
        except (ConnectionLost, TimeoutError):
            return None

    def _leave(self, reason: str) -> None:
        self.reason = reason
        self.gone = True


def _words(reply: Reply) -> str:
    said = reply.body[:300].decode("utf-8", "replace").strip()
    return f"HTTP {reply.status}: {said}" if said else f"HTTP {reply.status}"
