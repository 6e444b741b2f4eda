"""A real S3 server on loopback (moto's), and a proxy before it that cuts connections."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BUCKET = "vbatch-files"
# Any pair will do for moto; real clients want one.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Run the server with an empty bucket; yield its address."""
    port = free_port()
    with (folder / "s3.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    try:
        _make_bucket(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _make_bucket(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, "the S3 server ended"
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("PUT", f"/{BUCKET}")
            assert connection.getresponse().status == 200
            return
        except OSError:
            assert time.monotonic() < deadline, "the S3 server did not come up"
            time.sleep(0.1)


class CuttingProxy:
    """Passes connections on to a port, and cuts each when it has answered `cut_after` bytes.

    With `cut_after` None nothing is cut; `cuts` counts those that were.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self.cut_after: int | None = None
        self.cuts = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._start(self._forward, near, far)
                self._start(self._back, far, near)

    def _start(self, call: Callable[..., None], *args: socket.socket) -> None:
        threading.Thread(target=call, args=args, daemon=True).start()

    def _forward(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while block := near.recv(65_536):
                far.sendall(block)
            far.shutdown(socket.SHUT_WR)

    def _back(self, far: socket.socket, near: socket.socket) -> None:
        left = self.cut_after
        with suppress(OSError):
            while block := far.recv(65_536):
                if left is not None and len(block) >= left:
                    near.sendall(block[:left])
                    self.cuts += 1
                    break
                near.sendall(block)
                left = None if left is None else left - len(block)
        for end in (near, far):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
