"""Malformed lines: each is named by its number, the batch fails, and nothing else is harmed."""

from __future__ import annotations

import pytest

from jobs.models import Batch
from jobs.services.batches import fail_batch
from tests.api.checks import check_unharmed
from tests.api.conftest import MODEL, line, lines, order, validate

pytestmark = pytest.mark.django_db

GOOD_CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}


def body(**changes: object) -> dict[str, object]:
    return {k: v for k, v in (GOOD_CHAT | changes).items() if v is not None}


LINES = [
    (b"{", "invalid_json_line", None, "not valid JSON"),
    (b'{"custom_id": "a"} trailing', "invalid_json_line", None, "not valid JSON"),
    (b'{"custom_id": "\xff\xfe"}', "invalid_json_line", None, "not valid JSON"),
    (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "invalid_json_line", None, "not valid JSON"),
    (b"[]", "invalid_json_line", None, "not a JSON object"),
    (b"7", "invalid_json_line", None, "not a JSON object"),
    (b"null", "invalid_json_line", None, "not a JSON object"),
    (b"\0", "invalid_json_line", None, "not valid JSON"),
    (line("x", custom_id=None), "missing_required_parameter", "custom_id", "'custom_id'"),
    (line("x", method=None), "missing_required_parameter", "method", "'method'"),
    (line("x", url=None), "missing_required_parameter", "url", "'url'"),
    (line("x", body=None), "missing_required_parameter", "body", "'body'"),
    (line(""), "missing_required_parameter", "custom_id", "'custom_id'"),
    (line("x", custom_id=7), "invalid_request", "custom_id", "must be a string"),
    (line("y" * 513), "invalid_request", "custom_id", "513 characters"),
    (line("a\0b"), "invalid_request", "custom_id", "NUL"),
    (line("\ud800"), "invalid_request", "custom_id", "character pair"),
    (line("good-0"), "duplicate_custom_id", "custom_id", "more than once"),
    (line("x", method="GET"), "invalid_method", "method", "must be 'POST'"),
    (line("x", method="post"), "invalid_method", "method", "must be 'POST'"),
    (line("x", method=5), "invalid_method", "method", "must be a string"),
    (line("x", url="/v1/embeddings"), "invalid_url", "url", "does not match the batch endpoint"),
    (line("x", url=["a"]), "invalid_url", "url", "must be a string"),
    (line("x", body="text"), "invalid_request", "body", "must be a JSON object"),
    (line("x", body=[GOOD_CHAT]), "invalid_request", "body", "must be a JSON object"),
    (line("x", body=body(stream=True)), "streaming_unsupported", "body.stream", "not supported"),
    (line("x", body=body(stream="yes")), "streaming_unsupported", "body.stream", "not supported"),
    (line("x", body=body(model=None)), "invalid_request", "body.model", "model"),
    (line("x", body=body(model=7)), "invalid_request", "body.model", "model"),
    (line("x", body=body(model="gpt-none")), "model_not_found", "body.model", "is not supported"),
    (line("x", body=body(model="a\0b")), "model_not_found", "body.model", "is not supported"),
    (line("x", body=body(model="small-lora")), "model_mismatch", "body.model", "differs"),
    (line("x", body=body(messages=None)), "invalid_request", "body.messages", "'messages'"),
    (line("x", body=body(messages=[])), "invalid_request", "body.messages", "'messages'"),
    (line("x", body=body(messages="hi")), "invalid_request", "body.messages", "list of objects"),
    (line("x", body=body(messages=["hi"])), "invalid_request", "body.messages", "list of objects"),
]


