"""The commands of the terminal: `createapikey` and `submitbatch`."""

from __future__ import annotations

import io
import json
import threading
import time

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from jobs.management import progress
from jobs.models import Batch, ProjectKey
from tests.api.conftest import Api, Member, line, lines, validate


@pytest.mark.django_db
def test_createapikey_prints_the_key_and_nothing_else_on_stdout(model, capsys):
    call_command("createapikey", "mine", project="new", expires=30)
    printed = capsys.readouterr()
    key = ProjectKey.objects.get()
    assert (key.name, key.project.name) == ("mine", "new")
    assert (key.expiry_date - key.created).days in (29, 30)
    assert printed.out.count("\n") == 1
    assert Api(Member(key.project, printed.out.strip())).get("/v1/models").status_code == 200
    assert printed.out.strip() not in printed.err


@pytest.mark.django_db
@pytest.mark.parametrize(
    "arguments",
    [
        {"name": ""},
        {"name": "x" * 51},
        {"name": "a\nb"},
        {"name": "x", "project": ""},
        {"name": "x", "project": "p" * 65},
        {"name": "x", "expires": 0},
        {"name": "x", "expires": 10**9},
    ],
)
def test_createapikey_refuses_what_makes_no_sense(arguments):
    options = dict(arguments)
    with pytest.raises(CommandError):
        call_command("createapikey", options.pop("name"), **options)
    assert ProjectKey.objects.count() == 0


@pytest.fixture
def submit(live_server, owner, lane, monkeypatch):
    """Run the command; a thread does what the task queue and a lane would do meanwhile."""
    monkeypatch.setattr(progress, "POLL_S", 0.05)
    stop = threading.Event()
    failing: list[str] = []

    def work() -> None:
        try:
            while not stop.wait(0.05):
                for batch in Batch.objects.filter(state="validating"):
                    validate(batch.public_id)
                lane.answer(failing=failing)
        finally:
            connections.close_all()

    worker = threading.Thread(target=work)
    worker.start()

    def run(*args: str, fail: tuple[str, ...] = ()) -> tuple[str, str]:
        failing[:] = fail
        out, err = io.StringIO(), io.StringIO()
        run.err = err
        call_command(
            "submitbatch",
            *map(str, args),
            base_url=f"{live_server.url}/v1",
            api_key=owner.key,
            stdout=out,
            stderr=err,
        )
        return out.getvalue(), err.getvalue()

    yield run
    stop.set()
    worker.join(10)


@pytest.mark.django_db(transaction=True)
def test_submitbatch_waits_and_writes_the_answers(submit, tmp_path):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(lines(5))
    asked = ("--priority", "1", "--request-order", "file", "--no-reuse")
    out, err = submit(source, "--wait", "--output", target, *asked)
    batch = Batch.objects.get()
    assert out.splitlines() == [
        batch.public_id,
        "All 5 lines were answered. Tokens: 50 in, 20 out.",
    ]
    assert (batch.priority, batch.request_order, batch.reuse_answers) == (1, "file", False)
    answers = [json.loads(one) for one in target.read_text().splitlines()]
    assert [one["custom_id"] for one in answers] == [f"line-{n}" for n in range(5)]
    assert f"Written: {target}" in err
    assert sorted(one.name for one in tmp_path.glob("*.jsonl*")) == ["in.jsonl", "out.jsonl"]


@pytest.mark.django_db(transaction=True)
def test_submitbatch_says_which_part_failed(submit, tmp_path):
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(lines(5))
    with pytest.raises(CommandError) as end:
        submit(source, "--output", target, fail=("line-3",))
    assert "4 of 5 lines were answered, 1 failed" in str(end.value)
    assert end.value.returncode != 0
    assert len(target.read_text().splitlines()) == 4
    errors = (tmp_path / "out.errors.jsonl").read_text()
    assert json.loads(errors)["custom_id"] == "line-3"


@pytest.mark.django_db(transaction=True)
def test_submitbatch_prints_findings_by_line(submit, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_bytes(line("a") + b"\n\n" + line("b", method="GET") + b"\n")
    with pytest.raises(CommandError, match="input was not accepted"):
        submit(source, "--wait")
    assert submit.err.getvalue() == "line 3: Method 'GET' must be 'POST'. (invalid_method)\n"


@pytest.mark.django_db(transaction=True)
def test_submitbatch_writes_a_model_into_the_lines(submit, tmp_path):
    source = tmp_path / "in.txt"
    source.write_bytes(
        line("a", body={"model": "other", "messages": [{"role": "user", "content": "\u4f60"}]})
        + b"\n"
        + line("b", body={"messages": [{"role": "user", "content": "hi"}]})
        + b"\n"
    )
    out, _ = submit(source, "--model", "small", "--wait")
    assert "All 2 lines were answered." in out
    assert Batch.objects.get().model_name == "small"


@pytest.mark.django_db(transaction=True)
def test_submitbatch_without_wait_prints_the_id_and_can_be_gone_on_with(submit, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_bytes(lines(3))
    out, _ = submit(source)
    batch_id = out.strip()
    assert batch_id == Batch.objects.get().public_id
    out, _ = submit("--batch", batch_id, "--wait")
    assert "All 3 lines were answered." in out
    assert Batch.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_submitbatch_interrupted_says_how_to_go_on(submit, tmp_path, monkeypatch):
    source = tmp_path / "in.jsonl"
    source.write_bytes(lines(3))

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(progress, "_poll", interrupt)
    with pytest.raises(CommandError) as end:
        submit(source, "--wait")
    assert f"submitbatch --batch {Batch.objects.get().public_id} --wait" in str(end.value)
    assert end.value.returncode == 130


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no requests"),
        (b"\n \n", "holds no requests"),
        (b"not json\n", "is not JSON"),
        (b'{"prompt": "hi"}\n', "not in the form of a batch"),
        (b"[1]\n", "not in the form of a batch"),
        (None, "Cannot read"),
    ],
)
def test_submitbatch_looks_at_the_file_first(tmp_path, content, words):
    source = tmp_path / "in.jsonl"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(CommandError, match=words):
        call_command("submitbatch", str(source), api_key="x", base_url="http://127.0.0.1:9/v1")


def test_submitbatch_says_what_to_do_without_key_file_or_server(tmp_path, monkeypatch):
    for name in ("VBATCH_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CommandError, match="createapikey"):
        call_command("submitbatch", "in.jsonl")
    with pytest.raises(CommandError, match="either a FILE"):
        call_command("submitbatch", api_key="x")
    source = tmp_path / "in.jsonl"
    source.write_bytes(lines(1))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(CommandError, match="manage.py runweb"):
        call_command("submitbatch", str(source), api_key="x", base_url="http://127.0.0.1:9/v1")


@pytest.mark.django_db(transaction=True)
def test_submitbatch_with_a_key_that_is_refused(live_server, tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_bytes(lines(1))
    with pytest.raises(CommandError, match="Incorrect API key"):
        call_command(
            "submitbatch", str(source), api_key="wrong.key", base_url=f"{live_server.url}/v1"
        )
