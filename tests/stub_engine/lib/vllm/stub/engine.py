"""What happens to a request in the stub: noted at the door, in turn, marred or answered."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vllm.stub.answers import MAKERS, Refused, error_body, parse
from vllm.stub.http import Exchange
from vllm.stub.marks import Mark, read_marks
from vllm.stub.plan import PlanFile

DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."


class Engine:
    """Answers the requests of one server process.

    `core_pid` is the child that stands for vLLM's EngineCore, None where there is none.
    """

    def __init__(self, *, folder: Path, names: list[str], core_pid: int | None) -> None:
        self.folder = folder
        self.names = frozenset(names)
        self.model = names[0]
        self.core_pid = core_pid
        self.dead = False
        self.plans = PlanFile(folder)
        self.loop = asyncio.get_running_loop()
        self.running: set[Exchange] = set()
        self.waiting: deque[tuple[Exchange, Callable[[], None]]] = deque()
        self.counts: Counter[str] = Counter()
        self._refused: Counter[bytes] = Counter()
        self._pid = os.getpid()
        self._door = os.open(folder / "door.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def handle(self, exchange: Exchange, method: str, path: str, body: bytes) -> None:
        """Take a request in; it is answered now or later."""
        maker = MAKERS.get(path) if method == "POST" else None
        if maker is None:
            self._look_up(exchange, path)
            return
        digest = hashlib.sha1(body)
        line = b"%.6f %b %d %b\n" % (
            time.time(),
            digest.hexdigest().encode(),
            self._pid,
            path.encode(),
        )
        os.write(self._door, line)
        self.counts["arrived"] += 1
        if self.dead:
            exchange.reply(500, error_body(500, "InternalServerError", DEAD))
            return
        marks = read_marks(body) if b"STUB:" in body else []
        plan = self.plans.plan
        if plan.refuse_status:
            self._refuse(exchange, plan.refuse_status)
            return
        if plan.refuse_beyond and len(self.running) >= plan.refuse_beyond:
            self.counts["refused"] += 1
            self._refuse(exchange, 429)
            return

        def begin() -> None:
            self._begin(exchange, path, body, digest.digest(), marks)

        if plan.max_concurrency and len(self.running) >= plan.max_concurrency:
            entry = (exchange, begin)
            self.waiting.append(entry)
            exchange.on_gone = lambda: self._gone_waiting(entry)
        else:
            begin()

    def core_died(self) -> None:
        """Answer as vLLM does when its EngineCore is gone: 500 for all that were in it."""
        self.dead = True
        body = error_body(500, "InternalServerError", DEAD)
        for exchange in [*self.running, *(entry[0] for entry in self.waiting)]:
            exchange.reply(500, body)
        self.running.clear()
        self.waiting.clear()

    def _begin(
        self, exchange: Exchange, path: str, body: bytes, digest: bytes, marks: list[Mark]
    ) -> None:
        wait_s = self.plans.plan.latency_s(digest)
        if not marks and not wait_s and not self.plans.plan.stalls:
            self._answer(exchange, path, body, digest, marks)
            return
        self.running.add(exchange)
        if self.plans.plan.stalls:
            exchange.on_gone = lambda: self._gone_running(exchange, None)
            return
        for mark in marks:
            if mark.name == "SLEEP":
                wait_s += float(mark.args[0])
            elif mark.name == "DIE" and self._dies(mark, digest):
                return
            elif mark.name == "HANG":
                exchange.on_gone = lambda: self._gone_running(exchange, None)
                return
        timer = self.loop.call_later(wait_s, self._finish, exchange, path, body, digest, marks)
        exchange.on_gone = lambda: self._gone_running(exchange, timer)

    def _finish(
        self, exchange: Exchange, path: str, body: bytes, digest: bytes, marks: list[Mark]
    ) -> None:
        if exchange not in self.running:
            return
        self.running.discard(exchange)
        self._answer(exchange, path, body, digest, marks)
        self._next()

    def _next(self) -> None:
        limit = self.plans.plan.max_concurrency
        while self.waiting and (not limit or len(self.running) < limit):
            self.waiting.popleft()[1]()

    def _gone_waiting(self, entry: tuple[Exchange, Callable[[], None]]) -> None:
        self.counts["aborted"] += 1
        if entry in self.waiting:
            self.waiting.remove(entry)

    def _gone_running(self, exchange: Exchange, timer: asyncio.TimerHandle | None) -> None:
        self.counts["aborted"] += 1
        if timer is not None:
            timer.cancel()
        self.running.discard(exchange)
        self._next()

    def _answer(
        self, exchange: Exchange, path: str, body: bytes, digest: bytes, marks: list[Mark]
    ) -> None:
        extra, pretty, big_key, cut = "", False, False, False
        for mark in marks:
            if mark.name == "DROP":
                exchange.drop()
                return
            if mark.name == "STATUS" and self._refuses(exchange, mark, digest):
                return
            if mark.name == "NOTJSON":
                exchange.reply(200, b"<html>not JSON</html>", content_type=b"text/html")
                return
            extra += {"NUL": "nul:\0:", "SURROGATE": "half:\ud800:"}.get(mark.name, "")
            pretty = pretty or mark.name == "PRETTY"
            big_key = big_key or mark.name == "BIGKEY"
            cut = cut or mark.name == "HALF"
        try:
            request = parse(body, self.names)
            model = request.get("model") or self.model
            size = self.plans.plan.answer_bytes
            answer = MAKERS[path](request, model, digest.hex()[:32], size, extra)
        except Refused as refused:
            text = error_body(refused.status, refused.kind, str(refused), refused.param)
            exchange.reply(refused.status, text)
            return
        if pretty or big_key:
            whole: dict[str, Any] = json.loads(answer)
            if big_key:
                whole["k" * 9_000] = 1
            answer = json.dumps(whole, indent=2 if pretty else None).encode()
        self.counts["answered"] += 1
        self.counts["prompt_tokens"] += len(body) // 4
        self.counts["generation_tokens"] += len(answer) // 4
        exchange.reply(200, answer, cut=cut)

    def _refuses(self, exchange: Exchange, mark: Mark, digest: bytes) -> bool:
        times = mark.times(1)
        if times is not None and self._refused[digest] >= times:
            return False
        self._refused[digest] += 1
        self._refuse(exchange, int(mark.args[0]))
        return True

    def _refuse(self, exchange: Exchange, status: int) -> None:
        headers = b""
        if status in (429, 503):
            headers = b"retry-after: %g\r\n" % self.plans.plan.retry_after_s
        kinds = {400: "BadRequestError", 404: "NotFoundError", 429: "RateLimitError"}
        kind = kinds.get(status, "InternalServerError")
        exchange.reply(status, error_body(status, kind, f"Asked for {status}."), headers=headers)

    def _dies(self, mark: Mark, digest: bytes) -> bool:
        who = next((arg for arg in mark.args if not arg.isdigit()), "all")
        times = next((int(arg) for arg in mark.args if arg.isdigit()), None)
        if times is not None:
            # Kept in the folder, since the one who dies cannot remember.
            deaths = self.folder / f"deaths-{digest.hex()}"
            if deaths.exists() and deaths.stat().st_size >= times:
                return False
            with deaths.open("ab") as file:
                file.write(b".")
        if who in ("all", "core") and self.core_pid is not None:
            os.kill(self.core_pid, signal.SIGKILL)
        if who in ("all", "server"):
            os.kill(self._pid, signal.SIGKILL)
        return True

    def _look_up(self, exchange: Exchange, path: str) -> None:
        if path in ("/health", "/ping"):
            exchange.reply(503 if self.dead else 200, b"")
        elif path == "/version":
            exchange.reply(200, b'{"version":"0.32.0"}')
        elif path == "/v1/models":
            data = [
                {
                    "id": name,
                    "object": "model",
                    "created": int(time.time()),
                    "owned_by": "vllm",
                    "root": str(self.folder),
                    "parent": None,
                    "max_model_len": 2048,
                }
                for name in sorted(self.names, key=lambda name: name != self.model)
            ]
            exchange.reply(200, json.dumps({"object": "list", "data": data}).encode())
        elif path == "/metrics":
            exchange.reply(200, self._metrics(), content_type=b"text/plain; version=0.0.4")
        else:
            exchange.reply(404, b'{"detail":"Not Found"}')

    def _metrics(self) -> bytes:
        running, waiting = len(self.running), len(self.waiting)
        labels = f'{{engine="0",model_name="{self.model}"}}'
        values = {
            "vllm:num_requests_running": ("gauge", running),
            "vllm:num_requests_waiting": ("gauge", waiting),
            "vllm:kv_cache_usage_perc": ("gauge", min(1.0, running / 256)),
            "vllm:prompt_tokens_total": ("counter", self.counts["prompt_tokens"]),
            "vllm:generation_tokens_total": ("counter", self.counts["generation_tokens"]),
            "vllm:request_success_total": ("counter", self.counts["answered"]),
            "stub:requests_arrived_total": ("counter", self.counts["arrived"]),
            "stub:requests_refused_total": ("counter", self.counts["refused"]),
            "stub:requests_aborted_total": ("counter", self.counts["aborted"]),
        }
        lines = []
        for name, (kind, value) in values.items():
            lines += [f"# TYPE {name} {kind}", f"{name}{labels} {float(value)}"]
        return "\n".join([*lines, ""]).encode()