@pytest.mark.parametrize(("bad", "code", "param", "words"), LINES)
def test_a_bad_line_fails_the_batch_and_is_named_by_its_number(api, bad, code, param, words):
    # A blank line shifts nothing: the bad one is the third line of the file.
    batch = api.make(line("good-0") + b"\n \n" + bad + b"\n" + line("good-1") + b"\n")
    assert batch["status"] == "failed"
    assert batch["failed_at"] >= batch["created_at"]
    assert batch["errors"]["object"] == "list"
    (finding,) = batch["errors"]["data"]
    assert set(finding) == {"code", "message", "param", "line"}
    assert (finding["code"], finding["param"], finding["line"]) == (code, param, 3)
    assert words in finding["message"]
    assert batch["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    check_unharmed(api)


@pytest.mark.parametrize(
    ("endpoint", "changes", "param"),
    [
        ("/v1/completions", {"messages": None}, "body.prompt"),
        ("/v1/completions", {"prompt": ""}, "body.prompt"),
        ("/v1/completions", {"prompt": 5}, "body.prompt"),
        ("/v1/embeddings", {"input": []}, "body.input"),
        ("/v1/embeddings", {"input": {"a": 1}}, "body.input"),
        ("/v1/embeddings", {"input": None}, "body.input"),
        ("/v1/responses", {"input": None}, "body.input"),
    ],
)
def test_what_each_endpoint_requires(api, endpoint, changes, param):
    stored = api.upload(line("x", url=endpoint, body=body(**changes)) + b"\n").json()
    made = api.post("/v1/batches", order(stored["id"], endpoint=endpoint)).json()
    validate(made["id"])
    (finding,) = api.get(f"/v1/batches/{made['id']}").json()["errors"]["data"]
    assert (finding["code"], finding["param"], finding["line"]) == ("invalid_request", param, 1)


def test_every_finding_is_reported_up_to_a_cap_that_is_said(api, settings):
    settings.MAX_FINDINGS = 5
    batch = api.make(b"".join(line(f"x{n}", method="GET") + b"\n" for n in range(8)))
    findings = batch["errors"]["data"]
    assert [one["line"] for one in findings] == [1, 2, 3, 4, 5, None]
    assert findings[-1]["code"] == "more_errors"
    assert "3 more" in findings[-1]["message"]


def test_a_line_with_several_faults_is_named_for_each(api):
    bad = line("good-0", method="GET", url="/v1/nope", body=body(model=None, stream=True))
    batch = api.make(line("good-0") + b"\n" + bad + b"\n" + bad + b"\n")
    assert [(f["code"], f["param"], f["line"]) for f in batch["errors"]["data"]] == [
        (code, param, number)
        for number in (2, 3)
        for code, param in (
            ("duplicate_custom_id", "custom_id"),
            ("invalid_method", "method"),
            ("invalid_url", "url"),
            ("streaming_unsupported", "body.stream"),
            ("invalid_request", "body.model"),
        )
    ]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (b"{", "Expecting property name enclosed in double quotes at character 2."),
        (b'{"custom_id": "a', "Unterminated string starting at character 15."),
        (b'{"custom_id": "\xff"}', "it is not UTF-8 at byte 16."),
        (b'{"custom_id": NaN}', "NaN is not a JSON value."),
    ],
)
def test_where_json_breaks_off_is_said_without_another_line_number(api, bad, words):
    # The decoder counts lines as well, and would call each of them the first.
    batch = api.make(line("good-0") + b"\n" + bad + b"\n")
    (finding,) = batch["errors"]["data"]
    assert finding["message"] == f"This line is not valid JSON: {words}"


@pytest.mark.parametrize(
    ("count", "listed", "end"),
    [(1, 5, "'POST'."), (2, 5, "'POST'. (and 1 more)"), (1_500, 5, "'POST'. (and 1,499 more)")],
)
def test_the_story_names_the_first_line_and_counts_the_others(api, settings, count, listed, end):
    settings.MAX_FINDINGS = listed
    bad = b"".join(line(f"x{n}", method="GET") + b"\n" for n in range(count))
    batch = api.make(line("good-0") + b"\n\n" + bad)
    event = Batch.objects.get(public_id=batch["id"]).events.get(new_state="failed")
    assert event.reason == f"Line 3: Method 'GET' must be {end}"


def test_what_is_wrong_with_the_whole_file_has_no_line_in_the_story(api, settings):
    settings.MAX_LINES = 1
    batch = api.make(lines(2) + b"{")
    event = Batch.objects.get(public_id=batch["id"]).events.get(new_state="failed")
    assert event.reason.startswith("The input file holds 3 requests;")
    assert event.reason.endswith(" (and 1 more)")


def test_a_long_reason_keeps_its_count(api):
    stored = api.upload(lines(1)).json()
    made = api.post("/v1/batches", order(stored["id"])).json()
    batch = Batch.objects.get(public_id=made["id"])
    finding = {"code": "invalid_request", "message": "m" * 900, "param": None, "line": 7}
    assert fail_batch(batch=batch, findings=[finding] * 3, unlisted=10)
    reason = batch.events.get(new_state="failed").reason
    assert len(reason) == 500
    assert reason.startswith("Line 7: mmm") and reason.endswith("m… (and 12 more)")


def test_too_many_lines(api, settings):
    settings.MAX_LINES = 3
    (finding,) = api.make(lines(4))["errors"]["data"]
    assert finding["code"] == "too_many_tasks"
    assert "4" in finding["message"] and "3" in finding["message"]
    assert api.make(lines(3))["status"] == "in_progress"


def test_a_line_that_is_too_long(api, settings):
    settings.MAX_LINE_BYTES = 2_000
    long = line("x", body=body(user="y" * 3_000))
    batch = api.make(line("good-0") + b"\n" + long + b"\n" + line("good-1", method="GET") + b"\n")
    assert [(f["code"], f["line"]) for f in batch["errors"]["data"]] == [
        ("invalid_request", 2),
        ("invalid_method", 3),
    ]


def test_a_file_of_another_purpose_fails_the_batch(api):
    stored = api.upload(b"{}", purpose="user_data").json()
    made = api.post("/v1/batches", order(stored["id"])).json()
    validate(made["id"])
    (finding,) = api.get(f"/v1/batches/{made['id']}").json()["errors"]["data"]
    assert (finding["code"], finding["param"]) == ("invalid_request", "input_file_id")


def test_lines_that_look_odd_but_are_good(api):
    content = b"\xef\xbb\xbf" + b"\r\n".join(
        [
            line("first"),
            b"",
            b"   " + line("\u4f60\u597d \u202e rtl", body=body(user="\ud83d")) + b"\t",
            line("x" * 512, body=body(messages=[{"role": "user", "content": "a\0b"}])),
            line("last", extra="field"),
        ]
    )
    batch = api.make(content)
    assert (batch["errors"], batch["status"]) == (None, "in_progress")
    assert batch["request_counts"]["total"] == 4
