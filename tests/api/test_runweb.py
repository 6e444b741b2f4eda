"""The web server itself, as `manage.py runweb` starts it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from urllib.parse import quote

import openai
import pytest
from django.db import connection
from openai import OpenAI

from tests.api.conftest import Member, line, lines, make_member, multipart
from vbatch_site.web_server import options

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.stack]

ROOT = Path(__file__).resolve().parents[2]
MB = 1024 * 1024
MAX_FILE_BYTES = 210 * MB


@dataclass
class Web:
    """A running server, over the database of the test."""

    process: subprocess.Popen[bytes]
    port: int
    data_dir: Path
    member: Member

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def client(self) -> OpenAI:
        return OpenAI(base_url=f"http://127.0.0.1:{self.port}/v1", api_key=self.member.key)

    def raw(self, request: bytes) -> tuple[bytes, dict]:
        """Send bytes as they are; return the status line and the JSON of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as sock:
            sock.sendall(request)
            answer = b""
            while block := sock.recv(65_536):
                answer += block
        head, _, body = answer.partition(b"\r\n\r\n")
        assert re.search(rb"(?im)^content-type: application/json", head), answer
        assert re.search(rb"(?im)^x-request-id: req_", head), answer
        return head.split(b"\r\n")[0], json.loads(body)

    def peak_kib(self) -> int:
        """Return the most memory that any process of the server has had."""
        family = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, check=True
        )
        peaks = []
        for pid in [self.process.pid, *map(int, family.stdout.split())]:
            status = Path(f"/proc/{pid}/status").read_text()
            peaks.append(int(re.search(r"VmHWM:\s+(\d+)", status)[1]))
        return max(peaks)

    def incoming(self) -> list[Path]:
        return list((self.data_dir / "files" / "incoming").iterdir())


