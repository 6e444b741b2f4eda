"""gunicorn as this site runs it: threads, no access log, and errors as JSON."""

from __future__ import annotations

import json
import queue
import re
import signal
import sys
import uuid
from collections.abc import Callable
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.workers.gthread import ThreadWorker

# Longer than any client keeps an idle connection: it must be the client who closes it, or a
# request of its that was just on its way is lost.
KEEPALIVE_S = 75
GRACEFUL_S = 30


class WebServer(BaseApplication):  # type: ignore[misc]
    """gunicorn with our settings in place of its command line."""

    def __init__(self, options: dict[str, Any], application: Callable[..., Any]) -> None:
        self.options = options
        self.application = application
        super().__init__()

    def load_config(self) -> None:
        for name, value in self.options.items():
            self.cfg.set(name, value)

    def load(self) -> Callable[..., Any]:
        return self.application


class Worker(ThreadWorker):  # type: ignore[misc]
    """Answers what is not even HTTP in the API's shape, and ends soon after its parent."""

    alive: bool

    def is_parent_alive(self) -> bool:
        is_alive: bool = super().is_parent_alive()
        # Or a client that asks again and again over one connection would be served on, and the
        # port be taken, until the time for a graceful end is over.
        self.alive = self.alive and is_alive
        return is_alive

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        super().handle_error(req, _JSONErrors(client), addr, exc)


class _JSONErrors:
    """A client's socket through which gunicorn's own error page goes out as JSON."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendall(self, page: bytes) -> None:
        status = re.match(rb"HTTP/1.1 (\d+) ([^\r]*)\r\n", page)
        number = int(status[1]) if status else 400
        reason = status[2].decode("latin-1") if status else "Bad Request"
        error = {
            "message": f"{reason}: the request is malformed or one of its headers is too large.",
            "type": "invalid_request_error" if number < 500 else "server_error",
            "param": None,
            "code": None,
        }
        body = json.dumps({"error": error}).encode()
        head = (
            f"HTTP/1.1 {number} {reason}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"x-request-id: req_{uuid.uuid4().hex}\r\n\r\n"
        )
        self._sock.sendall(head.encode("latin-1") + body)


def options(
    *, host: str, port: int, workers: int, threads: int, ready: Callable[[], None]
) -> dict[str, Any]:
    """Return gunicorn's settings; `ready` is called once the server takes connections."""
    return {
        "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "worker_class": f"{__name__}.Worker",
        "workers": workers,
        "threads": threads,
        "keepalive": KEEPALIVE_S,
        "graceful_timeout": GRACEFUL_S,
        # Of a worker's main loop, not of a request: long uploads and downloads are fine.
        "timeout": 60,
        "accesslog": None,
        # Its control socket would be one more door, and it would stand outside our folder.
        "control_socket_disable": True,
        "loglevel": "warning",
        "proc_name": "runweb",
        "when_ready": lambda server: ready(),
        "post_fork": _end_if_told,
        "child_exit": _forget_metrics,
    }


def _end_if_told(server: Any, worker: Any) -> None:
    """End a new worker that was told to before it listened.

    Until it has handlers of its own it has the master's, which only notes a signal for the
    master's loop: the worker would live on until the time for a graceful end is over.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        try:
            noted = server.SIG_QUEUE.get_nowait()
        except queue.Empty:
            return
        if noted == signal.SIGTERM:
            sys.exit(0)


def _forget_metrics(server: Any, worker: Any) -> None:
    """Drop the gauges of a worker that has gone; its counters stay in the sums."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
