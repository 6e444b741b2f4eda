"""Asking an engine on a UNIX socket whether it is well, from a thread, since it may hang."""

from __future__ import annotations

import http.client
import socket
import threading
import time


class HealthProbe:
    """Asks `/health` again and again; what it last heard can be read without waiting."""

    def __init__(self, socket_path: str, *, every_s: float = 1.0, timeout_s: float = 10.0) -> None:
        self._path = socket_path
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._stop = threading.Event()
        self.is_up = False
        # vLLM answers 503 once the core behind its server has died.
        self.says_dead = False
        self.heard_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True, name="engine-health")
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def silent_s(self) -> float:
        """Return for how many seconds no answer of any kind came."""
        return time.monotonic() - self.heard_at

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            try:
                status = _get_status(self._path, self._timeout_s)
            except (OSError, http.client.HTTPException):
                continue  # Not up yet, or gone: silence says it.
            self.heard_at = time.monotonic()
            self.says_dead = status >= 500
            self.is_up = status == 200


def _get_status(path: str, timeout_s: float) -> int:
    connection = http.client.HTTPConnection("engine", timeout=timeout_s)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(timeout_s)
    try:
        connection.sock.connect(path)
        connection.request("GET", "/health")
        return connection.getresponse().status
    finally:
        connection.close()
