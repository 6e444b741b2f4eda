"""The page for programs, whose quick starts work as they stand; and addresses typed otherwise."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from html import unescape
from pathlib import Path

import playwright
import pytest
from django.db import connection
from django.test import Client

from jobs.models import Batch, ServedModel
from jobs.services.projects import create_key
from tests.api.checks import check_error
from tests.api.conftest import AnsweringLane, validate
from tests.cast import get_model
from tests.pages.test_kit import _Strict

ENDPOINTS = ["chat/completions", "completions", "embeddings", "responses"]


def _code(html: str, name: str) -> str:
    """Return the text of a command as a reader would copy it."""
    found = re.search(rf'id="{name}"><pre tabindex="0"><code>(.*?)</code></pre>', html, re.S)
    assert found, name
    return unescape(found[1])


@pytest.mark.django_db
def test_anybody_reads_it_and_learns_no_names(client):
    ServedModel.objects.create(name="secret-model", source="/m")
    html = client.get("/docs").content.decode()
    assert "http://testserver/v1" in html and "MODEL" in html
    assert "secret-model" not in html


def test_it_stands_in_the_frame_and_needs_nothing_from_elsewhere(page):
    response = page.get("/docs")
    html = response.content.decode()
    strict = _Strict()
    strict.feed(html)
    assert strict.faults == []
    assert 'aria-current="page"' in html and 'href="/docs/api"' in html and 'href="/schema"' in html


def test_it_names_this_server_its_model_its_project_and_its_limits(page, project, settings):
    settings.ALLOWED_HOSTS = ["gpu7"]
    settings.MAX_LINES = 12_345
    settings.MAX_LIVE_BATCHES = 0
    settings.REQUESTS_PER_MINUTE = 77
    ServedModel.objects.create(name='odd "name" <é>', source="/m")
    html = page.get("/docs", SERVER_NAME="gpu7", SERVER_PORT="8123").content.decode()
    assert "12,345" in html and ">77<" in html and ">no limit<" in html
    assert "createapikey first --project ours)" in html
    for name in ("curl-send", "python-send", "javascript-send"):
        code = _code(html, name)
        assert "http://gpu7:8123/v1" in code
        assert json.dumps('odd "name" <é>') in code
    requests = re.findall(r"^\{.*\}$", _code(html, "curl-send"), re.M)
    assert [json.loads(one)["body"]["model"] for one in requests] == ['odd "name" <é>'] * 2


@pytest.mark.parametrize("address", ["/", "/batches"])
def test_a_page_without_batches_shows_the_same_commands(page, address):
    get_model()
    docs, empty = (page.get(one).content.decode() for one in ("/docs", address))
    assert _code(empty, "curl-send") == _code(docs, "curl-send")


def test_the_line_that_submit_shows_is_the_first_of_the_quick_start(page):
    get_model()
    line = _code(page.get("/submit").content.decode(), "example-line")
    assert line in _code(page.get("/docs").content.decode(), "curl-send").splitlines()


@pytest.fixture
def shown(live_server, page, project, own_files):
    """Return the page as this live server shows it, and what its programs find around them."""
    get_model()
    host, _, port = live_server.url.removeprefix("http://").partition(":")
    html = page.get("/docs", SERVER_NAME=host, SERVER_PORT=port).content.decode()
    _, key = create_key(project=project, name="test")
    environ = {"PATH": os.environ["PATH"], "OPENAI_API_KEY": key, "NO_PROXY": "*"}
    return html, environ


def _answer_what_comes() -> Batch:
    """Wait for a batch, and do for it what the worker would do."""
    deadline = time.monotonic() + 60
    while (batch := Batch.objects.first()) is None:
        assert time.monotonic() < deadline, "no batch came"
        time.sleep(0.05)
    validate(batch.public_id)
    AnsweringLane(get_model()).answer()
    batch.refresh_from_db()
    assert (batch.state, batch.completed, batch.findings) == ("completed", 2, [])
    return batch


def _run(program: list[str], environ: dict[str, str], folder: Path) -> tuple[Batch, list[str]]:
    """Run a program that waits for its batch; return that, and the lines that it printed."""
    running = subprocess.Popen(
        program, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        batch = _answer_what_comes()
        out, errors = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 0, errors.decode()
    return batch, out.decode().splitlines()


@pytest.mark.django_db(transaction=True)
def test_the_python_quick_start_works(shown, tmp_path):
    html, environ = shown
    batch, out = _run([sys.executable, "-c", _code(html, "python-send")], environ, tmp_path)
    assert out[0] == batch.public_id
    assert out[-2:] == ["sky to sky", "sea to sea"]


@pytest.mark.django_db(transaction=True)
def test_the_javascript_quick_start_works(shown, tmp_path):
    """With a client that makes the same calls as the npm package, which tests do not install."""
    html, environ = shown
    package = tmp_path / "node_modules" / "openai"
    package.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("openai_client.mjs"), package / "index.mjs")
    (package / "package.json").write_text('{"name": "openai", "exports": "./index.mjs"}')
    (tmp_path / "first.mjs").write_text(_code(html, "javascript-send"))
    # Playwright brings a node of its own.
    node = Path(playwright.__file__).parent / "driver" / "node"
    batch, out = _run([str(node), "first.mjs"], environ, tmp_path)
    assert out[0] == batch.public_id
    assert out[-2:] == ["sky to sky", "sea to sea"]


@pytest.mark.django_db(transaction=True)
def test_the_curl_quick_start_works(shown, tmp_path):
    html, environ = shown
    made: list[Batch] = []

    def work() -> None:
        made.append(_answer_what_comes())
        connection.close()

    # The second part is typed when there are answers; until then the shell waits for a line.
    commands = f"{_code(html, 'curl-send')}\nread -r\n{_code(html, 'curl-answers')}"
    running = subprocess.Popen(
        ["bash", "-ec", commands],
        cwd=tmp_path,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    worker = threading.Thread(target=work)
    worker.start()
    worker.join(timeout=90)
    out, errors = running.communicate(b"\n", timeout=60)
    assert running.returncode == 0, errors.decode()
    first, *answers = out.decode().splitlines()
    assert first == made[0].public_id
    assert [json.loads(one)["custom_id"] for one in answers] == ["sky", "sea"]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("method", ["get", "post"])
def test_a_single_request_is_told_to_come_in_a_batch(endpoint, method):
    response = getattr(Client(), method)(f"/v1/{endpoint}")
    check_error(response, 404, "batch_only", None, f"This server answers /v1/{endpoint} in batches")
    message = response.json()["error"]["message"]
    assert "POST /v1/batches" in message and "http://testserver/docs" in message


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/batches", "/docs", "/submit", "/status", "/docs/api"])
def test_a_slash_too_many_is_taken_away(client, address):
    response = client.get(f"{address}/?a=b&c=%2F")
    assert (response.status_code, response["Location"]) == (302, f"{address}?a=b&c=%2F")
    assert client.post(f"{address}/").status_code == 404


@pytest.mark.django_db
@pytest.mark.parametrize(
    "address", ["/nothing/", "//example.org/", "//example.org//", "/\\example.org/", "/v1/files/"]
)
def test_an_address_that_is_none_is_none_with_a_slash(client, address):
    # By itself the client would take the beginning of some for the name of a host.
    assert client.get("/", PATH_INFO=address).status_code == 404


@pytest.mark.django_db
def test_the_administration_keeps_its_slashes(client):
    assert client.get("/admin/")["Location"] == "/admin/login/?next=/admin/"
    assert client.get("/admin/login/").status_code == 200
