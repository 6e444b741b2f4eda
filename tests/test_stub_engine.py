"""The stub engine does what the tests that stand on it take for granted."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PYTHON = Path(__file__).parent / "stub_engine" / "python"
ENV = {**os.environ, "VBATCH_STUB_PYTHON": sys.executable}


class Stub:
    """A stub server of its own session, on a UNIX socket."""

    def __init__(self, folder: Path, **plan: Any) -> None:
        self.folder = folder
        self.socket = folder / "s.sock"
        (folder / "stub.json").write_text(json.dumps(plan))
        self.start()

    def start(self) -> None:
        command = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", self.folder]
        command += ["--served-model-name", "toy", "alias", "--uds", self.socket]
        command += ["--enforce-eager", "--some-new-flag", "7"]
        self.process = subprocess.Popen(
            command, env=ENV, stderr=subprocess.PIPE, start_new_session=True, text=True
        )

    def wait(self) -> None:
        deadline = time.monotonic() + 10
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                if self.ask("GET", "/health")[0] == 200:
                    return
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"not up: {self.process.poll()}")

    def connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("stub", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(10)
        connection.sock.connect(str(self.socket))
        return connection

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes, Any]:
        connection = self.connect()
        connection.request(method, path, body=body)
        response = connection.getresponse()
        return response.status, response.read(), response.headers

    def chat(self, text: str) -> tuple[int, bytes, Any]:
        return self.ask("POST", "/v1/chat/completions", chat_body(text))

    def stop(self) -> None:
        # The group outlives its leader when the server was killed alone.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def chat_body(text: str) -> bytes:
    body = {"model": "toy", "messages": [{"role": "user", "content": text}]}
    return json.dumps(body, ensure_ascii=False).encode()


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    server = Stub(tmp_path, answer_bytes=1024)
    server.wait()
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/chat/completions", "chat.completion"),
        ("/v1/completions", "text_completion"),
        ("/v1/responses", "response"),
        ("/v1/embeddings", "list"),
    ],
)
def test_every_endpoint_answers_in_the_shape_of_vllm(stub: Stub, path: str, kind: str) -> None:
    body = {"model": "alias", "prompt": "p", "input": "i", "messages": [{"content": "m"}]}
    status, answer, _ = stub.ask("POST", path, json.dumps(body).encode())
    found = json.loads(answer)
    assert (status, found["object"], found["model"]) == (200, kind, "alias")
    assert found["usage"]["total_tokens"] > 0
    if kind != "list":
        assert abs(len(answer) - 1024) <= 2


def test_answers_depend_on_the_prompt_alone_and_the_door_notes_each_request(stub: Stub) -> None:
    texts = []
    for prompt in ("one", "one", "two"):
        texts.append(json.loads(stub.chat(prompt)[1])["choices"][0]["message"]["content"])
    assert texts[0] == texts[1] != texts[2]
    door = [line.split() for line in (stub.folder / "door.log").read_text().splitlines()]
    expected = [hashlib.sha1(chat_body(p)).hexdigest() for p in ("one", "one", "two")]
    assert [line[1] for line in door] == expected


def test_refusals_look_like_those_of_vllm(stub: Stub) -> None:
    status, body, _ = stub.ask("POST", "/v1/chat/completions", b'{"model":"nope","messages":[]}')
    assert (status, json.loads(body)["error"]["code"]) == (404, 404)
    status, body, _ = stub.ask("POST", "/v1/chat/completions", b"{")
    assert (status, json.loads(body)["error"]["type"]) == (400, "BadRequestError")
    assert stub.ask("POST", "/v1/audio", b"{}")[0] == 404


def test_marks_spoil_only_their_own_request(stub: Stub) -> None:
    status, body, headers = stub.chat("STUB:STATUS:429:2")
    assert (status, headers["retry-after"]) == (429, "1")
    assert [stub.chat("STUB:STATUS:429:2")[0] for _ in range(2)] == [429, 200]
    assert rb"\u0000" in stub.chat("STUB:NUL")[1]
    assert rb"\ud800" in stub.chat("STUB:SURROGATE")[1]
    assert len(stub.chat("STUB:PRETTY")[1].splitlines()) > 10
    assert max(map(len, json.loads(stub.chat("STUB:BIGKEY")[1]))) == 9_000
    with pytest.raises(json.JSONDecodeError):
        json.loads(stub.chat("STUB:NOTJSON")[1])
    started = time.monotonic()
    assert stub.chat("STUB:SLEEP:0.3")[0] == 200
    assert time.monotonic() - started >= 0.3
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        stub.chat("STUB:DROP")
    with pytest.raises(http.client.IncompleteRead):
        stub.chat("STUB:HALF")
    assert stub.chat("good")[0] == 200


def test_hanging_and_waiting_requests_are_counted_and_given_up_with_their_client(
    stub: Stub,
) -> None:
    (stub.folder / "stub.json").write_text('{"max_concurrency": 1}')
    time.sleep(0.3)
    hanging, waiting = stub.connect(), stub.connect()
    for connection, text in ((hanging, "STUB:HANG"), (waiting, "behind")):
        connection.request("POST", "/v1/chat/completions", body=chat_body(text))
        time.sleep(0.1)
    assert _metric(stub, "vllm:num_requests_running") == 1
    assert _metric(stub, "vllm:num_requests_waiting") == 1
    hanging.close()
    assert waiting.getresponse().status == 200
    assert _metric(stub, "stub:requests_aborted_total") == 1


def _metric(stub: Stub, name: str) -> float:
    lines = stub.ask("GET", "/metrics")[1].decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(name + "{"))


def test_killed_server_leaves_its_core_behind_in_its_group(stub: Stub) -> None:
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        stub.chat("STUB:DIE:server")
    assert stub.process.wait(5) == -signal.SIGKILL
    os.killpg(stub.process.pid, 0)  # The core is still there, as vLLM's is.


def test_death_of_all_leaves_nothing_and_a_counted_one_happens_so_often(stub: Stub) -> None:
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        stub.chat("STUB:DIE:1")
    stub.process.wait(5)
    assert _group_ends(stub.process.pid)
    stub.start()
    stub.wait()
    assert stub.chat("STUB:DIE:1")[0] == 200


def _group_ends(group: int, *, within_s: float = 10) -> bool:
    """Say whether a process group empties; its dead stay in it until init has collected them."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_server_ends_soon_after_its_core_with_500_for_those_inside(stub: Stub) -> None:
    status, body, _ = stub.chat("STUB:DIE:core")
    assert status == 500
    assert "EngineCore" in json.loads(body)["error"]["message"]
    assert stub.ask("GET", "/health")[0] == 503
    assert stub.process.wait(5) == 1


def test_failing_start_says_why_and_later_ones_succeed(tmp_path: Path) -> None:
    stub = Stub(tmp_path, start_fails="ValueError: no memory", start_fails_times=1)
    assert stub.process.wait(10) == 1
    assert stub.process.stderr is not None
    assert "ValueError: no memory" in stub.process.stderr.read()
    stub.start()
    stub.wait()
    stub.process.terminate()
    assert stub.process.wait(5) == 0
    assert _group_ends(stub.process.pid)
    assert len((tmp_path / "starts.log").read_text().splitlines()) == 2


def test_its_python_says_the_version_of_vllm() -> None:
    code = "import vllm, importlib.metadata as m; print(vllm.__version__, m.version('vllm'))"
    done = subprocess.run([PYTHON, "-c", code], env=ENV, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0.32.0", "0.32.0"]