@pytest.fixture
def web(tmp_path) -> Iterator[Web]:
    member = make_member("owner")
    parameters = connection.get_connection_params()
    host = quote(str(parameters.get("host") or "127.0.0.1"), safe="")
    user, port = parameters.get("user") or "postgres", parameters.get("port") or 5432
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    environ = {
        **os.environ,
        "DATABASE_URL": f"postgresql://{user}@{host}:{port}/{parameters['dbname']}",
        "VBATCH_DATA_DIR": str(tmp_path / "data"),
        "VBATCH_HOST": "127.0.0.1",
        "VBATCH_PORT": str(free),
        "VBATCH_MAX_FILE_BYTES": str(MAX_FILE_BYTES),
        "VBATCH_WEB_WORKERS": "1",
    }
    with (tmp_path / "web.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "runweb"],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        for said in process.stdout:
            if said.startswith(b"Serving on http://127.0.0.1:%d" % free):
                break
        else:
            pytest.fail((tmp_path / "web.log").read_text())
        yield Web(process, free, tmp_path / "data", member)
    finally:
        process.terminate()
        process.wait(40)
        connection.close()
    assert process.returncode == 0, (tmp_path / "web.log").read_text()


def test_an_upload_of_200_mb_does_not_grow_the_server(web):
    row = line("x", body={"model": "small", "messages": [], "user": "y" * 2_000}) + b"\n"
    block = row * (MB // len(row))
    count = 200 * MB // len(block)
    boundary, form = multipart({"purpose": "batch"}, b"", "in.jsonl")
    cut = form.index(b"\r\n--" + boundary.encode() + b"--")
    http_ = web.connection()
    http_.request("GET", "/v1/models", headers=web.member.headers())
    http_.getresponse().read()
    before = web.peak_kib()
    http_.putrequest("POST", "/v1/files")
    http_.putheader("Content-Type", f"multipart/form-data; boundary={boundary}")
    http_.putheader("Content-Length", str(len(form) + count * len(block)))
    for name, value in web.member.headers().items():
        http_.putheader(name, value)
    http_.endheaders()
    http_.send(form[:cut])
    for _ in range(count):
        http_.send(block)
    http_.send(form[cut:])
    response = http_.getresponse()
    stored = json.loads(response.read())
    assert response.status == 200, stored
    assert stored["bytes"] == count * len(block) > 199 * MB
    # Neither does its download.
    http_.request("GET", f"/v1/files/{stored['id']}/content", headers=web.member.headers())
    response = http_.getresponse()
    assert response.headers["Content-Length"] == str(stored["bytes"])
    received = 0
    while part := response.read(MB):
        received += len(part)
    assert received == stored["bytes"]
    grown = (web.peak_kib() - before) / 1024
    assert grown < 30, f"grown by {grown:.0f} MB"
    assert web.incoming() == []


def test_the_server_at_its_edges(web):
    client = web.client()
    # What is far too large is refused in a way that the client understands.
    with pytest.raises(openai.APIStatusError) as refused:
        client.files.create(file=("in.jsonl", b"{" + b" " * (MAX_FILE_BYTES + MB)), purpose="batch")
    assert (refused.value.status_code, refused.value.code) == (413, "file_too_large")
    assert web.incoming() == []

    # A body without a declared length.
    boundary, form = multipart({"purpose": "batch"}, lines(3), "in.jsonl")
    http_ = web.connection()
    headers = web.member.headers(**{"Content-Type": f"multipart/form-data; boundary={boundary}"})
    http_.request("POST", "/v1/files", iter([form[:50], form[50:]]), headers, encode_chunked=True)
    response = http_.getresponse()
    stored = json.loads(response.read())
    assert (response.status, stored["bytes"]) == (200, len(lines(3)))
    http_.request("HEAD", f"/v1/files/{stored['id']}/content", headers=web.member.headers())
    response = http_.getresponse()
    assert (response.status, response.read()) == (200, b"")
    assert response.headers["Content-Length"] == str(len(lines(3)))
    # The connection is still good after each of these.
    http_.request("GET", "/v1/none")
    assert http_.getresponse().status == 404

    # What is not even HTTP is answered in the API's shape too.
    key = f"Authorization: Bearer {web.member.key}\r\n".encode()
    for request, status in (
        (b"GET /v1/files HTTP/1.1\r\nHost: x\r\nBad Header: x\r\n\r\n", 400),
        (b"GET /v1/" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET /v1/files HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"nonsense\r\n\r\n", 400),
        (b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", 400),
        (
            b"POST /v1/batches HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n" + key + b"\r\n2\r\n{}\r\n0\r\n\r\n",
            411,
        ),
    ):
        first, body = web.raw(request)
        assert int(first.split()[1]) == status, (request[:60], first)
        assert set(body["error"]) == {"message", "type", "param", "code"}

    # A client that goes away in mid-upload leaves nothing behind.
    with socket.create_connection(("127.0.0.1", web.port)) as sock:
        sock.sendall(
            b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\n" + key + b"Content-Length: 999999\r\n"
            b"Content-Type: multipart/form-data; boundary="
            + boundary.encode()
            + b"\r\n\r\n"
            + form[:-40]
            + b" " * 200_000
        )
        deadline = time.monotonic() + 10
        while not web.incoming():
            assert time.monotonic() < deadline
            time.sleep(0.02)
    while web.incoming():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(client.files.list().data) == 1


def test_a_taken_port_is_said_at_once(web, tmp_path):
    second = subprocess.run(
        [sys.executable, "manage.py", "runweb"],
        cwd=ROOT,
        env={
            **os.environ,
            "VBATCH_PORT": str(web.port),
            "VBATCH_DATA_DIR": str(tmp_path / "second"),
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",
        },
        capture_output=True,
        timeout=60,
    )
    assert second.returncode == 1
    assert b"VBATCH_PORT" in second.stderr


def test_a_second_sigterm_is_no_harm(web):
    web.process.send_signal(signal.SIGTERM)
    web.process.send_signal(signal.SIGTERM)
    assert web.process.wait(30) == 0


def test_a_worker_that_is_told_to_end_before_it_listens_ends():
    hook = options(host="127.0.0.1", port=1, workers=1, threads=1, ready=print)["post_fork"]
    master = SimpleNamespace(SIG_QUEUE=SimpleQueue())
    known = signal.getsignal(signal.SIGTERM)
    try:
        hook(master, None)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "the next one ends it"
        master.SIG_QUEUE.put(signal.SIGCHLD)
        master.SIG_QUEUE.put(signal.SIGTERM)
        with pytest.raises(SystemExit) as ended:
            hook(master, None)
        assert ended.value.code == 0
    finally:
        signal.signal(signal.SIGTERM, known)


def stop(data_dir: Path) -> str:
    """Run `manage.py stop` for a data folder; return what it says."""
    environ = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, "manage.py", "stop"],
        cwd=ROOT,
        env={**environ, "VBATCH_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_stop_ends_the_web_server_of_its_data_folder_and_nothing_else(web, tmp_path):
    assert stop(tmp_path / "other") == "Nothing runs here now.\n"
    assert web.process.poll() is None
    # What a killed server leaves: a file with a number that somebody else has by now.
    with subprocess.Popen(["sleep", "60"]) as innocent:
        left = web.data_dir / "run" / f"runweb-{innocent.pid}.pid"
        left.touch()
        said = stop(web.data_dir)
        assert innocent.poll() is None
        innocent.kill()
    assert said == f"Stopping runweb (process {web.process.pid}) ...\nStopped.\n"
    assert web.process.wait(1) == 0
    assert list((web.data_dir / "run").glob("*.pid")) == [left]
    assert stop(web.data_dir) == "Nothing runs here now.\n"
