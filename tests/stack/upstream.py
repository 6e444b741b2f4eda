"""`Upstream`: somebody else's OpenAI-compatible server, which is the stub engine on a port."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from types import TracebackType

from tests.stack.product import STUB_PYTHON, Stack, free_port


class Upstream:
    """A server that answers for `name`, by the plan of that name in the stack's folder.

    Use as a context manager; within it, it may be killed and started again.
    """

    def __init__(self, stack: Stack, name: str = "remote") -> None:
        self._stack = stack
        self._name = name
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/v1"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Upstream:
        self._stack.write_plan(self._name)
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [str(STUB_PYTHON), "-m", "vllm.entrypoints.openai.api_server"]
        command += ["--model", str(self._stack.model_dir(self._name))]
        command += ["--served-model-name", self._name, "--port", str(self._port)]
        with (self._stack.folder / "upstream.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, "VBATCH_STUB_PYTHON": sys.executable},
                stderr=log,
                start_new_session=True,
            )
        self._stack.wait(self._answers, 20, "the upstream to answer")

    def stop(self) -> None:
        """Stop it; its clients see their connections break off."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"{self.url.removesuffix('/v1')}/metrics", timeout=5) as page:
            text = page.read().decode()
        return next(
            float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name}{{")
        )

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/models", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False
