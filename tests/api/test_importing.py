"""`manage.py importbatch`: batches that were answered elsewhere, whole or not at all."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError

from jobs.models import (
    AuditEntry,
    Batch,
    BatchResponse,
    Project,
    StoredFile,
    WebhookDelivery,
)
from jobs.services import importing
from jobs.services.webhooks import anything_due
from tests.api.conftest import MODEL, Api, line, lines
from tests.histories.check import check_files, check_tables

pytestmark = pytest.mark.django_db(transaction=True)


def chat(text: str, **usage: int) -> dict[str, Any]:
    return {
        "id": "chatcmpl-9",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14, **usage},
    }


def result(custom_id: str, **changes: Any) -> bytes:
    """Return a line as OpenAI writes it, with what is named changed."""
    value = {
        "id": f"batch_req_{custom_id}",
        "custom_id": custom_id,
        "response": {"status_code": 200, "request_id": "r", "body": chat(f"to {custom_id}")},
        "error": None,
        **changes,
    }
    return json.dumps(value).encode() + b"\n"


@pytest.fixture
def run(tmp_path: Path, owner):
    """Run the command on these contents; return what it printed on stdout."""

    def run(given: bytes, output: bytes, *more: str, errors: bytes | None = None) -> str:
        names = {"in.jsonl": given, "out.jsonl": output, "errors.jsonl": errors}
        for name, content in names.items():
            if content is not None:
                (tmp_path / name).write_bytes(content)
        if errors is not None:
            more = ("--errors", str(tmp_path / "errors.jsonl"), *more)
        said = io.StringIO()
        call_command(
            "importbatch",
            str(tmp_path / "in.jsonl"),
            str(tmp_path / "out.jsonl"),
            "--project=owner",
            *more,
            stdout=said,
        )
        return said.getvalue()

    return run


def refused(run, capsys, *contents: bytes, **more: Any) -> str:
    """The command refuses, says why, and leaves nothing behind."""
    with pytest.raises(CommandError) as found:
        run(*contents, **more)
    assert not Batch.objects.exists()
    assert not StoredFile.objects.exists()
    return f"{capsys.readouterr().err}{found.value}"


def test_openai_files_become_a_batch_that_reads_like_any_other(run, api: Api, lane) -> None:
    failed = {
        "status_code": 400,
        "request_id": "r",
        "body": {"error": {"message": "Too long.", "type": "invalid_request_error", "code": None}},
    }
    expired = {"code": "batch_expired", "message": "Not executed."}
    said = run(
        lines(4),
        result("line-2") + b"\n" + result("line-0"),
        "--created-at=2025-06-01T08:30Z",
        errors=result("line-1", response=failed) + result("line-3", response=None, error=expired),
    )
    name = said.splitlines()[0]
    assert "4 lines of 'small': 2 answered, 2 failed. Tokens: 20 in, 8 out." in said
    batch = api.get(f"/v1/batches/{name}").json()
    assert (batch["status"], batch["model"]) == ("completed", MODEL)
    assert batch["request_counts"] == {"total": 4, "completed": 2, "failed": 2}
    assert batch["created_at"] == 1748766600
    content = api.get(f"/v1/files/{batch['output_file_id']}/content").getvalue()
    assert [json.loads(one)["custom_id"] for one in content.splitlines()] == ["line-0", "line-2"]
    errors = api.get(f"/v1/files/{batch['error_file_id']}/content").getvalue()
    assert [json.loads(one)["error"]["code"] for one in errors.splitlines()] == [
        "invalid_request_error",
        "batch_expired",
    ]
    stored = Batch.objects.get()
    assert BatchResponse.objects.get(request__custom_id="line-0").text == "to line-0"
    check_tables()
    check_files(stored)
    assert stored.imported_at is not None
    assert not anything_due() and not WebhookDelivery.objects.exists()
    deed = AuditEntry.objects.get(action="batch.import")
    assert (deed.target, deed.details) == (name, {"lines": 4, "missing": 0})


def test_the_files_of_a_batch_of_ours_come_back_as_they_were(run, api: Api, lane, capsys) -> None:
    given = lines(5)
    made = api.make(given)
    lane.answer(failing=["line-3"])
    first = api.get(f"/v1/batches/{made['id']}").json()
    contents = [
        api.get(f"/v1/files/{first[name]}/content").getvalue()
        for name in ("output_file_id", "error_file_id")
    ]
    name = run(given, contents[0], errors=contents[1]).splitlines()[0]
    again = api.get(f"/v1/batches/{name}").json()
    assert again["request_counts"] == first["request_counts"]
    assert again["usage"] == first["usage"]
    for file, before in zip(("output_file_id", "error_file_id"), contents, strict=True):
        after = api.get(f"/v1/files/{again[file]}/content").getvalue()
        for old, new in zip(before.splitlines(), after.splitlines(), strict=True):
            old_line, new_line = json.loads(old), json.loads(new)
            for one in (old_line, new_line):
                del one["id"]
                if one["response"]:
                    del one["response"]["request_id"]
            assert new_line == old_line


def test_run_batch_puts_answers_and_errors_into_one_file(run) -> None:
    bad = {"status_code": 400, "request_id": "r", "body": None}
    said = run(
        lines(2),
        result("line-0") + result("line-1", response=bad, error={"message": "No.", "code": 400}),
    )
    assert "1 answered, 1 failed" in said
    check_tables()


def test_a_line_without_a_result_is_entered_as_failed(run, capsys) -> None:
    run(lines(3), result("line-1"))
    assert "2 lines of the input have no result" in capsys.readouterr().err
    codes = BatchResponse.objects.filter(ok=False).values_list("error_code", flat=True)
    assert list(codes) == ["result_missing"] * 2
    check_tables()


def test_a_model_that_is_not_served_here(run, api: Api) -> None:
    body = {"model": "gpt-9", "messages": [{"role": "user", "content": "x"}]}
    run(line("a", body=body) + b"\n", result("a"))
    assert Batch.objects.get().model is None
    assert api.get("/v1/batches").json()["data"][0]["model"] == "gpt-9"
    assert Batch.objects.get().model_name == "gpt-9"


@pytest.mark.parametrize(
    ("given", "output", "words"),
    [
        (lines(2), result("other"), ["out.jsonl line 1", "'other' is not in the input"]),
        (
            lines(2),
            result("line-0") * 2,
            ["out.jsonl line 2", "'line-0' has a result already"],
        ),
        (lines(2), b"{not json\n", ["out.jsonl line 1", "not valid JSON"]),
        (lines(2), b'{"custom_id": "line-0"}\n', ["neither a response nor an error"]),
        (lines(2), b'{"response": {"body": {}}}\n', ["has no custom_id"]),
        (lines(1) * 2, result("line-0"), ["in.jsonl line 2", "duplicate_custom_id"]),
        (lines(1) + b"{oops\n", result("line-0"), ["in.jsonl line 2", "invalid_json_line"]),
    ],
)
def test_files_that_do_not_fit_change_nothing(run, capsys, given, output, words) -> None:
    said = refused(run, capsys, given, output)
    for word in [*words, "Nothing was imported: 1 error."]:
        assert word in said


def test_findings_beyond_those_listed_are_counted(run, capsys, settings) -> None:
    settings.MAX_FINDINGS = 2
    said = refused(run, capsys, lines(1) + b"{\n" * 3, b"")
    assert "Nothing was imported: 3 errors, 1 of them not listed." in said
    assert said.count("in.jsonl line") == 2 and "more_errors" not in said
    said = refused(run, capsys, lines(1), result("x") * 3)
    assert "Nothing was imported: 3 errors, 1 of them not listed." in said


@pytest.mark.parametrize("name", ["m" * 201, "a\0b", "half \ud800"])
def test_a_name_of_a_model_that_cannot_be_kept_is_refused(run, capsys, name) -> None:
    body = {"model": name, "messages": [{"role": "user", "content": "x"}]}
    said = refused(run, capsys, line("a", body=body) + b"\n", result("a"))
    assert "in.jsonl: The model's name must have at most 200 printable characters." in said


def test_lines_that_name_several_models_need_a_name_for_the_whole(run, capsys) -> None:
    given = lines(1) + line("b", body={"model": "other", "messages": [{"role": "user"}]}) + b"\n"
    output = result("line-0") + result("b")
    assert "in.jsonl line 2" in refused(run, capsys, given, output)
    run(given, output, "--model", "both")
    batch = Batch.objects.get()
    assert (batch.model_name, batch.completed) == ("both", 2)


def test_odd_results_are_kept_as_far_as_they_can_be(run, capsys) -> None:
    """Whatever a server wrote, the batch has one answer a line, and its figures agree."""
    odd = [
        result("line-0", response={"status_code": 200, "body": chat("a\0b \ud800")}),
        result("line-1", response=None, error={"code": "c\0\ud800" + "x" * 99, "message": None}),
        result("line-2", response=None, error="just words"),
        result("line-3", response={"status_code": 503, "body": "not an object"}),
        result("line-4", error={"code": None, "message": "both"}),
        result("line-5", response=None, error={"error": {"type": "T", "message": "wrapped"}}),
        b'\xef\xbb\xbf{"custom_id":"line-6","response":{"body":{"odd":1}},"error":null}\r\n',
        result("line-7", response={"status_code": 404, "body": None}),
    ]
    run(lines(8), b"".join([odd[6], *odd[:6], b"\n \n", odd[7]]))
    check_tables()
    check_files(Batch.objects.get())
    rows = BatchResponse.objects.order_by("request__position")
    assert [row.ok for row in rows] == [True] + [False] * 5 + [True, False]
    assert [row.error_message for row in rows[2:6]] == [
        "just words",
        "not an object",
        "both",
        "wrapped",
    ]
    assert rows[7].error_code == "http_404"


def test_an_imported_batch_is_retried_like_any_other(run, api: Api, lane) -> None:
    name = run(lines(3), result("line-1")).splitlines()[0]
    made = api.post(f"/v1/batches/{name}/retry", b"").json()
    assert (made["parent_batch_id"], made["request_counts"]["total"]) == (name, 2)
    # Its lines count for the limit on queued tokens.
    assert Batch.objects.get(public_id=made["id"]).estimated_tokens > 0
    lane.answer()
    assert api.get(f"/v1/batches/{made['id']}").json()["status"] == "completed"


def test_a_project_without_room_takes_nothing(run, capsys, owner) -> None:
    Project.objects.filter(pk=owner.project.pk).update(max_stored_bytes=10)
    assert "may take 10 bytes" in refused(run, capsys, lines(1), result("line-0"))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--project=none",), "There is no project 'none'"),
        (("--created-at=soon",), "neither a time nor seconds"),
        (("--created-at=2999-01-01T00:00Z",), "still to come"),
        (("--created-at=9999999999999999999",), "neither a time nor seconds"),
        (("--endpoint=chat",), "name the --endpoint"),
        (("--endpoint=/v1/embeddings",), "in.jsonl line 1"),
        (("--model=a\0b",), "--model must have"),
        (("--errors=/none.jsonl",), "/none.jsonl is not a file"),
    ],
)
def test_what_makes_no_sense_is_refused(run, capsys, more, words) -> None:
    with pytest.raises(CommandError) as found:
        run(lines(1), result("line-0"), *more)
    assert words in f"{capsys.readouterr().err}{found.value}"
    assert not Batch.objects.exists() and not StoredFile.objects.exists()


def test_a_file_that_changes_while_it_is_read_changes_nothing(run, capsys, monkeypatch) -> None:
    surveyed = importing.survey_files

    def survey_then_change(order: Any, progress: Any) -> Any:
        found = surveyed(order, progress)
        order.results[0].write_bytes(result("line-0") * 2)
        return found

    monkeypatch.setattr(importing, "survey_files", survey_then_change)
    assert "was changed while it was read" in refused(run, capsys, lines(2), result("line-0"))


def test_a_failure_in_the_middle_leaves_nothing(run, capsys, monkeypatch, settings) -> None:
    def fails(**kwargs: Any) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(importing, "insert_responses", fails)
    with pytest.raises(DatabaseError):
        run(lines(2), result("line-0"))
    assert not Batch.objects.exists()
    assert not StoredFile.objects.exists()
    assert [p for p in Path(settings.MEDIA_ROOT).rglob("*") if p.is_file()] == []
